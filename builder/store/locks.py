"""One lock for each key, so that no key ever runs twice at once, however many processes share the store."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from builder.errors import StoreError

__all__ = ["Lock", "check_locking", "is_held"]


class Lock:
    """A `flock` on a file; the kernel frees it when its holder dies. The file says who held it last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock for oneself alone if it is free. Never waits. Raises OSError."""
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        if not self._is_current(descriptor):  # somebody cleaned the file away between open and flock
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        self._sign()
        return True

    def wait(self, *, shared: bool) -> None:
        """Take the lock, alone or shared with other sharers, as soon as it is free. Raises OSError."""
        while True:
            descriptor = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            except BaseException:
                os.close(descriptor)
                raise
            if self._is_current(descriptor):
                self._descriptor = descriptor
                return
            os.close(descriptor)

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> str:
        """Return who took the lock last, as a process number, or '' where nobody wrote it."""
        with contextlib.suppress(OSError):
            return self._path.read_text(encoding="ascii", errors="replace")[:20].strip()
        return ""

    def _open(self) -> int:
        """Open for writing, as NFS wants it (flock(2)), or for reading where another user made the file."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except PermissionError:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        with contextlib.suppress(PermissionError):  # it is theirs
            os.fchmod(descriptor, 0o644)  # whatever the umask is
        return descriptor

    def _sign(self) -> None:
        with contextlib.suppress(OSError):  # another user's file
            self._path.write_text(str(os.getpid()), encoding="ascii")

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False


def is_held(path: Path) -> bool:
    """Say whether somebody holds a lock, without a trace; one that this user may not look at counts as held."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
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
