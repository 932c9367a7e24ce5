"""The versions that an action runs with: the interpreter, its step's packages, and everything those require."""

from __future__ import annotations

import hashlib
import platform
import sys
import time
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.store.statcache import StatCache

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = ["Toolchain"]

_NOTE = "toolchain.v2"
_YOUNG_NS = 2_000_000_000


class Toolchain:
    """What is installed, each package as it was when it was first asked for: it may be in a worker's memory by now."""

    def __init__(self, stats: StatCache) -> None:
        self._stats = stats
        self._seen: dict[str, str] = {}

    def versions(self, packages: Iterable[str]) -> dict[str, str]:
        """Return name -> version for the interpreter and the closure of the packages' requirements, without extras.

        Remembered while the folders of `sys.path` are as they were (installing renames a `.dist-info` in one), and
        each package's own notes too (where a package is developed in place, they are written over).
        """
        name = f"{self._places} {' '.join(packages)}"
        known = self._stats.note(_NOTE, name)
        if known is None or any(_state(file) != state for file, state in known["notes"].items()):
            known = _closure(packages)
            if not self._places.startswith("young") and not any(map(_is_young, known["notes"].values())):
                self._stats.remember(_NOTE, {name: known})
        return {name: self._seen.setdefault(name, version) for name, version in known["versions"].items()}

    @cached_property
    def _places(self) -> str:
        """A word for where packages are found and how that looked, or 'young' where it changed a moment ago."""
        state = hashlib.sha256(f"{sys.executable} {platform.python_version()}".encode())
        seen = {folder: _state(folder) for folder in sys.path}
        state.update(repr(seen).encode())
        return "young" if any(map(_is_young, seen.values())) else state.hexdigest()


def _closure(packages: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the versions of packages and of all that they require, and how the files looked that say so."""
    from packaging.utils import canonicalize_name

    versions, notes = {"python": platform.python_version()}, {}
    waiting: list[str] = [canonicalize_name(name) for name in packages]
    while waiting:
        name = waiting.pop()
        if name in versions:
            continue
        found = _distribution(name)
        if found is None:
            versions[name] = "absent"
            continue
        for file in _files(found):
            notes[file] = _state(file)  # before it is read
        versions[name] = found.version
        waiting += _required(found)
    return {"versions": versions, "notes": notes}


def _distribution(name: str) -> Distribution | None:
    from importlib import metadata

    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _files(found: Distribution) -> list[str]:
    """Return the file that holds a package's version and requirements; none where it lies in an archive."""
    folder = Path(str(getattr(found, "_path", "")))  # it has no public name
    return [str(file) for file in (folder / "METADATA", folder / "PKG-INFO", folder) if file.is_file()][:1]


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
