"""What was made on devices: from an action's portable key to the keys of its results, one for each device.

devices/<portable key>/<result>.json   an entry, named by the digest of the result that it came with

A result brings entries for several actions. They count when all of them are there, so a result is filed as a whole or
not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from builder.digest import canonical, digest_json, read_bytes
from builder.store.cas import sync_folder
from builder.store.folders import make_folder
from builder.trouble import trouble

__all__ = ["DeviceIndex", "Entry"]

_TAG = "builder.device.v1"


@dataclass(frozen=True)
class Entry:
    """An action's result on one device."""

    portable: str  # the portable key
    key: str  # the device key, under which the result lies
    action: str
    device: Mapping[str, Any]  # the facts that are in the device key
    host: Mapping[str, Any]  # more about the machine, for people
    taken_at: str
    result: str  # the digest of the result that brought it
    siblings: tuple[str, ...]  # the portable keys of all actions of that result
    filed_at: str = ""  # when it came, by the clock here: a device's own may be wrong
    failed: Mapping[str, str] = field(default_factory=dict)  # portable key of what failed there -> why

    @property
    def name(self) -> str:
        return str(self.device["name"])

    @property
    def identity(self) -> str:
        """Return the digest of the device's facts: equal for two results of one device in one state."""
        return digest_json("builder.facts.v1", dict(self.device))


class DeviceIndex:
    """The entries under `<root>/devices`."""

    def __init__(self, root: Path, set_aside: Callable[[Path, str], None]) -> None:
        self._root = root
        self._set_aside = set_aside

    def find(self, portable: str) -> list[Entry]:
        """Return the entries of a portable key whose results are filed as a whole, the last that came at the end."""
        found = []
        for path, entry in self._entries(portable):
            if entry is None:
                self._set_aside(path, "it is damaged")
            elif self.is_whole(entry):
                found.append(entry)
        return sorted(found, key=lambda entry: entry.filed_at)

    def entry(self, portable: str, result: str) -> Entry | None:
        """Return the entry that a result brought, or None."""
        return _read(self._path(portable, result))

    def write(self, entries: Sequence[Entry], private: Path) -> None:
        """File the entries of a result, when all that they lead to is in the store. Raises StoreError."""
        for entry in entries:
            body = asdict(entry)
            content = canonical({"entry": body, "sha256": digest_json(_TAG, body)})
            final, staged = self._path(entry.portable, entry.result), private / f"entry-{os.getpid()}"
            try:
                make_folder(final.parent, self._root.parent)
                with staged.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                staged.chmod(0o444)
                staged.replace(final)
                sync_folder(final.parent)
            except OSError as error:
                raise trouble(error, final, len(content)) from error

    def files(self) -> Iterator[tuple[Path, Entry | None]]:
        """Yield every file of the index with its entry; None for one that is damaged or does not belong there."""
        for folder in sorted(self._root.iterdir()) if self._root.is_dir() else []:
            if folder.is_dir() and not folder.is_symlink():
                yield from self._entries(folder.name)
            else:
                yield folder, None

    def folders(self) -> list[Path]:
        """Return the folder of each portable key."""
        return [path for path in self._root.iterdir() if path.is_dir()] if self._root.is_dir() else []

    def is_whole(self, entry: Entry) -> bool:
        """Return whether all entries are there that the result of one brought."""
        return all(self._path(portable, entry.result).is_file() for portable in entry.siblings)

    def _entries(self, portable: str) -> Iterator[tuple[Path, Entry | None]]:
        folder = self._root / portable
        try:
            names = sorted(os.listdir(folder))  # noqa: PTH208  for every action of every build
        except FileNotFoundError:
            return
        except OSError as error:
            raise trouble(error, folder, doing="read") from error
        for name in names:
            yield folder / name, _read(folder / name)

    def _path(self, portable: str, result: str) -> Path:
        return self._root / portable / f"{result}.json"


def _read(path: Path) -> Entry | None:
    try:
        document = json.loads(read_bytes(path))
        body = document["entry"]
        if document["sha256"] != digest_json(_TAG, body):
            return None
        entry = Entry(**{**body, "siblings": tuple(body["siblings"])})
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return entry if (entry.portable, f"{entry.result}.json") == (path.parent.name, path.name) else None
