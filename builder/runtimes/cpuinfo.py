"""The name of the processor at hand, as the system tells it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["cpuinfo", "processor_name"]

_BOARD = Path("/proc/device-tree/model")


@cache
def cpuinfo() -> dict[str, str]:
    """Return the fields of the first processor that /proc/cpuinfo lists."""
    first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}


def processor_name() -> str:
    """Return the processor's name; Arm processors give none, so there the board's, or else the part number."""
    info = cpuinfo()
    if name := info.get("model name"):
        return name
    try:
        return _BOARD.read_text(encoding="utf-8").strip("\n\0")
    except OSError:  # no device tree
        return f"implementer {info.get('CPU implementer', '?')} part {info.get('CPU part', '?')}"
