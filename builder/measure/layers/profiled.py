"""A subject under its runtime's profiler, in a process of its own: how long each node of a run takes.

This module is both sides: the measurer's `Profiled`, and the program that it starts. A profiler cannot be stopped and
started again, so each block has a session of its own; its first runs are not counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import StepError
from builder.measure.process import Subject, untimed
from builder.measure.series import Series
from builder.measure.subject import Runner, main
from builder.runtimes import openvino

if TYPE_CHECKING:
    from builder.measure.layers.events import Node

__all__ = ["Profiled"]

_SETTLED = 5  # runs, after which a new session has its memory


class Profiled(Subject):
    """An artifact whose blocks are profiled, or not, as `profile` in its spec says."""

    script = Path(__file__).resolve()
    step = "profile"

    def __init__(self, name: str, folder: Path, spec: Mapping[str, Any]) -> None:
        super().__init__(name, folder, spec)
        self._taken: list[tuple[list[int], dict[str, Any]]] = []

    def block(self, runs: int) -> list[int]:
        """Return the latency of this many runs in ns, and keep the times of their nodes."""
        reply = self._ask("block", runs=runs, untimed=untimed(runs))
        samples: list[int] = reply["ns"]
        self._taken.append((samples, reply.get("layers", {})))
        return samples

    def layers(self, series: Series) -> list[dict[str, Any]]:
        """Return what `summed_up` says of each block that was kept."""
        kept = {id(block) for block in series.blocks_ns}
        return [layers for samples, layers in self._taken if id(samples) in kept]


class _Profiler(Runner):
    _spec: Mapping[str, Any]
    _folder: Path
    _nodes: tuple[Node, ...] = ()  # of OpenVINO's first session

    def load(self, spec: Mapping[str, Any], warmup_runs: int, warmup_seconds: float) -> dict[str, Any]:
        self._spec, self._folder = spec, Path(spec["folder"])
        return super().load(spec, warmup_runs, warmup_seconds)

    def block(self, runs: int, untimed: int) -> dict[str, Any]:
        """Run and time, under the profiler where it is asked for, in a session of the block's own."""
        if not self._spec["profile"]:
            return super().block(runs, untimed)
        from builder.measure.layers.events import summed_up

        unprofiled, profiled = self._session, self._counted if openvino.holds(self._folder) else self._recorded
        samples, found = profiled(max(untimed, _SETTLED), runs)
        self._session = unprofiled
        return {"ns": samples, "layers": summed_up(found)}

    def _recorded(self, ahead: int, runs: int) -> tuple[list[int], Sequence[Mapping[Node, float]]]:
        """Run and time in ONNX Runtime, which records what happens in each run."""
        from builder.measure.layers.events import times_by_run
        from builder.runtimes.onnxruntime import MODEL, Session, precision_of

        spec = self._spec
        with tempfile.TemporaryDirectory(prefix="profile-") as folder:
            self._session = session = Session(
                self._folder / MODEL,
                threads=spec["threads"],
                spin=False,
                device=spec["device"],
                profile=str(Path(folder) / "profile"),
            )
            self._time(ahead)
            samples = self._time(runs)
            found = times_by_run(session.end_profile(), precision_of)
        if len(found) < runs:
            hint = "ask for fewer in a block: fewer steps.profile.runs, or more steps.profile.blocks"
            raise StepError(f"the profiler kept {len(found):,} of {runs:,} runs", hint)
        return samples, found[-runs:]

    def _counted(self, ahead: int, runs: int) -> tuple[list[int], Sequence[Mapping[Node, float]]]:
        """Run and time in OpenVINO, which tells of no single run: the one entry is a mean of them."""
        from builder.measure.layers.counters import mean_times, named_once

        model, threads = self._folder / openvino.MODEL, self._spec["threads"]
        self._session = session = openvino.Session(model, threads=threads, profile=True)
        self._time(ahead)
        samples, told = [], [session.mean_us()]
        for _ in range(runs):
            samples += self._time(1)
            told.append(session.mean_us())
        times = mean_times(session.layers(), told, ahead, samples)
        self._nodes = self._nodes or tuple(times)
        return samples, [named_once(self._nodes, times)]


if __name__ == "__main__":
    main(_Profiler())
