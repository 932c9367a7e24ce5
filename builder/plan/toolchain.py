"""What an action runs with here: the interpreter, its step's packages, and everything those require."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.digest import digest_json
from builder.plan.part import Part
from builder.store.statcache import StatCache

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = ["Installed", "Toolchain"]

_NOTE = "toolchain.v3"
_RECORD = "builder.record.v1"
_YOUNG_NS = 2_000_000_000
_SAYS = ("METADATA", "PKG-INFO", "RECORD")  # the files of a package that say what it is
# What installers add to the files of a package, each in its own way.
_ADDED = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_cache.json", "uv_build.json")


@dataclass(frozen=True)
class Installed:
    """Packages by name: their versions, and a digest of what their RECORD says of their files, where one says it."""

    versions: Part
    records: Part


@dataclass
class _Found:
    """As Installed, with the state of the files that say so."""

    versions: dict[str, str]
    records: dict[str, str] = field(default_factory=dict)
    notes: dict[str, list[int]] = field(default_factory=dict)


class Toolchain:
    """What is installed, each package as it was when it was first asked for: it may be in a worker's memory by now."""

    def __init__(self, stats: StatCache) -> None:
        self._stats = stats
        self._seen: dict[str, tuple[str, str | None]] = {}

    def installed(self, packages: Iterable[str]) -> Installed:
        """Return the interpreter and the closure of the packages' requirements, without extras.

        Remembered while the folders of `sys.path` are as they were (installing renames a `.dist-info` in one), and
        each package's own notes too (where a package is developed in place, they are written over).
        """
        name = f"{self._places} {' '.join(packages)}"
        known: dict[str, Any] | None = self._stats.note(_NOTE, name)
        if known is None or any(_state(file) != state for file, state in known["notes"].items()):
            known = vars(_closure(packages))
            if not self._places.startswith("young") and not any(map(_is_young, known["notes"].values())):
                self._stats.remember(_NOTE, {name: known})
        found = {
            package: self._seen.setdefault(package, (version, known["records"].get(package)))
            for package, version in known["versions"].items()
        }
        return Installed(
            Part({package: version for package, (version, _) in found.items()}),
            Part({package: record for package, (_, record) in found.items() if record}),
        )

    @cached_property
    def _places(self) -> str:
        """A word for where packages are found and how that looked, or 'young' where it changed a moment ago."""
        state = hashlib.sha256(f"{sys.executable} {platform.python_version()}".encode())
        seen = {folder: _state(folder) for folder in sys.path}
        state.update(repr(seen).encode())
        return "young" if any(map(_is_young, seen.values())) else state.hexdigest()


def _closure(packages: Iterable[str]) -> _Found:
    """Return packages and all that they require, and how the files looked that say so."""
    from packaging.utils import canonicalize_name

    closure = _Found({"python": platform.python_version()})
    waiting: list[str] = [canonicalize_name(name) for name in packages]
    while waiting:
        name = waiting.pop()
        if name in closure.versions:
            continue
        found = _distribution(name)
        if found is None:
            closure.versions[name] = "absent"
            continue
        closure.notes |= {file: _state(file) for file in _files(found)}  # before they are read
        closure.versions[name] = found.version
        if record := _record(found):
            closure.records[name] = record
        waiting += _required(found)
    return closure


def _distribution(name: str) -> Distribution | None:
    from importlib import metadata

    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _files(found: Distribution) -> list[str]:
    """Return the files that say what a package is; none where it lies in an archive."""
    folder = Path(str(getattr(found, "_path", "")))  # it has no public name
    return [str(file) for file in (*(folder / name for name in _SAYS), folder) if file.is_file()]


def _record(found: Distribution) -> str:
    """Return the digest of the files of a package as its wheel has them, whoever installed it (PEP 376, PEP 627).

    '' where no RECORD says it, and for a package that is developed in place: its code lies elsewhere.
    """
    text, origin = found.read_text("RECORD"), found.read_text("direct_url.json")
    in_place = json.loads(origin).get("dir_info", {}).get("editable", False) if origin else False
    return digest_json(_RECORD, sorted(_own_files(text))) if text and not in_place else ""


def _own_files(record: str) -> Iterator[list[str]]:
    """Yield path and hash of each file, less those outside the package's folder: their first line names a Python."""
    import csv

    for path, checksum, *_ in (line for line in csv.reader(record.splitlines()) if len(line) >= 2):
        folder, _, name = path.rpartition("/")
        added = folder.endswith(".dist-info") and "/" not in folder and name in _ADDED
        if not added and not path.startswith(("../", "/")) and "__pycache__" not in folder.split("/"):
            yield [path, checksum]


def _required(found: Distribution) -> list[str]:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    needed = [Requirement(text) for text in found.requires or ()]
    return [canonicalize_name(r.name) for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]


def _state(path: str) -> list[int]:
    """Return what would differ if a file or folder were written again; nothing where there is none."""
    try:
        stat = Path(path).stat()
    except OSError:
        return []
    return [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _is_young(state: list[int]) -> bool:
    return max(state[3:], default=0) > time.time_ns() - _YOUNG_NS
