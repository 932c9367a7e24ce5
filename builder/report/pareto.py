"""Accuracy against latency for several builds: where each is drawn, its size as area, and what the gates leave out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from builder.report import charts
from builder.report import format as words
from builder.report.conditions import machine_words, unlike
from builder.report.front import measured, shown
from builder.report.headline import limit_on

__all__ = ["Chart", "Mark", "chart"]

Row = Mapping[str, Any]
HEIGHT = 320  # pixels of the drawing, axes excluded
_LARGEST, _LEAST = 16.0, 3.0  # pixels, radius of the largest file, and of one too small to be seen otherwise
_ROOM = 0.12  # of the span of the points, around them
_NAME = (9, 14)  # percent and pixels that a name takes, on a phone
_LETTER = 2.6  # percent that a letter of it takes there
_CROWD = 24  # points: with more, only those of the front are named
_TOLD = {"failed": "broke a limit or failed", "candidate": "no other build beats it", "other": "dominated"}


@dataclass(frozen=True)
class Mark:
    """A build or the source model: its place in percent from the left and in pixels from the top, its radius."""

    name: str
    role: str  # candidate: on the front; other: dominated; failed; baseline
    x: float
    y: float
    radius: float
    label: float | None  # where its name stands, in pixels from the top; None where there is no room for it
    words: str

    @property
    def anchor(self) -> str:
        """Return the side of its name that stands at the mark: the name must not leave the drawing on a phone."""
        half = _LETTER * len(self.name) / 2
        return "start" if self.x < half else "end" if self.x > 100 - half else "middle"


@dataclass(frozen=True)
class Chart:
    across: charts.Axis
    up: charts.Axis
    marks: tuple[Mark, ...]
    stairs: tuple[tuple[float, float, float, float], ...]  # the front's edge: x1, y1, x2, y2
    too_slow: float | None  # in percent: beyond it a gate is broken
    too_wrong: float | None  # in pixels: below it a gate is broken
    limits: str  # the gates that all builds have, in words
    metric: str
    place: str  # where and how the latencies were measured

    @property
    def in_percent(self) -> bool:
        return words.in_percent(self.metric)

    def has(self, role: str) -> bool:
        return any(mark.role == role for mark in self.marks)

    def top(self, value: float) -> float:
        """Return where an accuracy lies, in pixels from the top."""
        return _top(self.up, value)


def _top(up: charts.Axis, value: float) -> float:
    return round(HEIGHT * (1 - up.percent(value) / 100), 1)


def chart(rows: Sequence[Row]) -> Chart | None:
    """Return the drawing of rows (see `variants.make_row`); None where no two points can be compared."""
    drawn = measured(rows)
    if not drawn or unlike(drawn) or (len(drawn) == 1 and not _baseline(drawn)):
        return None
    metric = drawn[0]["metric"]
    factor = 100 if words.in_percent(metric) else 1
    baseline, (slow, wrong) = _baseline(drawn), _limits(drawn)
    places = [(row["latency_ms"], factor * row["accuracy"]) for row in drawn]
    edges = places + ([(baseline[0], factor * baseline[1])] if baseline else [])
    if len(drawn) == 1:  # how far it is from its limits says more than how far two points are apart
        edges += [
            (place[0] if slow is None else slow, place[1] if wrong is None else factor * wrong) for place in places
        ]
    across, up = (_axis([edge[index] for edge in edges]) for index in (0, 1))
    largest = max([baseline[2] if baseline else 0, *(row["size_mib"] or 0 for row in drawn)])
    source = [_source(baseline, metric, across, up, factor, largest)] if baseline else []
    marks = _named([*source, *(_mark(row, across, up, factor, largest, len(drawn)) for row in drawn)])
    return Chart(
        across,
        up,
        tuple(marks),
        _stairs([place for place, row in zip(places, drawn, strict=True) if row["front"]], across, up),
        across.percent(slow) if slow is not None and slow < across.high else None,
        _top(up, factor * wrong) if wrong is not None and factor * wrong > up.low else None,
        _in_words(metric, slow, wrong),
        metric,
        _place(drawn),
    )


def _place(rows: Sequence[Row]) -> str:
    """Say where and how the latencies were measured, and which of them not on their target."""
    away: dict[str, list[str]] = {}
    for row in rows:
        if not row["headline"]["latency"]["on_target"]:
            away.setdefault(row["target"], []).append(row["label"])
    told = [
        f", {'' if len(labels) == len(rows) else ' and '.join(labels) + ' '}not on {target}"
        for target, labels in away.items()
    ]
    return "".join([machine_words(rows[0]), *told])


def _axis(values: Sequence[float]) -> charts.Axis:
    low, high = min(values), max(values)
    room = _ROOM * (high - low) or 0.1 * abs(high) or 1.0
    return charts.axis(max(0.0, low - room) if low >= 0 else low - room, high + room)


def _radius(size: float | None, largest: float) -> float:
    """Return the radius of a circle whose area is the file's size."""
    return round(max(_LEAST, _LARGEST * math.sqrt((size or 0) / largest)) if largest else _LEAST, 1)


