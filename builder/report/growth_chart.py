"""Where the lines of a cost that grows are drawn: over a logarithmic axis, with an interval at each point."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.report import charts
from builder.report import format as words

__all__ = ["Curve", "Line", "Panel", "latency_panel", "throughput_panel"]

_DASHES = ("none", "7 5", "2 5", "10 4 2 4")  # of the curves, one after another
_HEIGHT = 180  # pixels of a drawing, axes excluded
_STEPS = ((1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0), tuple(1 + step / 10 for step in range(90)))
Scale = Callable[[float], float]  # a value's place in percent


@dataclass(frozen=True)
class Curve:
    """Points of one subject that are joined; `number` tells curves of a subject apart."""

    name: str
    role: str
    number: int
    points: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Line:
    """A curve as paths in per mille of the drawing."""

    name: str
    role: str
    dash: str
    path: str
    dots: str
    bounds: str  # intervals


@dataclass(frozen=True)
class Panel:
    title: str
    unit: str
    across: tuple[tuple[float, str], ...]  # ticks: percent from the left, label
    up: tuple[tuple[float, str], ...]  # ticks: pixels from the top, label
    lines: tuple[Line, ...]


def latency_panel(title: str, curves: Sequence[Curve], over: str) -> Panel:
    """Return the median latencies in ms on two logarithmic axes; `over` is batch or threads."""
    ends = [end for curve in curves for point in curve.points for end in point["p50_interval_ms"]]
    up, ticks = _logarithmic(min(ends) / 1.15, max(ends) * 1.15)
    labels = [(up(tick), (words.ms if tick == ticks[-1] else words.number)(tick)) for tick in ticks]
    return _panel(title, "latency, median, ms, logarithmic", curves, over, up, labels, "p50_ms", "p50_interval_ms")


def throughput_panel(title: str, curves: Sequence[Curve], over: str) -> Panel:
    """Return the samples per second, from 0; `over` is batch or threads."""
    name, interval = "samples_per_second", "samples_per_second_interval"
    axis = charts.axis(0, 1.08 * max(point[interval][1] for curve in curves for point in curve.points), 4)
    labels = [(axis.percent(tick), words.number(tick)) for tick in axis.ticks]
    return _panel(title, "samples per second", curves, over, axis.percent, labels, name, interval)


def _panel(
    title: str,
    unit: str,
    curves: Sequence[Curve],
    over: str,
    up: Scale,
    labels: Sequence[tuple[float, str]],
    value: str,
    interval: str,
) -> Panel:
    sizes = sorted({point[over] for curve in curves for point in curve.points})
    across = _across(sizes)
    return Panel(
        title,
        unit,
        tuple((across(size), str(size)) for size in sizes),
        tuple((round(_HEIGHT * (1 - percent / 100), 1), label) for percent, label in labels),
        tuple(_line(curve, over, across, up, value, interval) for curve in curves),
    )


def _line(curve: Curve, over: str, across: Scale, up: Scale, value: str, interval: str) -> Line:
    places = [(10 * across(point[over]), 1000 - 10 * up(point[value])) for point in curve.points]
    ends = [(10 * across(point[over]), *(1000 - 10 * up(end) for end in point[interval])) for point in curve.points]
    return Line(
        curve.name,
        curve.role,
        _DASHES[curve.number % len(_DASHES)],
        "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in places),
        "".join(f"M{x:.1f},{y:.1f}h0" for x, y in places),
        "".join(f"M{x:.1f},{low:.1f}V{high:.1f}" for x, low, high in ends),
    )


def _across(sizes: Sequence[int]) -> Scale:
    low, span = math.log(sizes[0]), math.log(sizes[-1] / sizes[0]) or 1.0
    return lambda size: round(4 + 92 * (math.log(size) - low) / span, 2)


def _logarithmic(low: float, high: float) -> tuple[Scale, list[float]]:
    """Return where a value lies, and ticks at 1, 2 and 5 of each power of ten, or at more where few of those fit."""

    def place(value: float) -> float:
        return 100 * math.log(value / low) / math.log(high / low)

    powers = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    found = [sorted({round(step * ten, 12) for ten in powers for step in steps}) for steps in _STEPS]
    inside = [[tick for tick in ticks if low <= tick <= high] for ticks in found]
    return place, next((ticks for ticks in inside if len(ticks) >= 3), inside[-1])
