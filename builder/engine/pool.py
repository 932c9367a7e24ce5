"""Worker processes: started when needed, kept warm, killed with everything they started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.engine import worker
from builder.engine.processes import descendants, resident_bytes

__all__ = ["HERE", "Place", "Pool", "Worker"]

_END_S = 10  # a supervisor needs milliseconds to end what it watches


@dataclass(frozen=True)
class Place:
    """What a worker runs in: an interpreter, and a folder of packages instead of what is installed there."""

    interpreter: str
    packages: str = ""

    def words(self) -> list[str]:
        """Return how the worker is started. Nothing of ours is installed in a toolchain: it gets our folder alone."""
        if not self.packages:
            return [self.interpreter, "-u", "-s", "-P", worker.__file__, json.dumps(_search_path())]
        ours = str(Path(worker.__file__).parents[2])
        return [self.interpreter, "-u", "-s", "-S", "-P", worker.__file__, json.dumps([ours, None, self.packages])]


HERE = Place(sys.executable)


class Worker:
    """One warm process under its supervisor; `fileno` makes it fit for a selector."""

    def __init__(self, folder: Path, place: Place = HERE) -> None:
        self.place = place
        with contextlib.ExitStack() as opened:
            incoming, self._requests = _pipe(opened)
            self._answers, outgoing = _pipe(opened)
            watched, self._lifeline = _pipe(opened)
            self._buffer = bytearray()
            self._process = subprocess.Popen(
                place.words() + [str(descriptor) for descriptor in (incoming, outgoing, watched)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**worker.ENVIRONMENT, **dict.fromkeys(worker.CACHES, str(folder))},
                cwd=folder,
                start_new_session=True,
                pass_fds=(incoming, outgoing, watched),
            )
            opened.pop_all()
        self._open = [self._lifeline, self._requests, self._answers]
        for descriptor in (incoming, outgoing, watched):
            os.close(descriptor)

    def fileno(self) -> int:
        return self._answers

    def send(self, request: dict[str, Any]) -> None:
        """Hand over a request; where the process is gone, `receive` will say so."""
        data = (json.dumps(request) + "\n").encode()
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._requests, data) :]

    def receive(self) -> list[dict[str, Any]] | None:
        """Return the answers that are complete, or None when the process is gone. Call when readable."""
        chunk = os.read(self._answers, 1 << 16)
        if not chunk:
            return None
        self._buffer += chunk
        if b"\n" not in chunk:
            return []
        *lines, self._buffer = self._buffer.split(b"\n")
        try:
            answers = [json.loads(line) for line in lines]
        except ValueError:
            answers = [None]
        if not all(isinstance(answer, dict) and "answer" in answer for answer in answers):
            return None  # the step's native code wrote into our pipe
        return answers

    def memory_bytes(self) -> int:
        """Return what the process and all that it started have in use, without its supervisors."""
        return resident_bytes(descendants(self._process.pid)[1:])

    def death(self) -> str:
        """Return how the process ended, in words; one that is still there is ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1)
        alive = self._process.poll() is None
        self.kill()
        code = self._process.returncode
        if alive:
            return "wrote what is no answer"
        return f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"

    def kill(self) -> None:
        """End the process and everything that it started, and wait for it."""
        while self._open:
            os.close(self._open.pop(0))
        try:
            self._process.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:  # somebody stopped the supervisor
            for pid in (*descendants(self._process.pid), self._process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()


class Pool:
    """Warm workers, used again for one action after another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._idle: list[Worker] = []
        self._all: list[Worker] = []

    def warm(self) -> None:
        """Start a worker that will be needed, so that it is there when it is."""
        self._all.append(Worker(self._folder))
        self._idle.append(self._all[-1])

    def take(self, place: Place = HERE) -> Worker:
        for idle in self._idle:
            if idle.place == place:
                self._idle.remove(idle)
                return idle
        fresh = Worker(self._folder, place)
        self._all.append(fresh)
        return fresh

    def give_back(self, used: Worker, *, clean: bool) -> None:
        """Take a worker back, or end it where an action left something running."""
        if clean:
            self._idle.append(used)
        else:
            self.discard(used)

    def discard(self, dead: Worker) -> None:
        dead.kill()
        self._all.remove(dead)

    def close(self) -> None:
        for each in self._all:
            each.kill()
        self._all.clear()
        self._idle.clear()


def _search_path() -> list[str]:
    """Return where modules are looked for here, as it is understood in another working directory."""
    return [os.path.abspath(place) for place in sys.path]  # noqa: PTH100  '' is where we are


def _signal_name(number: int) -> str:
    """Return a signal in words; real-time ones have no name."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _pipe(opened: contextlib.ExitStack) -> tuple[int, int]:
    """Return a pipe whose ends are closed with the stack: no handle is lost where the next cannot be had."""
    ends = os.pipe()
    for descriptor in ends:
        opened.callback(os.close, descriptor)
    return ends
