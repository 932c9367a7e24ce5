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
import time
from collections.abc import Mapping
from pathlib import Path
from stat import S_ISREG
from typing import Any

from builder.digest import digest_file, digest_json, digest_tagged

__all__ = ["FileState", "StatCache", "cache_folder", "file_state", "mend"]

_DATABASE = "files.sqlite"
_YOUNG_NS = 2_000_000_000
_NOTE = "builder.note.v1"
_VERSION = 3
_SCHEMA = """
DROP TABLE IF EXISTS files;
DROP TABLE IF EXISTS notes;
CREATE TABLE files (path TEXT PRIMARY KEY, dev INT, ino INT, size INT, mtime INT, ctime INT, sha256 TEXT,
                    own TEXT);
CREATE TABLE notes (kind TEXT, name TEXT, value TEXT, day INT, PRIMARY KEY (kind, name));
"""
_READ_ON = "SELECT * FROM files WHERE rowid >= (SELECT rowid FROM files WHERE path = ?) ORDER BY rowid LIMIT 64"
_DAY_S = 24 * 60 * 60
_NOTE_DAYS = 60  # a note that nobody asked for so long is forgotten

FileState = tuple[int, int, int, int, int]  # device, inode, size, mtime_ns, ctime_ns


def cache_folder() -> Path:
    """Return the user's cache folder of this program (XDG Base Directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "builder"


class StatCache:
    """Digests by stat, and small notes; works in memory where the cache folder cannot be written."""

    def __init__(self, folder: Path | None = None) -> None:
        self._database = _open((folder or cache_folder()) / _DATABASE)
        self._seen: dict[str, tuple[FileState, str]] = {}
        self._ahead: dict[str, tuple[Any, ...]] = {}  # rows that nobody has asked for yet
        self._today = int(time.time()) // _DAY_S

    def digest(self, path: Path | str, *, links: bool = True) -> str:
        """Return the SHA-256 of a file, from memory if nothing about it changed.

        Raises OSError, also for a link where `links` says that none belongs there.
        """
        name, now = str(path), file_state(path, links=links)
        known = self._seen.get(name) or self._known(name)
        if known is not None and known[0] == now:
            self._seen[name] = known
            return known[1]
        return self._hash(path, now)

    def hash(self, path: Path | str, *, links: bool = True) -> str:
        """Return the SHA-256 of a file, read whatever is remembered. Raises OSError, as `digest`."""
        return self._hash(path, file_state(path, links=links))

    def _hash(self, path: Path | str, before: FileState) -> str:
        young = max(before[3:]) >= time.time_ns() - _YOUNG_NS  # as it is now: reading may take longer than that
        sha256 = digest_file(Path(path))
        self._drop(path)
        if not young and file_state(path) == before:
            self.believe(path, before, sha256)
        return sha256

    def believe(self, path: Path | str, state: FileState, sha256: str) -> None:
        """Remember a digest of a file, for as long as it is in this state."""
        self._seen[str(path)] = (state, sha256)
        row = (str(path), *state, sha256)
        self._write("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, _own(row)))

    def _known(self, name: str) -> tuple[FileState, str] | None:
        row = self._ahead.pop(name, None) or self._read_on(name)
        return (row[1:6], row[6]) if row and row[7] == _own(row[:7]) else None

    def _read_on(self, name: str) -> tuple[Any, ...] | None:
        """Return a file's row; those written after it come along, since the next build asks in the same order."""
        with contextlib.suppress(sqlite3.Error):
            rows = self._database.execute(_READ_ON, (name,)).fetchall()
            self._ahead = {row[0]: row for row in rows}
        return self._ahead.pop(name, None)

    def _drop(self, path: Path | str) -> None:
        self._seen.pop(str(path), None)
        self._ahead.pop(str(path), None)

    def rows(self) -> list[tuple[Path, str]]:
        """Return every remembered file that is as it was, with the digest that it is believed to have."""
        with contextlib.suppress(sqlite3.Error):
            found = self._database.execute("SELECT path, dev, ino, size, mtime, ctime, sha256 FROM files").fetchall()
            return [(Path(row[0]), row[6]) for row in found if _unchanged(Path(row[0]), row[1:6])]
        return []

    def forget(self, path: Path) -> None:
        """Believe nothing of a file: it is read the next time."""
        self._drop(path)
        self._write("DELETE FROM files WHERE path = ?", (str(path),))

    def prune(self) -> None:
        """Forget files that are gone and notes that nobody asked for in a long time."""
        with contextlib.suppress(sqlite3.Error):
            names = [row[0] for row in self._database.execute("SELECT path FROM files")]
            gone = [(name,) for name in names if not Path(name).exists()]
            self._database.executemany("DELETE FROM files WHERE path = ?", gone)
            self._database.execute("DELETE FROM notes WHERE day < ?", (self._today - _NOTE_DAYS,))
            self._database.execute("VACUUM")

    def note(self, kind: str, name: str) -> Any:
        """Return what was remembered, or None."""
        row = self._row("SELECT value, day FROM notes WHERE kind = ? AND name = ?", (kind, name))
        try:
            digest, value = json.loads(row[0]) if row else ("", None)
            intact = digest == digest_json(_NOTE, value)
        except (ValueError, TypeError):
            return None
        if intact and row and row[1] != self._today:
            self._write("UPDATE notes SET day = ? WHERE kind = ? AND name = ?", (self._today, kind, name))
        return value if intact else None

    def remember(self, kind: str, notes: Mapping[str, Any]) -> None:
        rows = [
            (kind, name, json.dumps([digest_json(_NOTE, value), value]), self._today) for name, value in notes.items()
        ]
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("BEGIN")
            self._database.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?, ?, ?)", rows)
        with contextlib.suppress(sqlite3.Error):
            self._database.commit()

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


def _own(row: tuple[Any, ...]) -> str:
    """Return the digest of a row, so that a damaged one is not believed."""
    return digest_tagged("builder.file.v1", repr(row).encode())


def file_state(path: Path | str, *, links: bool = True) -> FileState:
    """Return what differs whenever a file was written or replaced, within the clock's grain. Raises OSError."""
    stat = os.stat(path, follow_symlinks=links)  # noqa: PTH116  for every file of every build
    if not S_ISREG(stat.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _unchanged(path: Path, before: FileState) -> bool:
    with contextlib.suppress(OSError):
        return file_state(path) == before
    return False


def mend(folder: Path | None = None) -> bool:
    """Remove the database if its file is damaged, so that it is made anew, and say whether it was."""
    path = (folder or cache_folder()) / _DATABASE
    if not path.exists():
        return False
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=5)) as database:
            intact = database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    except sqlite3.OperationalError:  # busy, or not to be read: that is no damage
        return False
    except sqlite3.DatabaseError:
        intact = False
    if not intact:
        _remove(path)
    return not intact


def _remove(path: Path) -> None:
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)


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
            _remove(path)
        else:
            return database
    database = sqlite3.connect(":memory:", isolation_level=None)
    _prepare(database)
    return database


def _prepare(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=OFF")
    if database.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
        database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={_VERSION}; COMMIT;")
