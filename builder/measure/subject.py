"""The process of one subject: it loads an artifact in its runtime and times its runs, a block of them for each request.

Started by `builder.measure.process` with the parent's process id and two descriptors: requests come in on one, replies
go out on the other, one JSON document a line. It ends when its parent does.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from builder.runtimes.interface import Loaded

__all__ = ["SCRIPT", "Runner", "check_cores", "die_with", "main", "memory_ran_out"]

SCRIPT = Path(__file__).resolve()
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_NO_MEMORY = ("Failed to allocate memory", "bad_alloc", "out of memory")  # as ONNX Runtime, C++ and CUDA say it


class Runner:
    """A model with its inputs, and the clock beside it. Each method answers one kind of request."""

    _session: Loaded
    _feed: dict[str, NDArray[Any]]
    _empty_kib: int

    def load(self, spec: Mapping[str, Any], warmup_runs: int, warmup_seconds: float) -> dict[str, Any]:
        """Load the artifact and warm it up; raise ModelError where its runtime cannot run it."""
        from builder.runtimes.find import prepared
        from builder.runtimes.inputs import made_up

        folder = Path(spec["folder"])
        runtime = prepared(folder)
        self._empty_kib = peak_kib()
        start = time.perf_counter_ns()
        self._session = runtime.load(folder, threads=spec["threads"], spin=False, device=spec["device"])
        load_ms = (time.perf_counter_ns() - start) / 1e6
        loaded = self.memory()["memory_mib"]
        self._feed = made_up(
            self._session.inputs,
            shapes=spec["shapes"],
            constants=spec["constants"],
            states=spec["states"],
            batch=spec["batch"],
            seed=spec["seed"],
        )
        warmup = self._warm_up(warmup_runs, warmup_seconds)
        gc.collect()
        gc.disable()  # as timeit does: collections are no part of a run
        return {
            "load_ms": load_ms,
            "memory_loaded_mib": max(0.0, loaded),
            "first_inference_ms": warmup[0] / 1e6,
            "run_ns": min(warmup),
            "warmup_runs": len(warmup),
            "shapes": {name: list(array.shape) for name, array in self._feed.items()},
        }

    def block(self, runs: int, untimed: int) -> dict[str, Any]:
        """Run and time; the untimed first runs take the caches back that another subject had."""
        for _ in range(untimed):
            self._session.run(self._feed)
        return {"ns": self._time(runs)}

    def memory(self) -> dict[str, Any]:
        """Return peak resident memory in MiB, less what this process had reached before it loaded the model."""
        return {"memory_mib": (peak_kib() - self._empty_kib) / 1024}

    def execution(self) -> dict[str, Any]:
        """Return what really ran; asked last, since it may load the artifact once more."""
        return self._session.describe().plain()

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


def peak_kib() -> int:
    """Return this process's peak resident memory (VmHWM; ru_maxrss would remember the process it was forked from)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def check_cores(cores: Sequence[int]) -> None:
    """Raise StepError where this process may not use one of these processors, as they are numbered by the system."""
    from builder.errors import StepError

    allowed = sorted(os.sched_getaffinity(0))
    if missing := [core for core in cores if core not in allowed]:
        words = ", ".join(str(core) for core in missing)
        raise StepError(f"cores: there is no processor {words} to use here, only {', '.join(map(str, allowed))}")


def main(runner: Runner) -> None:
    """Answer requests until there are no more."""
    parent, requests_fd, replies_fd = (int(word) for word in sys.argv[1:])
    die_with(parent)
    with os.fdopen(requests_fd, encoding="utf-8") as requests, os.fdopen(replies_fd, "w", encoding="utf-8") as replies:
        for line in requests:
            request = json.loads(line)
            replies.write(json.dumps(_answer(runner, request)) + "\n")
            replies.flush()


def memory_ran_out(error: Exception) -> bool:
    """Tell whether numpy or a runtime asked for more memory than it got."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY)


def _answer(runner: Runner, request: dict[str, Any]) -> dict[str, Any]:
    try:
        if cores := request.get("spec", {}).get("cores"):  # before anything starts a thread
            check_cores(cores)
            os.sched_setaffinity(0, cores)
        reply: dict[str, Any] = getattr(runner, request.pop("do"))(**request)
    except Exception as error:  # noqa: BLE001  whatever it is, the parent tells the user
        return _failed(error)
    return reply


def _failed(error: Exception) -> dict[str, Any]:
    from builder.errors import BuilderError, ModelError

    if memory_ran_out(error):
        return {"error": "memory"}
    if isinstance(error, BuilderError):
        return {"error": error.message, "hint": error.hint, "model": isinstance(error, ModelError)}
    return {"error": f"{type(error).__name__}: {error}", "hint": "", "model": False}


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, and leave Ctrl-C to the parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel knew
        sys.exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main(Runner())
