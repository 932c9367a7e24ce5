"""Which of several builds no other one beats in accuracy and latency, and that in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from builder.report import format as words
from builder.report.conditions import unlike

__all__ = ["finding", "front", "mark_front", "measured", "notes", "shown"]

Row = Mapping[str, Any]
_STEADY = 1.1  # slowest over fastest time of the source model, up to which the builds' times can be put side by side
_SHORT = 40  # characters of a build's values in a sentence


def front(points: Sequence[tuple[float, float] | None]) -> list[bool]:
    """Say which points (accuracy, latency) no other one dominates; None is no point, and on no front.

    One dominates another where it is no worse in both and better in one (Pareto).
    """

    def better(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return one != other and one[0] >= other[0] and one[1] <= other[1]

    known = [point for point in points if point is not None]
    return [point is not None and not any(better(other, point) for other in known) for point in points]


def mark_front(rows: Sequence[dict[str, Any]]) -> None:
    """Set `front` of the rows: what kept its limits and was not too noisy is ranked, where all were measured alike."""
    alike = not unlike(measured(rows))
    places = [(row["accuracy"], row["latency_ms"]) if alike and _is_ranked(row) else None for row in rows]
    for row, best in zip(rows, front(places), strict=True):
        row["front"] = best


def _is_ranked(row: Row) -> bool:
    return bool(measured([row])) and row["status"] != "failed" and not row["conditions"]["noisy"]


def measured(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that have both an accuracy and a latency."""
    return [row for row in rows if row["accuracy"] is not None and row["latency_ms"] is not None]


def finding(rows: Sequence[Row]) -> str:
    """Say which builds nothing beats, or why they are not ranked."""
    if why := unlike(measured(rows)):
        return f"The builds are not ranked: they were {why}"
    best = sorted((row for row in rows if row["front"]), key=lambda row: (row["latency_ms"], -row["accuracy"]))
    if not best:
        return "No build has both an accuracy and a latency that can be ranked within its limits"
    fast = best[0]
    right = max(best, key=lambda row: row["accuracy"])
    if len(measured(rows)) == 1:
        return f"Only {_called(fast)} has both an accuracy and a latency: {shown(fast)}"
    which = "" if all(map(_is_ranked, measured(rows))) else " that can be ranked"  # others may have better numbers
    if fast is right:
        said = f"{_called(fast)} is the fastest and the most accurate of the builds{which}: {shown(fast)}"
    else:
        said = f"From {_called(fast)}, {shown(fast)}, to {_called(right)}, {shown(right)}"
        said += f": no other build{which} beats {len(best)} of {len(rows)}"
    return f"{said}{_tied(fast, right, rows)}"


def notes(rows: Sequence[Row]) -> list[str]:
    """Say what must be known before the latencies of builds are put side by side: the machine's own speed moved."""
    if len({str(row["source"]) for row in measured(rows)}) != 1 or unlike(measured(rows)):
        return []
    times = [row["headline"]["latency"]["reference"] for row in measured(rows)]
    if None in times or max(times) / min(times) <= _STEADY:
        return []
    took = f"{words.number(min(times))} to {words.ms(max(times))}"
    remedy = "Compare how many times faster each is than its source model, which was timed in turns with it."
    return [f"The machine was not equally fast for all builds: the source model took {took} beside them. {remedy}"]


def shown(row: Row) -> str:
    """Return a row's latency and accuracy in words."""
    return f"{words.ms(row['latency_ms'])} and {words.metric(row['metric'], row['accuracy'])}"


def _tied(fast: Row, right: Row, rows: Sequence[Row]) -> str:
    """Say how many of the builds that are ranked may be as fast as the fastest, or as accurate as the most accurate.

    Intervals tell: those of the ratios and drops to the source model where all have the same one, beside which each
    was taken, else those of the medians.
    """
    known = [row for row in rows if _is_ranked(row)]
    same = len({str(row["source"]) for row in known}) == 1 and known[0]["source"] is not None

    def slowness(row: Row) -> Any:
        return row["headline"]["latency"]["interval"] if same else row["latency_interval_ms"]

    def wrongness(row: Row) -> Any:
        change = row["headline"]["accuracy"]["interval"] if same else None
        return [-end for end in reversed(change)] if change else None

    said = [
        ("speed", fast, _not_worse(fast, known, slowness)),
        ("accuracy", right, _not_worse(right, known, wrongness)),
    ]
    return "".join(
        f"; {many} other{'' if many == 1 else 's'} cannot be told from {best['label']} in {what}"
        for what, best, many in said
        if many
    )


def _not_worse(best: Row, rows: Sequence[Row], bounds: Callable[[Row], Any]) -> int:
    """Return how many other rows no interval shows to be worse than the best one; less is better."""
    _, high = bounds(best) or (None, -math.inf)
    return sum(1 for row in rows if row is not best and (found := bounds(row)) and found[0] <= high)


def _called(row: Row) -> str:
    """Return a build's number with the values that set it apart, or its title; `minmax` needs no key."""
    own = {key.rpartition(".")[2]: value for key, value in row["varies"].items() if value is not None}
    values = ", ".join(value if _says_itself(value) else f"{name}={value}" for name, value in own.items())
    return f"{row['label']} {values if 0 < len(values) <= _SHORT else row['title']}".rstrip()


def _says_itself(value: str) -> bool:
    return value.isidentifier() and value.lower() not in ("true", "false", "none", "null", "yes", "no")
