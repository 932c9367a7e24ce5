"""Folders that are kept as they are, since programs run in them: the packages of toolchains.

Such a tree has its listing in `cas/` like any other, and its files in `folders/<digest>/` instead of `cas/`. Copying
tens of thousands of files for every action that needs them would take longer than most actions.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from stat import S_IMODE, S_ISREG, S_IWGRP

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
        """Make what lies in a folder read-only and return its files' digests; empty folders go. Raises OSError.

        Whoever may use the store may read it, and may remove it where they may remove the rest of the store: in a
        shared one its folders can be written.
        """
        for place, folders, names in os.walk(folder, topdown=False):
            Path(place).chmod(0o755 if place == str(folder) else self._mode())  # the folder itself will move
            if not names and not any(os.path.lexists(Path(place, name)) for name in folders) and place != str(folder):
                Path(place).rmdir()
        for path in _files(folder):
            path.chmod(0o555 if os.access(path, os.X_OK) else 0o444)
        return {path.relative_to(folder).as_posix(): digest_file(path) for path in _files(folder)}

    def _mode(self) -> int:
        return 0o775 if S_IMODE(self._root.parent.stat().st_mode) & S_IWGRP else 0o555

    def add(self, folder: Path, digest: str) -> bool:
        """Move a prepared folder to its place; False where another builder was faster. Raises StoreError."""
        final = self.path(digest)
        try:
            os.sync()  # tens of thousands of files: each on its own would take minutes
            make_folder(self._root, self._root.parent)
            folder.rename(final)
            final.chmod(self._mode())
            self._believe(final, *_state(final))
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise trouble(error, final) from error
        return True

    def fault(self, digest: str, files: Mapping[str, str], *, again: bool = False) -> str:
        """Return what is wrong with a folder that should hold these files (path -> SHA-256), '' for nothing.

        All is read `again`, or else unless every file looks as it did when all was right. Raises StoreError.
        """
        folder = self.path(digest)
        try:
            state, newest = _state(folder)
            if not again and state in (self._seen.get(folder), self._stats.note(_NOTE, str(folder))):
                return ""
            fault = read_all(folder, files, digest_file)
        except (FileNotFoundError, NotADirectoryError):
            return "damaged" if os.path.lexists(folder) else "missing"
        except OSError as error:
            raise trouble(error, folder, doing="read") from error
        if not fault:
            self._believe(folder, state, newest)
        return fault

    def _believe(self, folder: Path, state: str, newest_ns: int) -> None:
        self._seen[folder] = state
        if newest_ns < time.time_ns() - _YOUNG_NS:
            self._stats.remember(_NOTE, {str(folder): state})


def read_all(folder: Path, files: Mapping[str, str], digest: Callable[[Path], str | None]) -> str:
    """Return what is wrong with a folder whose every file is read, '' for nothing. Raises OSError."""
    there = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    if gone := sorted(files.keys() - there.keys()):
        return f"damaged: {gone[0]} is missing"
    if strange := sorted(there.keys() - files.keys()):
        return f"damaged: it holds {strange[0]}, which is not its own"
    wrong = next((name for name, path in sorted(there.items()) if path.is_symlink() or digest(path) != files[name]), "")
    return f"damaged: {wrong} is not what it was" if wrong else ""


def _files(folder: Path) -> Iterator[Path]:
    """Yield whatever lies below a folder, but for folders that hold something. Raises OSError."""

    def stop(error: OSError) -> None:
        raise error

    if folder.is_symlink():
        raise NotADirectoryError(folder)
    for place, folders, names in os.walk(folder, onerror=stop):
        if not folders and not names and place != str(folder):  # one that is empty can be imported too
            yield Path(place)
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]  # noqa: PTH114, PTH118  many
        yield from (Path(place, name) for name in (*names, *links))


def _state(folder: Path) -> tuple[str, int]:
    """Return a word that changes whenever a file is written, replaced, added or removed, and the newest change (ns)."""
    seen, newest_ns = [], 0
    for path in _files(folder):
        stat = path.lstat()
        kind = S_ISREG(stat.st_mode)
        seen.append([str(path), kind, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns])
        newest_ns = max(newest_ns, stat.st_ctime_ns)
    return digest_json(_NOTE, sorted(seen)), newest_ns
