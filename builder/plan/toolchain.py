"""The versions that an action runs with: the interpreter, its step's packages, and everything those require."""

from __future__ import annotations

import hashlib
import platform
import sys
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from builder.store.statcache import StatCache

__all__ = ["toolchain"]

_NOTE = "toolchain.v1"
_YOUNG_NS = 2_000_000_000


def toolchain(packages: Iterable[str], stats: StatCache) -> dict[str, str]:
    """Return name -> version for the interpreter and the closure of the packages' requirements, without extras.

    Remembered for as long as no folder of `sys.path` changes: installing or upgrading renames a `.dist-info` in one.
    """
    name = f"{_places()} {' '.join(packages)}"
    known = stats.note(_NOTE, name)
    if known is None:
        known = _closure(packages)
        if not name.startswith("young"):
            stats.remember(_NOTE, {name: known})
    return dict(known)


@cache
def _places() -> str:
    """Return a word for where packages are found and how that looked, or 'young' where it changed a moment ago."""
    state = hashlib.sha256(f"{sys.executable} {platform.python_version()}".encode())
    newest = 0
    for folder in sys.path:
        try:
            stat = Path(folder).stat()
        except OSError:
            continue
        newest = max(newest, stat.st_mtime_ns, stat.st_ctime_ns)
        state.update(f"{folder} {stat.st_dev} {stat.st_ino} {stat.st_mtime_ns} {stat.st_ctime_ns}\n".encode())
    return "young" if newest > time.time_ns() - _YOUNG_NS else state.hexdigest()


def _closure(packages: Iterable[str]) -> dict[str, str]:
    from packaging.utils import canonicalize_name

    versions = {"python": platform.python_version()}
    waiting: list[str] = [canonicalize_name(name) for name in packages]
    while waiting:
        name = waiting.pop()
        if name in versions:
            continue
        version, requires = _distribution(name)
        versions[name] = version
        waiting += requires if version != "absent" else ()
    return versions


@cache
def _distribution(name: str) -> tuple[str, tuple[str, ...]]:
    from importlib import metadata

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return "absent", ()
    needed = [Requirement(text) for text in found.requires or ()]
    names = [r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found.version, tuple(canonicalize_name(inner) for inner in names)
