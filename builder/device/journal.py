"""What is done, kept: a folder for each finished action, under a passing name until it is complete."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.device.files import digest_file, files_below, read_json, remove, write_json
from builder.device.stop import Stop

__all__ = ["Journal"]

_DONE = "done.json"
_USED = "used.json"


class Journal:
    """The work on one kit on one device. Raises Stop where another process is at it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / "lock").open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise Stop(f"another process is resuming this kit here, in {folder}", "wait for it, or end it") from error

    def close(self) -> None:
        self._lock.close()

    def kept(self, name: str, used: Mapping[str, str] | None = None) -> dict[str, Any] | None:
        """Return what is kept of an action: seconds, facts, files. None where it is not done, or not intact.

        Nor is it kept where it used anything else than `used`: the digest of what each action before it made.
        """
        folder = self.folder / name
        try:
            done: dict[str, Any] = read_json(folder / _DONE)
            found = {path: _entry(folder / path) for path in files_below(folder) if path != _DONE}
            same = (done.pop("used"), done["files"]) == (dict(used or {}), found)
        except (OSError, ValueError, KeyError):
            return None
        return done if same else None

    def begin(self, name: str) -> Path:
        """Return an empty folder in which an action is done."""
        part = self.folder / f".{name}.part"
        remove(part)
        part.mkdir(parents=True)
        return part

    def continued(self, name: str, used: Mapping[str, str]) -> Path:
        """Return a folder in which an action goes on where it was broken off, if it used the same then."""
        part = self.folder / f".{name}.calls"
        if _noted(part / _USED) != used:
            remove(part)
            write_json(part / _USED, dict(used))
        return part

    def finish(self, name: str, part: Path, facts: Mapping[str, Any], seconds: float, used: Mapping[str, str]) -> None:
        """Keep an action that is done, and the digests of what it used. A second resume leaves it out."""
        files = {path: _entry(part / path) for path in files_below(part)}
        for path in files:
            with (part / path).open("rb") as file:
                os.fsync(file.fileno())
        done = {"facts": dict(facts), "seconds": round(seconds, 3), "files": files, "used": dict(used)}
        write_json(part / _DONE, done)
        remove(self.folder / name)
        part.rename(self.folder / name)
        remove(self.folder / f".{name}.calls")

    def place(self, name: str) -> Path:
        return self.folder / name


def _noted(file: Path) -> Any:
    try:
        return read_json(file)
    except (OSError, ValueError):
        return None


def _entry(file: Path) -> dict[str, Any]:
    return {"sha256": digest_file(file), "bytes": file.stat().st_size}
