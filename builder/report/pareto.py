"""Accuracy against latency for the builds of a sweep: which of them nothing beats, and where each is drawn."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from builder.report import charts
from builder.report import format as words
from builder.report.headline import limit_on

__all__ = ["Chart", "Mark", "chart", "finding", "front", "mark_front"]

Row = Mapping[str, Any]
HEIGHT = 320  # pixels of the drawing, axes excluded
_RADIUS = (5.0, 15.0)  # pixels, of a point of no size and of the largest
_ROOM = 0.12  # of the span of the points, around them
_SHORT = 32  # characters of a build's values in a sentence
_CROWD = 24  # points: with more, only those of the front are named


def front(points: Sequence[tuple[float, float] | None]) -> list[bool]:
    """Say which points (accuracy, latency) no other one dominates; None is no point, and on no front.

    One dominates another where it is no worse in both and better in one (Pareto).
    """

    def better(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return one != other and one[0] >= other[0] and one[1] <= other[1]

    known = [point for point in points if point is not None]
    return [point is not None and not any(better(other, point) for other in known) for point in points]


def mark_front(rows: Sequence[dict[str, Any]]) -> None:
    """Set `front` of a sweep's rows: what kept its limits is ranked, where all were measured alike."""
    alike = _alike(_measured(rows))
    places = [
        (row["accuracy"], row["latency_ms"]) if alike and _is_measured(row) and row["status"] != "failed" else None
        for row in rows
    ]
    for row, best in zip(rows, front(places), strict=True):
        row["front"] = best


def _is_measured(row: Row) -> bool:
    return row["accuracy"] is not None and row["latency_ms"] is not None


def _measured(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if _is_measured(row)]


def _alike(rows: Sequence[Row]) -> bool:
    """Say whether one metric and one machine stand behind all accuracies and latencies."""
    return len({(row["metric"], row["headline"]["latency"]["measured_on"]) for row in rows}) == 1


@dataclass(frozen=True)
class Mark:
    """A build or the source model: its place in percent from the left and in pixels from the top, its radius."""

    name: str
    role: str  # candidate: on the front; other: dominated; failed; baseline
    x: float
    y: float
    radius: float
    label: bool
    words: str


@dataclass(frozen=True)
class Chart:
    across: charts.Axis
    up: charts.Axis
    marks: tuple[Mark, ...]
    stairs: tuple[tuple[float, float, float, float], ...]  # the front's edge: x1, y1, x2, y2
    too_slow: float | None  # in percent: beyond it a gate is broken
    too_wrong: float | None  # in pixels: below it a gate is broken
    metric: str
    place: str  # where the latencies were measured

    @property
    def in_percent(self) -> bool:
        return words.in_percent(self.metric)

    def top(self, value: float) -> float:
        """Return where an accuracy lies, in pixels from the top."""
        return _top(self.up, value)


def _top(up: charts.Axis, value: float) -> float:
    return round(HEIGHT * (1 - up.percent(value) / 100), 1)


def chart(rows: Sequence[Row]) -> Chart | None:
    """Return the drawing of a sweep's rows (see `write_sweep`); None where fewer than two of them can be compared."""
    drawn = _measured(rows)
    if len(drawn) < 2 or not _alike(drawn):
        return None
    metric = drawn[0]["metric"]
    factor = 100 if words.in_percent(metric) else 1
    baseline, (slow, wrong) = _baseline(drawn), _limits(drawn)
    places = [(row["latency_ms"], factor * row["accuracy"]) for row in drawn]
    edges = places + ([(baseline[0], factor * baseline[1])] if baseline else [])
    across, up = (_axis([place[index] for place in edges]) for index in (0, 1))
    largest = max((row["size_mib"] or 0 for row in drawn), default=0)
    marks = _named([_mark(row, across, up, factor, largest, len(drawn)) for row in drawn])
    if baseline:
        told = f"source model: {words.metric(metric, baseline[1])} at {words.ms(baseline[0])}"
        x, y = across.percent(baseline[0]), _top(up, factor * baseline[1])
        marks.insert(0, Mark("source", "baseline", x, y, _RADIUS[0], True, told))
    return Chart(
        across,
        up,
        tuple(marks),
        _stairs([place for place, row in zip(places, drawn, strict=True) if row["front"]], across, up),
        across.percent(slow) if slow is not None and slow < across.high else None,
        _top(up, factor * wrong) if wrong is not None and factor * wrong > up.low else None,
        metric,
        _place(drawn[0]),
    )


def _place(row: Row) -> str:
    figure = row["headline"]["latency"]
    return f"{figure['measured_on']}{'' if figure['on_target'] else ', not on ' + row['target']}"


def _axis(values: Sequence[float]) -> charts.Axis:
    low, high = min(values), max(values)
    room = _ROOM * (high - low) or 0.1 * abs(high) or 1.0
    return charts.axis(max(0.0, low - room) if low >= 0 else low - room, high + room)


