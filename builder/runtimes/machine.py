"""Whether the machine at hand is of the kind that a target says: its processor and its board. Standard library only."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from builder.processor import features

__all__ = ["board", "other_gpu", "other_machine"]

# Where a board's firmware says what it is. Source: the Devicetree Specification v0.4, section 2.3.2 ("model").
_BOARD = Path("/proc/device-tree/model")


def other_machine(target: Mapping[str, Any]) -> str:
    """Return in one sentence why this machine's processor or board is not the target's, or ''.

    `target` has the fields of specs.Target.
    """
    here, name = platform.machine(), target["name"]
    if target["arch"] not in {"any", here}:
        return f"this machine is {here}; {name} is {target['arch']}"
    missing = [feature for feature in target["features"] if feature not in features()]
    if missing:
        return f"this machine's processor has no {' and no '.join(missing)}, as {name} has"
    pattern = target["hardware"] if target["accelerator"] == "none" else ""
    if pattern and not fnmatchcase(board(), pattern):
        return f"this machine is {board() or 'no board that says its name'}; {name} is a {pattern.rstrip('* ')}"
    return ""


def other_gpu(target: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Return in one sentence why the GPU of these facts is not the target's, or ''; a driver may not say its name."""
    pattern, name = target["hardware"], str(facts.get("name") or "")
    if not pattern or not name or fnmatchcase(name, pattern):
        return ""
    return f"the GPU here is an {name}; {target['name']} is an {pattern.rstrip('* ')}"


def board() -> str:
    """Return what the firmware calls this board, such as `Raspberry Pi 5 Model B Rev 1.0`; '' where it does not say."""
    try:
        return _BOARD.read_text(encoding="utf-8", errors="replace").rstrip("\0\n")
    except OSError:
        return ""
