"""The process of one subject: it loads a model and times its own runs, one block of them for each request.

Started by `builder.measure.process` by path, with the parent's process id and two descriptors: requests come in on one,
replies go out on the other, one JSON document a line. It ends when its parent does.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from builder.runtimes.onnxruntime import Session, Tensor

__all__ = ["SCRIPT", "Runner", "die_with", "inputs", "main"]

SCRIPT = Path(__file__).resolve()
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Runner:
    """A model with its inputs, and the clock beside it. Each method answers one kind of request."""

    _session: Session
    _feed: dict[str, NDArray[Any]]
    _empty_kib: int

    def load(self, spec: Mapping[str, Any], warmup_runs: int, warmup_seconds: float) -> dict[str, Any]:
        """Load the model and warm it up; raise ModelError where ONNX Runtime cannot run it."""
        import onnxruntime

        from builder.runtimes.onnxruntime import Session

        self._empty_kib = peak_kib()
        start = time.perf_counter_ns()
        self._session = Session(Path(spec["model"]), threads=spec["threads"])
        load_ms = (time.perf_counter_ns() - start) / 1e6
        self._feed = inputs(self._session.inputs, spec)
        warmup = self._warm_up(warmup_runs, warmup_seconds)
        gc.collect()
        gc.disable()  # as timeit does: collections are no part of a run
        return {
            "load_ms": load_ms,
            "run_ns": min(warmup),
            "warmup_runs": len(warmup),
            "runtime_version": onnxruntime.__version__,
        }

    def block(self, runs: int, untimed: int) -> dict[str, Any]:
        """Run and time; the untimed first runs take the caches back that another subject had."""
        for _ in range(untimed):
            self._session.run(self._feed)
        return {"ns": self._time(runs)}

    def memory(self) -> dict[str, Any]:
        """Return peak resident memory in MiB, less what this process had reached before it loaded the model."""
        return {"memory_mib": (peak_kib() - self._empty_kib) / 1024}

    def _warm_up(self, runs: int, seconds: float) -> list[int]:
        end = time.monotonic() + seconds
        samples = self._time(1)
        while len(samples) < runs and time.monotonic() < end:
            samples += self._time(1)
        return samples

    def _time(self, runs: int) -> list[int]:
        run, feed, clock = self._session.run, self._feed, time.perf_counter_ns
        samples = [0] * runs
        for index in range(runs):
            start = clock()
            run(feed)
            samples[index] = clock() - start
        return samples


def inputs(tensors: tuple[Tensor, ...], spec: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Make one input for every tensor: constants as declared, states zero, the rest random from the seed and the name.

    Open dimensions are as `shapes` says; the first of a tensor is the batch where `shapes` gives 1 or nothing, the
    others are 1. Raises ModelError where `shapes` does not fit, or a batch over 1 has no open dimension to go to.
    """
    import numpy as np

    feed: dict[str, NDArray[Any]] = {}
    took_batch = False
    for tensor in tensors:
        shape, batched = _shape(tensor, spec["shapes"].get(tensor.name), spec["batch"])
        took_batch = took_batch or batched
        if tensor.name in spec["constants"]:
            feed[tensor.name] = np.full(shape, spec["constants"][tensor.name], tensor.dtype)
        elif tensor.name in spec["states"]:
            feed[tensor.name] = np.zeros(shape, tensor.dtype)
        else:
            feed[tensor.name] = _random(tensor, shape, spec["seed"])
    if spec["batch"] > 1 and not took_batch:
        from builder.errors import ModelError

        raise ModelError(f"batch={spec['batch']}: no input has an open dimension for it", "use batch=1")
    return feed


def _shape(tensor: Tensor, declared: list[int] | None, batch: int) -> tuple[tuple[int, ...], bool]:
    if declared is not None and len(declared) != len(tensor.shape):
        from builder.errors import ModelError

        raise ModelError(
            f"input '{tensor.name}' has {len(tensor.shape)} dimensions, and the model's `shapes` gives {len(declared)}"
        )
    fallback = declared or [1] * len(tensor.shape)
    shape = [fallback[axis] if size is None else size for axis, size in enumerate(tensor.shape)]
    first = next((axis for axis, size in enumerate(tensor.shape) if size is None), None)
    batched = first is not None and fallback[first] == 1
    if first is not None and batched:
        shape[first] = batch
    return tuple(shape), batched


def _random(tensor: Tensor, shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    """Return standard normal floats; small integers over their whole range, wide ones (indices, as a rule) 0 or 1."""
    import zlib

    import numpy as np

    generator = np.random.default_rng([seed, zlib.crc32(tensor.name.encode())])
    kind = np.dtype(tensor.dtype)
    if kind.kind == "f":
        return generator.standard_normal(shape).astype(kind)
    if kind.kind in "iu" and kind.itemsize <= 2:
        limits = np.iinfo(kind)
        return generator.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
    return generator.integers(0, 2, shape).astype(kind)


def peak_kib() -> int:
    """Return this process's peak resident memory (VmHWM; ru_maxrss would remember the process it was forked from)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def main(runner: Runner) -> None:
    """Answer requests until there are no more."""
    parent, requests_fd, replies_fd = (int(word) for word in sys.argv[1:])
    die_with(parent)
    with os.fdopen(requests_fd, encoding="utf-8") as requests, os.fdopen(replies_fd, "w", encoding="utf-8") as replies:
        for line in requests:
            request = json.loads(line)
            replies.write(json.dumps(_answer(runner, request)) + "\n")
            replies.flush()


def _answer(runner: Runner, request: dict[str, Any]) -> dict[str, Any]:
    from builder.errors import ModelError

    try:
        reply: dict[str, Any] = getattr(runner, request.pop("do"))(**request)
    except ModelError as error:
        return {"error": error.message, "hint": error.hint, "model": True}
    except Exception as error:  # noqa: BLE001  whatever it is, the parent tells the user
        return {"error": f"{type(error).__name__}: {error}", "hint": "", "model": False}
    return reply


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, and leave Ctrl-C to the parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel knew
        sys.exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    sys.path.insert(0, str(SCRIPT.parents[2]))  # run by path, it finds the package that it is a part of
    main(Runner())
