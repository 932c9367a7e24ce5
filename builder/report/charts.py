"""Where the marks of a figure go: axes, latency distributions, intervals. Positions are in percent or per mille."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from builder.report import format as words

__all__ = ["Axis", "Drop", "Drops", "Latency", "axis", "drop_chart", "latency_chart"]


@dataclass(frozen=True)
class Axis:
    """A linear scale with round ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def percent(self, value: float) -> float:
        """Return where a value lies, 0 to 100, held inside the axis."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 3)

    def places(self) -> int:
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else 1
        return max(0, -math.floor(math.log10(step) + 1e-9) + (1 if f"{step:.1e}"[:3] == "2.5" else 0))

    def label(self, value: float) -> str:
        return f"{value:.{self.places()}f}".replace("-", "\N{MINUS SIGN}")


def axis(low: float, high: float, count: int = 5) -> Axis:
    """Return an axis over [low, high] with about `count` ticks at multiples of 1, 2, 2.5 or 5."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Axis(low, high, tuple(round(index * step, 12) + 0.0 for index in range(first, last + 1)))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return a quantile of sorted numbers by linear interpolation."""
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


@dataclass(frozen=True)
class Row:
    """One subject: its box in percent of the axis, and its runs as paths of dots in per mille."""

    name: str
    role: str  # candidate, baseline, other
    p50: float
    box: tuple[float, float, float, float, float] | None  # p5, p25, p50, p75, p95 in percent
    rug: str
    order: str
    clipped: str  # runs beyond the axis, drawn at its upper edge
    over: int  # how many they are
    drift: float | None  # median of the last third of the runs over the median of the first


@dataclass(frozen=True)
class Latency:
    axis: Axis
    rows: tuple[Row, ...]


def latency_chart(subjects: Sequence[Mapping[str, Any]], names: Sequence[str], roles: Sequence[str]) -> Latency:
    """Return the distribution and the runs in order; the axis ends above the slowest 99th percentile."""
    spans = [_span(subject) for subject in subjects]
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    scale = axis(0 if low < high / 2 else max(0.0, low - 0.15 * (high - low)), high + 0.1 * (high - low or high))
    rows = tuple(_row(*one, scale) for one in zip(subjects, names, roles, strict=True))
    return Latency(scale, rows)


def _span(subject: Mapping[str, Any]) -> tuple[float, float]:
    stats, samples = subject["latency_ms"], sorted(subject.get("samples_ms") or [])
    if samples:
        return samples[0], quantile(samples, 0.99)
    known = [stats[name] for name in ("min", "p50", "p90", "p99") if stats.get(name) is not None]
    return min(known), max(known)


def _row(subject: Mapping[str, Any], name: str, role: str, scale: Axis) -> Row:
    samples = subject.get("samples_ms") or []
    p50 = subject["latency_ms"]["p50"]
    if not samples:
        return Row(name, role, p50, None, "", "", "", 0, None)
    ordered = sorted(samples)
    p5, p25, p50_, p75, p95 = (scale.percent(quantile(ordered, share)) for share in (0.05, 0.25, 0.5, 0.75, 0.95))
    xs = [round(1000 * (index + 0.5) / len(samples), 1) for index in range(len(samples))]
    ys = [round(1000 - 10 * scale.percent(value)) for value in samples]
    third = len(samples) // 3
    return Row(
        name,
        role,
        p50,
        (p5, p25, p50_, p75, p95),
        rug="".join(
            f"M{place:g},0v10"
            for place in sorted({round(10 * scale.percent(v), 1) for v in samples if v <= scale.high})
        ),
        order="".join(f"M{x:g},{y}h0" for x, y, v in zip(xs, ys, samples, strict=True) if v <= scale.high),
        clipped="".join(f"M{x:g},6h0" for x, v in zip(xs, samples, strict=True) if v > scale.high),
        over=sum(value > scale.high for value in samples),
        drift=median(samples[-third:]) / median(samples[:third]) if third >= 10 else None,
    )


@dataclass(frozen=True)
class Drop:
    """One metric's drop and its interval in percent of the axis; `limit` too, where it has one."""

    metric: str
    point: float
    low: float | None
    high: float | None
    limit: float | None


@dataclass(frozen=True)
class Drops:
    """Drops of metrics with one unit on one axis, from better (left) to worse."""

    zero: float
    ticks: tuple[tuple[float, str], ...]
    rows: tuple[Drop, ...]
    in_points: bool  # hundredths of shares


def drop_chart(metrics: Mapping[str, Mapping[str, Any]], limits: Mapping[str, float]) -> Drops:
    """Return where the drops of metrics, their intervals, no change and the limits lie."""
    factor = 100 if all(words.in_percent(name) for name in metrics) else 1
    bounds = {name: result.get("interval") or (None, None) for name, result in metrics.items()}
    drops = [result["drop"] for result in metrics.values()]
    edges = [limit for name, limit in limits.items() if name in metrics]
    known = [0.0, *drops, *edges, *(end for pair in bounds.values() for end in pair if end is not None)]
    low, high = factor * min(known), factor * max(known)
    room = 0.12 * (high - low) or 0.5
    scale = axis(low - room, high + room, 6)

    def place(value: float | None) -> float | None:
        return None if value is None else scale.percent(factor * value)

    def row(name: str) -> Drop:
        start, end = bounds[name]
        point = scale.percent(factor * metrics[name]["drop"])
        return Drop(name, point, place(start), place(end), place(limits.get(name)))

    ticks = tuple((scale.percent(tick), scale.label(tick)) for tick in scale.ticks)
    return Drops(scale.percent(0), ticks, tuple(map(row, metrics)), factor == 100)
