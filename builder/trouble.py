"""What to say when the system refuses: what could not be done where, what was needed, what to do next."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from pathlib import Path

from builder.errors import StoreError

__all__ = ["nearly_full", "trouble"]

_FULL = (errno.ENOSPC, errno.EDQUOT)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_NO_HANDLES = (errno.EMFILE, errno.ENFILE)
_NEARLY_FULL_BYTES = 1 << 20
_MIB = 1 << 20


def trouble(error: OSError, where: Path, needed_bytes: int | None = None) -> StoreError:
    """Return the error to raise for what happened while `where` was written or read."""
    if error.errno in _FULL:
        needed = f"{needed_bytes / _MIB:.1f} MiB needed" if needed_bytes else "more is needed"
        return StoreError(
            f"no room left on the disk of {where}: {needed}, {_free_bytes(where) / _MIB:.1f} MiB free",
            "make room (python -m builder cache gc), or put the store on another disk: BUILDER_STORE=/path",
        )
    if error.errno in _NO_HANDLES:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return StoreError(
            f"no file handles left while {where} was used: this process may open {limit} files",
            "raise the limit: ulimit -n 1024",
        )
    if error.errno in _READ_ONLY:
        return StoreError(
            f"cannot write to {where}: {error.strerror}", "choose another place for the store: BUILDER_STORE=/path"
        )
    if error.errno == errno.EFBIG:
        return StoreError(f"a file under {where} may not grow any further", "raise the limit: ulimit -f unlimited")
    return StoreError(f"cannot use {where}: {error.strerror or error}", "choose another: BUILDER_STORE=/path")


def nearly_full(where: Path) -> StoreError | None:
    """Return what to say if there is no room left, since native code often fails there without saying why."""
    if _free_bytes(where) >= _NEARLY_FULL_BYTES:
        return None
    return trouble(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), where)


def _free_bytes(where: Path) -> int:
    for folder in (where, *where.parents):
        with contextlib.suppress(OSError):
            disk = os.statvfs(folder)
            return disk.f_bavail * disk.f_frsize
    return 0
