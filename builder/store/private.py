"""Private folders: whoever works in one holds its lock, so what a dead process left is known, and goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.store.folders import remove_folder
from builder.store.locks import Lock, is_held

__all__ = ["is_dead", "private_folder", "sweep"]

_LOCK = ".lock"
_GRACE_S = 60  # one without a lock that is younger may be about to get it


@contextmanager
def private_folder(parent: Path, name: Callable[[], str], mode: int = 0o700) -> Iterator[Path]:
    """Yield a new folder that is this process's alone, and remove it, if it is still there. Raises OSError."""
    while True:
        folder = parent / name()
        folder.mkdir(mode=mode, parents=True)
        lock = Lock(folder / _LOCK)
        with contextlib.suppress(FileNotFoundError):  # a sweep came between, and the next one is ours
            if lock.acquire():
                break
    try:
        yield folder
    finally:
        remove_folder(folder)
        lock.release()
        remove_folder(folder)  # where it took the file handle that the lock had


def is_dead(folder: Path) -> bool:
    """Say whether nobody holds the lock of a private folder, without a trace."""
    if (folder / _LOCK).exists():
        return not is_held(folder / _LOCK)
    return time.time() - folder.lstat().st_mtime > _GRACE_S


def sweep(folders: Iterable[Path]) -> None:
    """Remove those private folders that dead processes left."""
    for folder in folders:
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            if folder.is_dir() and not folder.is_symlink() and is_dead(folder):
                lock = Lock(folder / _LOCK)
                if lock.acquire():
                    remove_folder(folder)
                    lock.release()
