"""Numbers as people read them: three significant digits, a unit, a real minus sign."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from builder.runtimes.find import named

__all__ = [
    "duration",
    "flatten",
    "gate_quantity",
    "in_percent",
    "interval",
    "is_number",
    "metric",
    "metric_title",
    "mib",
    "ms",
    "number",
    "plain",
    "points",
    "runtime",
    "size",
    "when",
]

MIB = 2**20
_TITLES = {"spearman": "Spearman correlation"}
_SHARES = {"accuracy", "agreement", "auc", "f1", "precision", "recall", "top1", "top5"}
_MINUS = "\N{MINUS SIGN}"
_SPACE = "\N{NO-BREAK SPACE}"
NOTHING = "\N{EN DASH}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many significant digits and no exponent; an en dash for None."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "\N{INFINITY}" if value > 0 else f"{_MINUS}\N{INFINITY}"
    if value == 0:
        return "0"
    if abs(value) < 1e-4:
        return f"{value:.{digits - 1}e}".replace("-", _MINUS)
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}".replace("-", _MINUS)


def is_number(text: str) -> bool:
    """Tell whether a text reads as a number, as `1e-3` or `nan` does."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def plain(value: float | None) -> str:
    """Return a number as someone wrote it: 2.0 is `2`."""
    return NOTHING if value is None else f"{value:.10g}".replace("-", _MINUS)


def _with_unit(text: str, unit: str) -> str:
    return text if text == NOTHING else f"{text}{_SPACE}{unit}"


def ms(value: float | None) -> str:
    return _with_unit(number(value), "ms")


def mib(value: float | None) -> str:
    return _with_unit(number(value), "MiB")


def size(value: float | None) -> str:
    """Return bytes as MiB, or as KiB or bytes where that would be all zeros."""
    if value is None:
        return NOTHING
    if value >= 0.01 * MIB:
        return mib(value / MIB)
    return _with_unit(number(value / 1024), "KiB") if value >= 1024 else _with_unit(plain(value), "B")


def duration(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return _with_unit(number(seconds, 2 if seconds < 10 else 3), "s")
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}{_SPACE}min{_SPACE}{rest}{_SPACE}s"


def when(moment: str) -> str:
    """Return an ISO 8601 time in UTC as `2026-11-21 09:14 UTC`; what is no such time stays as it is."""
    try:
        return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return moment


def runtime(name: str) -> str:
    """Return what a runtime's maker calls it."""
    found = named(name)
    return found.TITLE if found else name


def in_percent(name: str) -> bool:
    """Say whether a metric is a share of 1, which people read as a percentage."""
    return name in _SHARES


def metric_title(name: str) -> str:
    """Return how people call a metric."""
    return _TITLES.get(name, name)


def metric(name: str, value: float | None) -> str:
    """Return a metric's value: `93.1 %` for a share, else the number."""
    if value is not None and in_percent(name):
        return _with_unit(f"{100 * value:.2f}", "%")
    return number(value, 4)


def points(name: str, value: float | None) -> str:
    """Return a difference of a metric, without a unit; hundredths for a share."""
    if value is not None and in_percent(name):
        return f"{round(100 * value, 2) + 0.0:.2f}".replace("-", _MINUS)
    return number(value, 3)


def interval(low_high: Sequence[str] | None) -> str:
    return f" [{low_high[0]}, {low_high[1]}]" if low_high else ""


def gate_quantity(gate: str, value: float | None, primary: str = "top1", *, exact: bool = False) -> str:
    """Return a gate's value, or its `exact` limit, with the unit its name says; `primary` is the metric of a drop."""
    if value is None:
        return NOTHING
    if gate.endswith(("accuracy_drop", "agreement")):
        share = in_percent(primary)
        if not share:
            return plain(round(value, 6))
        text = plain(round(100 * value, 10)) if exact else points("top1", value)
        return _with_unit(text, "%" if gate.endswith("agreement") else "point" if text == "1" else "points")
    units = {"_ms": "ms", "_mib": "MiB", "_db": "dB"}
    text = number(value, 4)
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return _with_unit(text, next((unit for ending, unit in units.items() if ending in gate), ""))


def flatten(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (name, text) of nested facts: `{"a": {"b": 1}}` is `a.b`, `1`."""
    for name, value in facts.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{path}.")
        elif isinstance(value, bool):
            yield path, "yes" if value else "no"
        elif isinstance(value, float):
            yield path, number(value, 4)
        elif isinstance(value, str | int):
            yield path, str(value)
        elif isinstance(value, list) and all(isinstance(each, str) for each in value):
            yield path, ", ".join(value) or "none"
        elif value is not None:
            yield path, json.dumps(value, ensure_ascii=False)
