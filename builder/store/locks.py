"""One lock for each key, so that no key ever runs twice at once, however many processes share the store."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from builder.errors import StoreError

__all__ = ["Lock", "check_locking"]


class Lock:
    """An exclusive `flock` on a file; the kernel frees it when its holder dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock if it is free. Never waits."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        if not self._is_current(descriptor):  # somebody cleaned the file away between open and flock
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False


def check_locking(folder: Path) -> None:
    """Raise StoreError if two descriptors can hold one lock here, as on some network file systems."""
    first, second = Lock(folder / ".locking"), Lock(folder / ".locking")
    try:
        if first.acquire() and second.acquire():
            raise StoreError(
                f"{folder}: this file system gives one lock to two holders, so builds could damage each other",
                "put the store on a local disk: BUILDER_STORE=/path",
            )
    finally:
        first.release()
        second.release()
