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

    def kept(self, name: str) -> dict[str, Any] | None:
        """Return what is kept of an action: seconds, facts, files. None where it is not done, or not intact."""
        folder = self.folder / name
        try:
            done: dict[str, Any] = read_json(folder / _DONE)
            found = {path: _entry(folder / path) for path in files_below(folder) if path != _DONE}
        except (OSError, ValueError):
            return None
        return done if found == done["files"] else None

    def begin(self, name: str) -> Path:
        """Return an empty folder in which an action is done."""
        part = self.folder / f".{name}.part"
        remove(part)
        part.mkdir(parents=True)
        return part

    def continued(self, name: str) -> Path:
        """Return a folder in which an action goes on where it was broken off."""
        part = self.folder / f".{name}.calls"
        part.mkdir(parents=True, exist_ok=True)
        return part

    def finish(self, name: str, part: Path, facts: Mapping[str, Any], seconds: float) -> None:
        """Keep an action that is done. From here on a second resume leaves it out."""
        files = {path: _entry(part / path) for path in files_below(part)}
        for path in files:
            with (part / path).open("rb") as file:
                os.fsync(file.fileno())
        write_json(part / _DONE, {"facts": dict(facts), "seconds": round(seconds, 3), "files": files})
        remove(self.folder / name)
        part.rename(self.folder / name)
        remove(self.folder / f".{name}.calls")

    def place(self, name: str) -> Path:
        return self.folder / name


def _entry(file: Path) -> dict[str, Any]:
    return {"sha256": digest_file(file), "bytes": file.stat().st_size}
