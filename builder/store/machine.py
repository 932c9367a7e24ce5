"""The machine, shared by the builds of one user: a measurement has it alone, all other work shares it.

Two locks (`flock`) in the user's cache folder. Whoever wants to measure takes `measuring.next` first, and nobody starts
anything while it is taken; so a measurement's turn comes, however many builds keep the machine busy.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path

from builder.store.statcache import cache_folder

__all__ = ["Machine"]


class Machine:
    """A share in the machine, or all of it."""

    def __init__(self) -> None:
        self._folder = _folder()
        self._descriptors: list[int] = []

    def share(self) -> bool:
        """Take part in the work, unless somebody measures or waits to. Never waits."""
        return self._take("measuring.next", fcntl.LOCK_SH, keep=False) and self._take("measuring", fcntl.LOCK_SH)

    def alone(self) -> bool:
        """Take the machine for oneself; where that fails now, one's turn is kept until `release`. Never waits."""
        turn = bool(self._descriptors) or self._take("measuring.next", fcntl.LOCK_EX)
        return turn and self._take("measuring", fcntl.LOCK_EX)

    def release(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _take(self, name: str, kind: int, *, keep: bool = True) -> bool:
        descriptor = os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        if keep:
            self._descriptors.append(descriptor)
        else:
            os.close(descriptor)
        return True


def _folder() -> Path:
    with contextlib.suppress(OSError):
        cache_folder().mkdir(parents=True, exist_ok=True)
        if os.access(cache_folder(), os.W_OK):
            return cache_folder()
    folder = Path(tempfile.gettempdir()) / f"builder-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
