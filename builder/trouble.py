"""What to say when the system refuses: what could not be done where, what was needed, what to do next."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from pathlib import Path

from builder.errors import StoreError

__all__ = ["is_scarcity", "nearly_full", "trouble"]

_FULL = (errno.ENOSPC, errno.EDQUOT)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_NO_HANDLES = (errno.EMFILE, errno.ENFILE)
_SCARCE = (*_FULL, *_NO_HANDLES, errno.EFBIG)
_NEARLY_FULL_BYTES = 1 << 20
_MIB = 1 << 20
_ELSEWHERE = "choose another place for the store: BUILDER_STORE=/path"


def is_scarcity(error: OSError) -> bool:
    """Return whether the system has run out of something, whatever was being done."""
    return error.errno in _SCARCE


def trouble(
    error: OSError,
    where: Path,
    needed_bytes: int | None = None,
    *,
    doing: str = "write to",
    elsewhere: str = _ELSEWHERE,
) -> StoreError:
    """Return the error to raise for what happened while `where` was written or, as `doing` says, read.

    `elsewhere` says how to use another place.
    """
    if error.errno in _FULL:
        needed = f"{_size(needed_bytes)} needed" if needed_bytes else "more is needed"
        return StoreError(
            f"no room left on the disk of {where}: {needed}, {_size(free_bytes(where))} free",
            f"make room there (python -m builder cache gc), or {elsewhere}",
        )
    if error.errno in _NO_HANDLES:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return StoreError(
            f"no file handles left while {where} was used: this process may open {limit} files",
            "raise the limit: ulimit -n 1024",
        )
    if error.errno in _READ_ONLY:
        return StoreError(f"cannot {doing} {where}: {error.strerror}", elsewhere)
    if error.errno == errno.EFBIG:
        return StoreError(f"a file under {where} may not grow any further", "raise the limit: ulimit -f unlimited")
    return StoreError(f"cannot use {where}: {error.strerror or error}", elsewhere)


def nearly_full(where: Path) -> StoreError | None:
    """Return what to say if there is no room left, since native code often fails there without saying why."""
    if free_bytes(where) >= _NEARLY_FULL_BYTES:
        return None
    return trouble(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), where)


def _size(count_bytes: int) -> str:
    return f"{count_bytes / _MIB:.1f} MiB" if count_bytes >= _MIB else f"{-(-count_bytes // 1024)} KiB"


def free_bytes(where: Path) -> int:
    """Return the room that is left where a folder lies, or would."""
    for folder in (where, *where.parents):
        with contextlib.suppress(OSError):
            disk = os.statvfs(folder)
            return disk.f_bavail * disk.f_frsize
    return 0
