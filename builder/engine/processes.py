"""Processes and what they started, as /proc tells it (proc(5)); the standard library only, since workers use it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["descendants", "end", "is_stopped", "resident_bytes"]

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TURN_S = 0.001


def descendants(pid: int) -> list[int]:
    """Return every living process below one, nearest first; a dead one that nobody has waited for is none."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = [child for child in _children(waiting.pop(0)) if child not in found]
        found += below
        waiting += below
    return [child for child in found if _state(child) not in ("Z", "X", "")]


def is_stopped(pid: int) -> bool:
    """Say whether a process was stopped, as by Ctrl-Z."""
    return _state(pid) in ("T", "t")


def resident_bytes(pids: Iterable[int]) -> int:
    """Return how much memory some processes have in use, pages that they share counted for each."""
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError, ValueError):  # it has just ended
            pages += int((_PROC / str(pid) / "statm").read_text().split()[1])
    return pages * _PAGE


def end(pid: int, keep: int | None = None) -> int:
    """Kill all that is below a process, but for one child to keep, and return how many there were.

    The process must be their reaper (PR_SET_CHILD_SUBREAPER), so that one whose parent dies comes below it.
    """
    killed: set[int] = set()
    spared = {keep}  # and what belongs to another user, which a setuid program starts
    empty_looks = 0  # one is not enough: /proc may miss a process that is just losing its parent
    while empty_looks < 2 or (keep is None and _has_children()):
        left = [child for child in descendants(pid) if child not in spared]
        for child in left:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
            except PermissionError:
                spared.add(child)
        killed.update(left)
        _reap_others(keep)
        empty_looks = 0 if left else empty_looks + 1
        if left or empty_looks > 2:
            time.sleep(_TURN_S)
    return len(killed)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _reap_others(keep: int | None) -> None:
    """Wait for children that have ended, up to the one to keep, whose status is for others."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid != keep:
            os.waitpid(ended.si_pid, 0)


def reap(keep: int | None) -> int | None:
    """Wait for every child that has ended, and return the status of the one to keep if it has."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, ended = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == keep:
                status = ended
    return status


def _children(pid: int) -> Iterator[int]:
    """Yield the children of a process: of each of its threads, where the kernel lists them, else by a look at all."""
    tasks = _PROC / str(pid) / "task"
    try:
        threads = os.listdir(tasks)  # noqa: PTH208  names are all that is needed, and this runs often
        for thread in threads:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                yield from map(int, (tasks / thread / "children").read_text().split())
    except OSError:
        return
    if not (tasks / str(pid) / "children").exists():
        yield from (int(name) for name in os.listdir(_PROC) if name.isdigit() and _parent(int(name)) == pid)  # noqa: PTH208


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _state(pid: int) -> str:
    fields = _stat(pid)
    return fields[0] if fields else ""


def _stat(pid: int) -> list[str]:
    """Return the fields after the name, which may hold anything: state, parent, ..."""
    with contextlib.suppress(OSError):
        return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return []