def _mark(row: Row, across: charts.Axis, up: charts.Axis, factor: float, largest: float, count: int) -> Mark:
    role = "failed" if row["status"] == "failed" else "candidate" if row["front"] else "other"
    share = math.sqrt((row["size_mib"] or 0) / largest) if largest else 0
    radius = round(_RADIUS[0] + (_RADIUS[1] - _RADIUS[0]) * share, 1)
    told = {"failed": "broke a limit", "candidate": "no other build beats it", "other": "dominated"}[role]
    shown = f"{_shown(row)}, {words.mib(row['size_mib'])}"
    x, y = across.percent(row["latency_ms"]), _top(up, factor * row["accuracy"])
    label = count <= _CROWD or role == "candidate"
    return Mark(row["label"], role, x, y, radius, label, f"{row['label']}: {shown}; {told}")


def _named(marks: Sequence[Mark]) -> list[Mark]:
    """Return the marks, those of the front named first; a name that would lie on another one is left out."""
    taken: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: mark.role != "candidate"):
        top = mark.y - mark.radius
        if mark.label and all(abs(mark.x - o.x) > 4 or abs(top - o.y + o.radius) > 14 for o in taken):
            taken.append(mark)
    return [replace(mark, label=mark in taken) for mark in marks]


def _stairs(
    places: Sequence[tuple[float, float]], across: charts.Axis, up: charts.Axis
) -> tuple[tuple[float, float, float, float], ...]:
    """Return the edge of what the front dominates, from its fastest build to its most accurate one."""
    ends = [(across.percent(x), _top(up, y)) for x, y in sorted(set(places))]
    lines: list[tuple[float, float, float, float]] = []
    for (x, y), (next_x, next_y) in itertools.pairwise(ends):
        lines += [(x, y, next_x, y), (next_x, y, next_x, next_y)]
    return tuple(lines)


def _baseline(rows: Sequence[Row]) -> tuple[float, float] | None:
    """Return latency and accuracy of the source model, where all builds have the same one."""
    found = [row["headline"] for row in rows]
    accuracies = {each["accuracy"]["reference"] for each in found}
    latencies = [each["latency"]["reference"] for each in found if each["latency"]["reference"] is not None]
    accuracy = accuracies.pop() if len(accuracies) == 1 else None
    return (median(latencies), accuracy) if latencies and accuracy is not None else None


def _limits(rows: Sequence[Row]) -> tuple[float | None, float | None]:
    """Return the largest latency and the least accuracy that the gates allow, where all builds have the same ones."""
    slow, wrong = set(), set()
    for row in rows:
        accuracy, latency = row["headline"]["accuracy"], row["headline"]["latency"]
        drop = limit_on(row, "max_accuracy_drop", accuracy["action"])
        known = drop is not None and accuracy["reference"] is not None
        wrong.add(accuracy["reference"] - drop if known else None)
        slow.add(limit_on(row, "max_latency_ms.p50", latency["action"]))
    return slow.pop() if len(slow) == 1 else None, wrong.pop() if len(wrong) == 1 else None


def finding(rows: Sequence[Row]) -> str:
    """Say which builds of a sweep nothing beats."""
    if len(measured := _measured(rows)) > 1 and not _alike(measured):
        return "The builds were measured on different machines or by different metrics, so they are not ranked"
    best = sorted((row for row in rows if row["front"]), key=lambda row: (row["latency_ms"], -row["accuracy"]))
    if not best:
        return "No build has both an accuracy and a latency within its limits"
    fast, right = best[0], best[-1]
    if fast["accuracy"] == right["accuracy"]:
        return f"{_called(fast)} is the fastest and the most accurate of the builds: {_shown(fast)}{_tied(fast, rows)}"
    said = f"From {_called(fast)}, {_shown(fast)}, to {_called(right)}, {_shown(right)}"
    return f"{said}: no other build beats {len(best)} of {len(rows)}{_tied(fast, rows)}"


def _tied(fast: Row, rows: Sequence[Row]) -> str:
    """Say how many builds are as fast as the fastest, as far as the intervals of their ratios to the source tell."""
    interval = fast["headline"]["latency"]["interval"]
    others = [row["headline"]["latency"]["interval"] for row in _measured(rows) if row is not fast]
    tied = [other for other in others if other and interval and other[0] <= interval[1]]
    many = f"{len(tied)} other{'' if len(tied) == 1 else 's'}"
    return f"; {many} cannot be told from {fast['label']} in speed" if tied else ""


def _called(row: Row) -> str:
    """Return a build's number with the values that set it apart, where they are short; `minmax` needs no key."""
    own = {key.rpartition(".")[2]: value for key, value in row["varies"].items() if value is not None}
    values = ", ".join(value if _says_itself(value) else f"{name}={value}" for name, value in own.items())
    return f"{row['label']} {values}".rstrip() if len(values) <= _SHORT else str(row["label"])


def _says_itself(value: str) -> bool:
    return value.isidentifier() and value.lower() not in ("true", "false", "none", "null")


def _shown(row: Row) -> str:
    return f"{words.ms(row['latency_ms'])} and {words.metric(row['metric'], row['accuracy'])}"