def _mark(row: Row, across: charts.Axis, up: charts.Axis, factor: float, largest: float, count: int) -> Mark:
    role = "failed" if row["status"] == "failed" else "candidate" if row["front"] else "other"
    radius = _radius(row["size_mib"], largest)
    kept = "too noisy to rank" if row["conditions"]["noisy"] and role == "other" else _TOLD[role]
    told = (
        f"{row['label']} {row['title']}: {shown(row)}, {words.mib(row['size_mib'])}{f'; {kept}' if count > 1 else ''}"
    )
    x, y = across.percent(row["latency_ms"]), _top(up, factor * row["accuracy"])
    return Mark(row["label"], role, x, y, radius, y if count <= _CROWD or role == "candidate" else None, told)


def _source(
    baseline: tuple[float, float, float], metric: str, across: charts.Axis, up: charts.Axis, factor: float, most: float
) -> Mark:
    latency, accuracy, size = baseline
    told = f"source model: {words.ms(latency)} and {words.metric(metric, accuracy)}, {words.mib(size)}"
    x, y = across.percent(latency), _top(up, factor * accuracy)
    return Mark("source", "baseline", x, y, _radius(size, most), y, told)


def _named(marks: Sequence[Mark]) -> list[Mark]:
    """Return the marks, named above or below where no other name lies, those of the front first, else not at all."""
    taken: list[tuple[float, float]] = []
    named: dict[int, float] = {}
    for index, mark in sorted(enumerate(marks), key=lambda one: one[1].role != "candidate"):
        for top in (mark.y - mark.radius - 4, mark.y + mark.radius + 14) if mark.label is not None else ():
            if all(abs(mark.x - x) > _NAME[0] or abs(top - y) > _NAME[1] for x, y in taken):
                named[index] = round(top, 1)
                taken.append((mark.x, top))
                break
    return [replace(mark, label=named.get(index)) for index, mark in enumerate(marks)]


def _stairs(
    places: Sequence[tuple[float, float]], across: charts.Axis, up: charts.Axis
) -> tuple[tuple[float, float, float, float], ...]:
    """Return the edge of what the front dominates, from its fastest build to its most accurate one."""
    ends = [(across.percent(x), _top(up, y)) for x, y in sorted(set(places))]
    lines: list[tuple[float, float, float, float]] = []
    for (x, y), (next_x, next_y) in itertools.pairwise(ends):
        lines += [(x, y, next_x, y), (next_x, y, next_x, next_y)]
    return tuple(lines)


def _baseline(rows: Sequence[Row]) -> tuple[float, float, float] | None:
    """Return latency in ms, accuracy and size in MiB of the source model, where all builds have the same one."""
    found = [row["headline"] for row in rows]
    same = [{each[name]["reference"] for each in found} for name in ("accuracy", "size")]
    latencies = [each["latency"]["reference"] for each in found if each["latency"]["reference"] is not None]
    if not latencies or any(len(values) > 1 or None in values for values in same):
        return None
    return median(latencies), same[0].pop(), same[1].pop()


def _limits(rows: Sequence[Row]) -> tuple[float | None, float | None]:
    """Return the largest latency and the least accuracy that the gates allow, where all builds have the same ones.

    A limit on the target's latency says nothing of one that was measured elsewhere.
    """
    slow, wrong = set(), set()
    for row in rows:
        accuracy, latency = row["headline"]["accuracy"], row["headline"]["latency"]
        drop = limit_on(row, "max_accuracy_drop", accuracy["action"])
        known = drop is not None and accuracy["reference"] is not None
        wrong.add(accuracy["reference"] - drop if known else None)
        slow.add(limit_on(row, "max_latency_ms.p50", latency["action"]) if latency["on_target"] else None)
    return slow.pop() if len(slow) == 1 else None, wrong.pop() if len(wrong) == 1 else None


def _in_words(metric: str, slow: float | None, wrong: float | None) -> str:
    said = [f"slower than {words.ms(slow)}"] if slow is not None else []
    said += [f"{words.metric_title(metric)} below {words.metric(metric, wrong)}"] if wrong is not None else []
    return " or ".join(said)
