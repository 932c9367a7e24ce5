"""How much lies in a store, and what of it its results need."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from builder.errors import StoreError
from builder.store.actions import Record
from builder.store.cas import Content, Damaged
from builder.store.private import is_dead

__all__ = ["DIGEST", "WORKSHOP", "Amount", "Workshop", "amount", "folders", "objects", "reached", "walk", "workshops"]

DIGEST = re.compile(r"[0-9a-f]{64}")
WORKSHOP = re.compile(r"\d{9,}-[0-9a-f]{12}")


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


def folders(root: Path) -> dict[str, int]:
    """Return the tree digest of every kept folder, and what its files take."""
    below = root / "folders"
    return {path.name: amount(path).bytes for path in below.iterdir()} if below.is_dir() else {}


def reached(content: Content, record: Record) -> set[str]:
    """Return the objects that a result needs. Raises Damaged where a listing cannot be read."""
    found: set[str] = set()
    for digest in record.outputs.values():
        found.add(digest)
        try:
            tree = content.tree(digest)
            found.update(entry.sha256 for entry in tree.files if not tree.kept)
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
            if stat.S_ISDIR(status.st_mode) and WORKSHOP.fullmatch(path.name):
                found.append(Workshop(path, float(path.name.partition("-")[0]), not is_dead(path)))
    return found
