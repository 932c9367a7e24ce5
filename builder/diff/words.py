"""Values in words: short, harmless on a terminal, and apart wherever the values are."""

from __future__ import annotations

import json
from typing import Any

from builder.diff.numbers import Number

__all__ = ["arrow", "byte_size", "number_arrow", "readable", "visible"]

_LONG = 60  # characters of a value that are shown


def visible(text: str) -> str:
    """Return text with what could steer a terminal shown as an escape."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def readable(value: Any) -> str:
    """Return a value as a recipe would write it, shortened."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return _short(value if isinstance(value, str) and value else _exact(value))


def arrow(old: Any, new: Any) -> str:
    """Return `old -> new`, exactly where they look alike otherwise; two long ones may only be said to differ."""
    before, after = readable(old), readable(new)
    if before == after:
        before, after = _short(_exact(old)), _short(_exact(new))
    return f"{before} -> {after}" if before != after else f"{before} (it differs further on)"


def _exact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _short(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[:_LONG]}..."


def byte_size(old: int, new: int) -> str:
    """Return two sizes in bytes, exactly: the difference is often a few."""
    return f"{old:,} bytes" if old == new else f"{old:,} -> {new:,} bytes"


def number_arrow(old: Number | None, new: Number | None, *, drop: bool) -> str:
    """Return `old -> new` with as many digits as tell them apart, each with its interval and the unit behind.

    A share is shown in per cent, the drop of one in points.
    """
    known = [number for number in (old, new) if number is not None]
    share = known[0].unit == "share"
    unit = ("points" if drop else "%") if share else known[0].unit
    digits = next(
        (digits for digits in range(4, 17) if len({_round(each.value, digits) for each in known}) == len(known)), 17
    )
    shown = [_shown(each, digits, 100 if share else 1) for each in known]
    return f"{' -> '.join(shown)} {unit}".rstrip()


def _round(value: float, digits: int) -> str:
    return f"{value:.{digits}g}"


def _shown(number: Number, digits: int, scale: int) -> str:
    text = _round(number.value * scale, digits)
    if number.interval is None:
        return text
    low, high = (_round(bound * scale, digits) for bound in number.interval)
    return f"{text} [{low}, {high}]"
