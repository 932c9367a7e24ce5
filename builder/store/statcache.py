"""What this machine and user remember: digests of files that have not changed, and what each action last was.

A cache only: losing it costs time, never truth. A row counts while device, inode, size, mtime and ctime are all as they
were; a file changed within the last 2 s is never remembered, since a second change could leave its times alone
(the "racily clean" problem of git's index). It lies in the user's cache folder, not in the store, which may be shared.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from stat import S_ISREG
from typing import Any

from builder.digest import digest_file, digest_json
from builder.store.locks import Lock

__all__ = ["StatCache", "cache_folder", "machine_lock"]

_YOUNG_NS = 2_000_000_000
_NOTE = "builder.note.v1"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, dev INT, ino INT, size INT, mtime INT, ctime INT, sha256 TEXT);
CREATE TABLE IF NOT EXISTS notes (kind TEXT, name TEXT, value TEXT, PRIMARY KEY (kind, name));
"""


def cache_folder() -> Path:
    """Return the user's cache folder of this program (XDG Base Directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "builder"


def machine_lock() -> Lock:
    """Return the lock of whoever measures on this machine: two measurements at once would disturb each other."""
    with contextlib.suppress(OSError):
        cache_folder().mkdir(parents=True, exist_ok=True)
        with (cache_folder() / "measuring").open("a"):
            return Lock(cache_folder() / "measuring")
    return Lock(Path(tempfile.gettempdir()) / f"builder-measuring-{os.getuid()}")


class StatCache:
    """Digests by stat, and small notes; works in memory where the cache folder cannot be written."""

    def __init__(self, folder: Path | None = None) -> None:
        self._database = _open((folder or cache_folder()) / "files.sqlite")

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file, from memory if nothing about it changed. Raises OSError."""
        name, stat = str(path), path.stat()
        if not S_ISREG(stat.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        row = self._row("SELECT dev, ino, size, mtime, ctime, sha256 FROM files WHERE path = ?", (name,))
        seen = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if row is not None and row[:5] == seen:
            return str(row[5])
        sha256 = digest_file(path)
        if max(stat.st_mtime_ns, stat.st_ctime_ns) < time.time_ns() - _YOUNG_NS and _same(path, seen):
            self._write("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", (name, *seen, sha256))
        return sha256

    def note(self, kind: str, name: str) -> Any:
        """Return what was remembered, or None."""
        row = self._row("SELECT value FROM notes WHERE kind = ? AND name = ?", (kind, name))
        try:
            digest, value = json.loads(row[0]) if row else ("", None)
        except (ValueError, TypeError):
            return None
        return value if digest == digest_json(_NOTE, value) else None

    def remember(self, kind: str, notes: Mapping[str, Any]) -> None:
        for name, value in notes.items():
            text = json.dumps([digest_json(_NOTE, value), value])
            self._write("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", (kind, name, text))

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._database.commit()
        self._database.close()

    def _row(self, query: str, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        try:
            row: tuple[Any, ...] | None = self._database.execute(query, values).fetchone()
        except sqlite3.Error:
            return None
        return row

    def _write(self, query: str, values: tuple[Any, ...]) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._database.execute(query, values)


def _same(path: Path, seen: tuple[int, ...]) -> bool:
    stat = path.stat()
    return seen == (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _open(path: Path) -> sqlite3.Connection:
    """Open the database; one that is damaged is made anew, and one that cannot be had is kept in memory."""
    for _ in range(2):
        database = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(path, timeout=5, isolation_level=None)
            _prepare(database)
        except (sqlite3.Error, OSError) as error:
            if database is not None:
                database.close()
            if not isinstance(error, sqlite3.DatabaseError) or isinstance(error, sqlite3.OperationalError):
                break
            for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
                path.with_name(name).unlink(missing_ok=True)
        else:
            return database
    database = sqlite3.connect(":memory:", isolation_level=None)
    _prepare(database)
    return database


def _prepare(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=OFF")
    database.executescript(_SCHEMA)
