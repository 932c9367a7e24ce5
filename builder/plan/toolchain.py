"""The versions that an action runs with: the interpreter, its step's packages, and everything those require."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from functools import cache
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["toolchain"]


def toolchain(packages: Iterable[str]) -> dict[str, str]:
    """Return name -> version for the interpreter and the closure of the packages' requirements, without extras."""
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
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return "absent", ()
    needed = [Requirement(text) for text in found.requires or ()]
    names = [r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found.version, tuple(canonicalize_name(inner) for inner in names)
