"""Sizes in words."""

from __future__ import annotations

from builder.report.format import number

__all__ = ["size"]

_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def size(count: int) -> str:
    """Return a number of bytes with three significant digits and its unit, in plain ASCII."""
    for unit, name in _UNITS:
        if count >= unit:
            return f"{number(count / unit)} {name}"
    return f"{count} B"
