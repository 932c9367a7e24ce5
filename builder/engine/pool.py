"""Worker processes: started when needed, kept warm, killed with everything they started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from builder.engine import worker

__all__ = ["Pool", "Worker"]

_COMMAND = (sys.executable, "-u", "-s", "-P", worker.__file__)


class Worker:
    """One warm process; `fileno` makes it fit for a selector."""

    def __init__(self, folder: Path) -> None:
        request_end, self._requests = os.pipe()
        self._results, result_end = os.pipe()
        self._buffer = b""
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-u",
                "-s",
                "-P",
                worker.__file__,
                json.dumps(sys.path),
                str(request_end),
                str(result_end),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**worker.ENVIRONMENT, "TMPDIR": str(folder)},
            cwd=folder,
            start_new_session=True,
            pass_fds=(request_end, result_end),
        )
        os.close(request_end)
        os.close(result_end)

    def fileno(self) -> int:
        return self._results

    def send(self, request: dict[str, Any]) -> None:
        """Hand over a request; where the process is gone, `receive` will say so."""
        data = (json.dumps(request) + "\n").encode()
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._requests, data) :]

    def receive(self) -> list[dict[str, Any]] | None:
        """Return the answers that are complete, or None when the process is gone. Call when readable."""
        chunk = os.read(self._results, 1 << 16)
        if not chunk:
            return None
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        try:
            return [json.loads(line) for line in lines]
        except ValueError:  # the step's native code wrote into our pipe
            self._process.kill()
            return None

    def death(self) -> str:
        """Return how the process ended, in words."""
        code = self._process.wait()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def kill(self) -> None:
        """Kill the process and its group, and wait for it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for descriptor in (self._requests, self._results):
            with contextlib.suppress(OSError):
                os.close(descriptor)


class Pool:
    """Warm workers, used again for one action after another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._idle: list[Worker] = []
        self._all: list[Worker] = []

    def take(self) -> Worker:
        if self._idle:
            return self._idle.pop()
        fresh = Worker(self._folder)
        self._all.append(fresh)
        return fresh

    def give_back(self, used: Worker) -> None:
        self._idle.append(used)

    def discard(self, dead: Worker) -> None:
        dead.kill()
        self._all.remove(dead)

    def close(self) -> None:
        for each in self._all:
            each.kill()
        self._all.clear()
        self._idle.clear()
