"""The parent of a worker: whatever becomes of the builder or the worker, what they started ends with them.

It is forked from the worker's own interpreter before anything is imported, so it costs a millisecond and little memory.
As a subreaper (prctl(2)) it becomes the parent of every orphan below it, also of one that left its group and session;
a process that nobody can lose sight of can always be killed. There are two, one above the other: whichever is killed
itself, the other one does its work.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import socket
from typing import Any, NoReturn

from builder.engine.processes import end, reap

__all__ = ["Strangers", "supervised"]

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36


class Strangers:
    """What a worker asks its supervisor: to end every process that an action left behind."""

    def __init__(self, asking: socket.socket) -> None:
        self._asking = asking

    def end(self) -> int:
        """Kill them, and return how many there were."""
        self._asking.sendall(b"?")
        return int(self._asking.recv(16) or b"0")


def supervised(lifeline: int, private: tuple[int, ...]) -> Strangers:
    """Return in a grandchild of this process, which goes on as its supervisor and never returns.

    `lifeline` is a pipe that the builder holds open while it lives; the descriptors `private` are the worker's alone.
    """
    ours, theirs = socket.socketpair()
    workers_own = (*private, theirs.fileno())
    _descend((*workers_own, ours.fileno()), [lifeline])
    _descend(workers_own, [lifeline, ours])
    os.close(lifeline)
    ours.close()
    os.setsid()  # what an action sends to its process group does not reach its supervisors
    return Strangers(theirs)


def _descend(not_ours: tuple[int, ...], listening: list[Any]) -> None:
    """Return in a child, which dies with this process; this process becomes its supervisor."""
    parent = os.getpid()
    child = os.fork()
    if child:
        for descriptor in not_ours:
            os.close(descriptor)
        _watch(child, *listening)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _watch(worker: int, lifeline: int, asked: socket.socket | None = None) -> NoReturn:
    """End all that is below this process when its builder, its own parent or the child to watch is gone."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    with contextlib.suppress(OSError):
        ctypes.CDLL(None).prctl(_PR_SET_NAME, b"supervisor", 0, 0, 0)
    wake, wakened = os.pipe()
    os.set_blocking(wakened, False)
    signal.set_wakeup_fd(wakened, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: None)
    status = reap(worker)
    watched: list[Any] = [lifeline, wake, *([asked] if asked else [])]
    while status is None:
        ready, _, _ = select.select(watched, [], [])
        if lifeline in ready or (wake in ready and set(os.read(wake, 64)) - {signal.SIGCHLD}):
            break
        status = reap(worker)
        if asked and asked in ready and not _serve(asked, worker):
            watched.remove(asked)
    end(os.getpid())
    _leave_as(status)


def _serve(asked: socket.socket, worker: int) -> bool:
    """End the strangers of a worker that asks for it; return False where it has closed its end."""
    with contextlib.suppress(OSError):
        if asked.recv(1):
            asked.sendall(b"%d" % end(os.getpid(), keep=worker))
            return True
    return False


def _leave_as(status: int | None) -> NoReturn:
    """End as the worker ended, so that the builder sees it in its own child."""
    if status is None:
        os._exit(0)
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
