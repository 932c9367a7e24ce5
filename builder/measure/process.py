"""A subject as its measurer sees it: a process that loads an artifact, answers over pipes, and sleeps in between."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from builder.child import command
from builder.errors import ModelError, StepError
from builder.measure.subject import SCRIPT

__all__ = ["Subject", "preempted", "untimed"]

_DOING = {"load": "loading the model", "block": "running the model", "execution": "saying what ran"}


class Subject:
    """An artifact in a process of its own, asleep unless asked; leaving the `with` block ends the process.

    `spec` is what `builder.measure.subject` reads: threads, device, batch, seed, shapes, constants, states, and `cores`
    where it may use only some processors.
    Raises ModelError where the artifact's runtime cannot run it, StepError where the process dies or memory runs out.
    """

    script = SCRIPT
    step = "benchmark"  # the one that measures, in errors

    def __init__(self, name: str, folder: Path, spec: Mapping[str, Any]) -> None:
        self.name = name
        self._spec = {"folder": str(folder), **spec}
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        requests_in, requests_out = os.pipe()
        replies_in, replies_out = os.pipe()
        self._requests = os.fdopen(requests_out, "w", encoding="utf-8")
        self._replies = os.fdopen(replies_in, encoding="utf-8")
        words = command(self.script, str(os.getpid()), str(requests_in), str(replies_out))
        try:
            self._process = subprocess.Popen(
                words,
                env=_environment(spec["threads"]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=(requests_in, replies_out),
            )
        except BaseException:
            for file in (self._requests, self._replies, self._errors):
                file.close()
            raise
        finally:
            os.close(requests_in)
            os.close(replies_out)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        self._replies.close()
        self._errors.close()
        with suppress(BrokenPipeError):  # a request that the process died on is still in the buffer
            self._requests.close()

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def load(self, warmup_runs: int, warmup_seconds: float) -> dict[str, Any]:
        """Load, warm up with so many runs or for so long; return load_ms, run_ns, warmup_runs and what else is told."""
        return self._ask("load", spec=self._spec, warmup_runs=warmup_runs, warmup_seconds=warmup_seconds)

    def block(self, runs: int) -> list[int]:
        """Return the latency of this many runs in ns, after a tenth as many that are not timed."""
        reply = self._ask("block", runs=runs, untimed=untimed(runs))
        return [int(sample) for sample in reply["ns"]]

    def memory_mib(self) -> float:
        """Return peak resident memory so far, less the same process without a model."""
        return float(self._ask("memory")["memory_mib"])

    def execution(self) -> dict[str, Any]:
        """Return what really ran, as the runtime tells it: runtime, version, device, precision, nodes."""
        return self._ask("execution")

    def processor_ns(self) -> int:
        """Return the processor time that all threads of the process have used (to the ns; /proc counts in 10 ms)."""
        clock = ctypes.c_int()
        if ctypes.CDLL(None).clock_getcpuclockid(self.pid, ctypes.byref(clock)):
            raise self._died("asleep")
        return time.clock_gettime_ns(clock.value)

    def interruptions(self) -> int:
        """Return how often the system took the processor from one of its threads (involuntary context switches)."""
        count = 0
        for status in Path(f"/proc/{self.pid}/task").glob("*/status"):
            with suppress(OSError):  # a thread that has just ended
                count += preempted(status.read_text(encoding="utf-8"))
        return count

    def _ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        try:
            self._requests.write(json.dumps({"do": do, **arguments}) + "\n")
            self._requests.flush()
            line = self._replies.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise self._died(_DOING.get(do, do))
        reply: dict[str, Any] = json.loads(line)
        if reply.get("error") == "memory":
            raise StepError(f"{self.step}: '{self.name}': there is not enough memory to run it", self._smaller())
        if "error" in reply:
            kind = ModelError if reply["model"] else StepError
            raise kind(f"{self.step}: '{self.name}': {reply['error']}", reply["hint"])
        return reply

    def _died(self, doing: str) -> StepError:
        code = self._process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        memory = code == -signal.SIGKILL or "bad_alloc" in last
        hint = f"it may have run out of memory: {self._smaller()}" if memory else last
        return StepError(f"{self.step}: the process of '{self.name}' {how} while {doing}", hint)

    def _smaller(self) -> str:
        """Say what to do where memory does not suffice."""
        batch = max(self._spec.get("batches", [self._spec.get("batch", 1)]))
        return f"try a smaller batch than {batch:,}" if batch > 1 else "stop what else takes memory here"


def preempted(status: str) -> int:
    """Return how often a thread lost the processor, from its status in /proc; newer kernels have lines after that."""
    return int(status.partition("nonvoluntary_ctxt_switches:")[2].split(maxsplit=1)[0])


def untimed(runs: int) -> int:
    """Return how many runs go ahead of a block of so many."""
    return -(-runs // 10)


def _environment(threads: int) -> dict[str, str]:
    return {
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": str(threads),
        "ORT_DISABLE_TELEMETRY": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "TZ": "UTC",
    }
