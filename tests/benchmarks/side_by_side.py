"""Two programs timed one after the other, pair by pair in one run, and the table of what came out."""

from __future__ import annotations

import math
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from builder.measure.host import fingerprint, load_average
from builder.measure.ratio import median_interval, ratio

__all__ = ["CONFIDENCE", "ROWS", "Row", "alone", "conditions", "pairs", "seconds", "table"]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Row:
    """A line of the table, in words."""

    what: str
    ours: str
    reference: str
    ratio: str
    bound: str
    load: float = field(default_factory=lambda: load_average()[0])  # over the minute before it was done


ROWS: list[Row] = []


def seconds(command: list[str], folder: Path, environment: Mapping[str, str]) -> float:
    """Return how long a program takes. Raises CalledProcessError where it fails."""
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=dict(environment), check=True, capture_output=True)
    return time.perf_counter() - start


def pairs(
    benchmark: Any,
    what: str,
    ours: Callable[[], float],
    reference: tuple[str, Callable[[], float]],
    *,
    rounds: int,
    warmup: int = 1,
    bound: float | None = None,
) -> None:
    """Time two programs in turns, and add a row: medians, and the median of the pairs' ratios with its interval.

    Both callables return their own seconds. The second of a pair is the first of the next, so that neither always
    runs after the other. pytest-benchmark times the pairs and keeps the samples in `extra_info`.
    """
    name, theirs = reference
    taken: list[tuple[float, float]] = []

    def pair() -> None:
        if len(taken) % 2:
            second = theirs()
            taken.append((ours(), second))
        else:
            first = ours()
            taken.append((first, theirs()))

    benchmark.pedantic(pair, rounds=rounds, warmup_rounds=warmup)
    kept = taken[warmup:]
    found = ratio("ours", name, kept, CONFIDENCE)
    our_s, their_s = (statistics.median(column) for column in zip(*kept, strict=True))
    benchmark.extra_info |= {"what": what, "reference": name, "pairs_s": kept, **found.plain(), "load": load_average()}
    value = f"{found.value:.{2 if found.value < 100 else 0}f} x {_interval(found.interval)}"
    ROWS.append(Row(what, _time(our_s), f"{name} {_time(their_s)}", value, f"{bound:.2f} x" if bound else ""))


def alone(benchmark: Any, what: str, ours: Callable[[], float], *, rounds: int, warmup: int = 1, bound: str) -> None:
    """Time one program that is held to a time, and add a row with the median and its interval."""
    taken: list[float] = []
    benchmark.pedantic(lambda: taken.append(ours()), rounds=rounds, warmup_rounds=warmup)
    kept = taken[warmup:]
    low, high = median_interval(kept, CONFIDENCE)
    benchmark.extra_info |= {"what": what, "samples_s": kept, "load": load_average()}
    ROWS.append(Row(what, f"{_time(statistics.median(kept))} [{_time(low)}, {_time(high)}]", "", "", bound))


def table() -> str:
    """Return the rows as a table in Markdown."""
    lines = [("what", "ours", "reference", "ours / reference [95 %]", "bound"), ("---",) * 5]
    lines += [(row.what, row.ours, row.reference, row.ratio, row.bound) for row in ROWS]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def conditions() -> str:
    """Say what these figures were measured on."""
    facts, loads = fingerprint(), [row.load for row in ROWS]
    processor = f"{facts['cores']} cores of {facts['processor']} ({facts['instruction_set']})"
    when = f"{datetime.now(UTC):%Y-%m-%d}"
    return f"{processor}, Python {facts['python']}, load average {min(loads)} to {max(loads)}, {when}"


def _interval(ends: tuple[float, float]) -> str:
    low, high = ends
    if not 0 < low < high < math.inf:
        return "(too few pairs for an interval)"
    return f"[{low:.2f}, {high:.2f}]"


def _time(value: float) -> str:
    if not math.isfinite(value):
        return "?"
    return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s" if value >= 1 else f"{1000 * value:.3g} ms"
