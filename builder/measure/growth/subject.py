"""A subject that runs batches of several sizes in one session, in a process of its own.

This module is both sides: the measurer's `Scaled`, and the program that it starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError
from builder.measure.process import Subject, untimed
from builder.measure.subject import Runner, main, memory_ran_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Scaled"]


class Scaled(Subject):
    """An artifact loaded with one number of threads; `batch` is the size that the next block runs.

    Its spec has `batches`, the sizes to prepare. `load` returns `run_ns` of each size that the model takes, and
    `refused`, why it does not take the others.
    """

    script = Path(__file__).resolve()
    step = "scaling"
    batch = 1

    def block(self, runs: int) -> list[int]:
        """Return the latency of this many runs in ns, after a tenth as many that are not timed."""
        return [int(sample) for sample in self._ask("sized", runs=runs, untimed=untimed(runs), batch=self.batch)["ns"]]


class _Sizes(Runner):
    """The batches of every size that the model takes, made from the same seed."""

    _feeds: dict[int, dict[str, NDArray[Any]]]

    def load(self, spec: Mapping[str, Any], warmup_runs: int, warmup_seconds: float) -> dict[str, Any]:
        """Load the artifact and warm up each size; raise ModelError where not even one sample can be run."""
        sizes: list[int] = sorted(spec["batches"])
        loaded = super().load({**spec, "batch": 1}, warmup_runs, warmup_seconds / (len(sizes) + 1))
        self._feeds, run_ns, refused = {1: self._feed}, {1: loaded.pop("run_ns")}, {}
        for size in sizes:
            if size in self._feeds:
                continue
            try:
                self._feeds[size] = self._feed = self._made_up(spec, size)
                run_ns[size] = min(self._warm_up(warmup_runs, warmup_seconds / (len(sizes) + 1)))
            except (ModelError, MemoryError) as error:
                self._feeds.pop(size, None)
                refused[size] = f"batch={size}: there is not enough memory" if memory_ran_out(error) else str(error)
        run_ns = {size: nanoseconds for size, nanoseconds in run_ns.items() if size in sizes}
        return {**loaded, "run_ns": list(run_ns.items()), "refused": list(refused.items())}

    def sized(self, runs: int, untimed: int, batch: int) -> dict[str, Any]:
        """Run and time batches of one size; the untimed first runs take the caches back."""
        self._feed = self._feeds[batch]
        return self.block(runs, untimed)

    def _made_up(self, spec: Mapping[str, Any], batch: int) -> dict[str, NDArray[Any]]:
        from builder.runtimes.inputs import made_up

        declared = {name: spec[name] for name in ("shapes", "constants", "states", "seed")}
        return made_up(self._session.inputs, batch=batch, **declared)


if __name__ == "__main__":
    main(_Sizes())
