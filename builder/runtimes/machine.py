"""Whether the machine at hand is of the kind that a target says, in words where it is not. Standard library only."""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from builder.device.fit import difference
from builder.processor import features

__all__ = ["board", "other_device", "other_machine"]

# Where a board's firmware says what it is. Source: the Devicetree Specification v0.4, section 2.3.2 ("model").
_BOARD = Path("/proc/device-tree/model")

_WORDS = {
    "arch": "this machine is {found}; {name} is {wanted}",
    "features": "this machine's processor has no {found}, as {name} has",
    "compute_capability": "the GPU here has compute capability {found}; {name} has {wanted}",
    "hardware": "this machine is {found}; {name} is a {wanted}",
    "gpu": "the GPU here is an {found}; {name} is an {wanted}",
    "version": "{title} {found} is here; {name} wants {wanted}",
}
_UNSAID = {"compute_capability": "none that it says", "hardware": "no board that says its name"}


def other_machine(target: Mapping[str, Any]) -> str:
    """Return in one sentence why this machine's processor or board is not the target's, or ''.

    `target` has the fields of specs.Target.
    """
    named = {"name": board()} if target["accelerator"] == "none" else {}
    return other_device(target, {"arch": platform.machine(), **named}, features() if target["features"] else ())


def other_device(
    target: Mapping[str, Any], facts: Mapping[str, Any], instructions: Collection[str] | None = None, title: str = ""
) -> str:
    """Return in one sentence why a device of these facts here is not the target, or ''; `title` is its runtime's."""
    other = difference(target, facts, instructions)
    if other is None:
        return ""
    what = "gpu" if other.what == "hardware" and target["accelerator"] != "none" else other.what
    found = other.found or _UNSAID[other.what]
    return _WORDS[what].format(found=found, name=target["name"], wanted=other.wanted, title=title)


def board() -> str:
    """Return what the firmware calls this board, such as `Raspberry Pi 5 Model B Rev 1.0`; '' where it does not say."""
    try:
        return _BOARD.read_text(encoding="utf-8", errors="replace").rstrip("\0\n")
    except OSError:
        return ""
