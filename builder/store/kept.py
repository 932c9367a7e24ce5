"""Folders that are kept as they are, since programs run in them: the packages of toolchains.

Such a tree has its listing in `cas/` like any other, and its files in `folders/<digest>/` instead of `cas/`. Copying
tens of thousands of files for every action that needs them would take longer than most actions.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_ISREG

from builder.digest import digest_file, digest_json
from builder.store.folders import make_folder
from builder.store.statcache import StatCache
from builder.trouble import trouble

__all__ = ["KeptFolders", "read_all"]

_NOTE = "folder.v1"
_YOUNG_NS = 2_000_000_000  # as in statcache


class KeptFolders:
    """The folders under `<root>/folders`."""

    def __init__(self, root: Path, stats: StatCache) -> None:
        self._root = root
        self._stats = stats
        self._seen: dict[Path, str] = {}  # how a folder looked when all of it was right

    def path(self, digest: str) -> Path:
        return self._root / digest

    def digests(self) -> list[str]:
        """Return the digests of all trees that are kept here."""
        return sorted(path.name for path in self._root.iterdir()) if self._root.is_dir() else []

    def prepare(self, folder: Path) -> dict[str, str]:
        """Make a folder's files read-only and return their digests by path. Raises OSError."""
        for path in _files(folder):
            path.chmod(0o555 if os.access(path, os.X_OK) else 0o444)
        return {path.relative_to(folder).as_posix(): digest_file(path) for path in _files(folder)}

    def add(self, folder: Path, digest: str) -> None:
        """Move a prepared folder to its place, where none lies yet. Raises StoreError."""
        final = self.path(digest)
        try:
            os.sync()  # tens of thousands of files: each on its own would take minutes
            make_folder(self._root, self._root.parent)
            if not final.exists():
                folder.rename(final)
            self._believe(final, _state(final))
        except OSError as error:
            raise trouble(error, final) from error

    def fault(self, digest: str, files: dict[str, str]) -> str:
        """Return what is wrong with a folder that should hold these files (path -> SHA-256), '' for nothing.

        All is read unless every file looks as it did when all was right. Raises StoreError.
        """
        folder = self.path(digest)
        try:
            state = _state(folder)
            if state == self._seen.get(folder) or state == self._stats.note(_NOTE, str(folder)):
                return ""
            fault = read_all(folder, files, digest_file)
        except FileNotFoundError:
            return "missing"
        except OSError as error:
            raise trouble(error, folder, doing="read") from error
        if not fault:
            self._believe(folder, state)
        return fault

    def _believe(self, folder: Path, state: str) -> None:
        self._seen[folder] = state
        newest = max((path.lstat().st_ctime_ns for path in _files(folder)), default=0)
        if newest < time.time_ns() - _YOUNG_NS:
            self._stats.remember(_NOTE, {str(folder): state})


def read_all(folder: Path, files: dict[str, str], digest: Callable[[Path], str | None]) -> str:
    """Return what is wrong with a folder whose every file is read, '' for nothing."""
    there = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    for name in sorted(there.keys() ^ files.keys()):
        return f"missing {name}" if name in files else f"more than it should be: {name}"
    wrong = next((name for name, path in sorted(there.items()) if digest(path) != files[name]), None)
    return f"damaged: {wrong} is not what it was" if wrong else ""


def _files(folder: Path) -> Iterator[Path]:
    """Yield whatever lies below a folder and is no folder. Raises OSError."""

    def stop(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=stop):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]  # noqa: PTH114, PTH118  many
        yield from (Path(place, name) for name in (*names, *links))


def _state(folder: Path) -> str:
    """Return a word that changes whenever a file below a folder is written, replaced, added or removed."""
    seen = []
    for path in _files(folder):
        stat = path.lstat()
        kind = S_ISREG(stat.st_mode)
        seen.append([str(path), kind, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns])
    return digest_json(_NOTE, sorted(seen))
