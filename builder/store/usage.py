"""How much lies in a store, and what of it its results need."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from builder.errors import StoreError
from builder.store.actions import Record
from builder.store.cas import Content, Damaged

__all__ = ["DIGEST", "Amount", "Workshop", "amount", "objects", "reached", "walk", "workshops"]

DIGEST = re.compile(r"[0-9a-f]{64}")
_GRACE_S = 60  # a folder younger than this may not have its lock yet


@dataclass
class Amount:
    """How many things, and their bytes together."""

    count: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        self.count += 1
        self.bytes += size


@dataclass(frozen=True)
class Workshop:
    """A private folder of a build, which began at a time (s since the epoch) and may be at work still."""

    path: Path
    began: float
    alive: bool


def walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield whatever is below a folder and is no folder itself; what vanishes meanwhile is left out."""
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from walk(Path(entry.path))
            else:
                yield entry


def amount(folder: Path, suffix: str = "") -> Amount:
    """Return how much lies below a folder, of the files whose name ends so."""
    found = Amount()
    for entry in walk(folder):
        if entry.name.endswith(suffix):
            with suppress(FileNotFoundError):
                found.add(entry.stat(follow_symlinks=False).st_size)
    return found


def objects(root: Path) -> dict[str, os.stat_result]:
    """Return every object's digest and stat; what is no regular file, or lies elsewhere, is none."""
    found = {}
    for entry in walk(root / "cas"):
        with suppress(FileNotFoundError):
            status = entry.stat(follow_symlinks=False)
            expected = root / "cas" / entry.name[:2] / entry.name
            if DIGEST.fullmatch(entry.name) and stat.S_ISREG(status.st_mode) and entry.path == str(expected):
                found[entry.name] = status
    return found


def reached(content: Content, record: Record) -> set[str]:
    """Return the objects that a result needs. Raises Damaged where a listing cannot be read."""
    found: set[str] = set()
    for digest in record.outputs.values():
        found.add(digest)
        try:
            found.update(entry.sha256 for entry in content.tree(digest).files)
        except (ValueError, KeyError, TypeError, StoreError) as error:
            raise Damaged(digest, "no listing of a folder") from error
    return found


def workshops(root: Path) -> list[Workshop]:
    """Return the private folders that builds have or left; one whose lock nobody holds was left by a dead build."""
    folder = root / "tmp"
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        with suppress(FileNotFoundError):
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                began = re.match(r"\d{9,}(?=-)", path.name)
                alive = time.time() - status.st_mtime < _GRACE_S or _is_held(path / ".lock")
                found.append(Workshop(path, float(began[0]) if began else status.st_mtime, alive))
    return found


def _is_held(lock: Path) -> bool:
    """Say whether somebody holds a lock, without a trace; one that this user may not look at counts as held."""
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
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
