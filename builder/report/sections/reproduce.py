"""Reproduce: the command, digests, machine, versions, and the lock that holds them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

__all__ = ["ORDER", "context"]

ORDER = 90


def context(report: Mapping[str, Any]) -> dict[str, Any]:
    manifest = report["manifest"]
    pairs = {pair for action in manifest["actions"] for pair in action["toolchain"].items()}
    locks = [
        (action["name"].removeprefix("toolchain."), action["toolchain"]["lock"])
        for action in manifest["actions"]
        if action["step"] == "toolchain" and "lock" in action["toolchain"]
    ]
    return {
        "versions": sorted((name, version) for name, version in pairs if name not in ("lock", "machine")),
        "toolchain_locks": locks,
        "lock": _lock(manifest.get("command") or ""),
    }


def _lock(command: str) -> str:
    """Return the command that writes the lock of what a command builds; '' where that is no recipe."""
    try:
        words = shlex.split(command)[3:]
    except ValueError:  # it was not written by us
        return ""
    known = [word for word in words if not word.startswith(("locked=", "output=", "verbosity="))]
    return shlex.join(["python", "-m", "builder", "lock", *known]) if any("recipe=" in word for word in words) else ""
