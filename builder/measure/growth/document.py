"""section.json of `scaling`: each point, the laws that they follow, and the point of the highest throughput."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from builder.measure.growth.laws import Fit, batch_exponent, parallel_share
from builder.measure.growth.points import Point, Swept
from builder.measure.ratio import Ratio, ratio

__all__ = ["in_words", "is_noisy", "subject_entry"]

_NOISY = 0.1  # half an interval over its median: then a point is known to no better than 10 %


def subject_entry(name: str, ran: Mapping[str, Any], swept: Swept, confidence: float) -> dict[str, Any]:
    """Return what section.json holds of a subject; `ran` is what its runtime says of itself."""
    points = sorted((p for p in swept.points if p.subject == name), key=lambda p: (p.threads, p.batch))
    return {
        "name": name,
        **ran,
        "batches_left_out": [{"batch": size, "why": why} for size, why in swept.refused.get(name, {}).items()],
        "points": [_point(point) for point in points],
        "growth": _growth(points, confidence),
        "speedup": _speedup(points, confidence),
        "best": _best(points, confidence),
    }


def _point(point: Point) -> dict[str, Any]:
    low, high = point.interval_ms
    return {
        "batch": point.batch,
        "threads": point.threads,
        "p50_ms": round(point.p50_ms, 6),
        "p50_interval_ms": [round(low, 6), round(high, 6)],
        "samples_per_second": _rate(point.batch, point.p50_ms),
        "samples_per_second_interval": [_rate(point.batch, high), _rate(point.batch, low)],
        "runs": len(point.series.samples_ms),
        "blocks": len(point.series.blocks_ns),
        "blocks_refused": point.series.refused,
    }


def _rate(batch: int, latency_ms: float) -> float:
    return round(1000 * batch / latency_ms, 3)


def _growth(points: Sequence[Point], confidence: float) -> list[dict[str, Any]]:
    """Return, for each number of threads, the exponent of the batch and what the largest batch takes."""
    found = []
    for threads in dict.fromkeys(point.threads for point in points):
        row = [point for point in points if point.threads == threads]
        if len(row) > 1:
            fit = batch_exponent({point.batch: point.series.medians_ms for point in row}, confidence)
            found.append({"threads": threads, **_fit("exponent", fit), "longest": _ratio(row[-1], row[0], confidence)})
    return found


def _speedup(points: Sequence[Point], confidence: float) -> list[dict[str, Any]]:
    """Return, for each batch, what the most threads bring over the fewest, and the share of the work they divide."""
    found = []
    for batch in sorted({point.batch for point in points}):
        column = [point for point in points if point.batch == batch]
        if len(column) < 2:
            continue
        rounds = {point.threads: point.series.medians_ms for point in column}
        shared = _fit("parallel_share", parallel_share(rounds, confidence)) if 1 in rounds else {}
        ratios = [_ratio(column[0], point, confidence) for point in column[1:]]
        found.append({"batch": batch, **shared, "ratios": ratios})
    return found


def _best(points: Sequence[Point], confidence: float) -> dict[str, Any]:
    """Return the point of the highest throughput, and those that cannot be told from it."""
    best = max(points, key=lambda point: point.batch / point.p50_ms)
    tied = [p for p in points if p is not best and not _per_sample(p, best, confidence).ranked]
    return {
        "batch": best.batch,
        "threads": best.threads,
        "samples_per_second": _rate(best.batch, best.p50_ms),
        "tied": [{"batch": point.batch, "threads": point.threads} for point in tied],
    }


def _per_sample(one: Point, other: Point, confidence: float) -> Ratio:
    pairs = zip(one.series.medians_ms, other.series.medians_ms, strict=True)
    return ratio("", "", [(a / one.batch, b / other.batch) for a, b in pairs], confidence)


def _fit(name: str, fit: Fit) -> dict[str, Any]:
    ends = [round(end, 4) for end in fit.interval]
    return {name: round(fit.value, 4), f"{name}_interval": ends, "misfit": round(fit.misfit, 4)}


def _ratio(of: Point, to: Point, confidence: float) -> dict[str, Any]:
    """Return the ratio of the latencies of two points, block by block: above 1 takes longer."""
    pairs = list(zip(of.series.medians_ms, to.series.medians_ms, strict=True))
    found = ratio("", "", pairs, confidence)
    return {
        "of": {"batch": of.batch, "threads": of.threads},
        "to": {"batch": to.batch, "threads": to.threads},
        "value": round(found.value, 6),
        "interval": [round(end, 6) for end in found.interval],
        "ranked": found.ranked,
    }


def is_noisy(subjects: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether a point of what was measured is known too badly to draw anything from it."""
    points = [point for subject in subjects for point in subject["points"]]
    ends = ((*point["p50_interval_ms"], point["p50_ms"]) for point in points)
    return any((high - low) / 2 / value > _NOISY for low, high, value in ends)


def in_words(document: Mapping[str, Any]) -> dict[str, str]:
    """Say how what ships grows and where its throughput is highest."""
    subject = next(each for each in document["subjects"] if each["name"] == document["ships"])
    best = subject["best"]
    laws = [f"batch^{each['exponent']:z.2f} with {_counted(each['threads'])}" for each in subject["growth"][:1]]
    where = f"batch {best['batch']} with {_counted(best['threads'])}"
    noisy = {"noisy": "too noisy: it will be measured again next time"} if document["noisy"] else {}
    growth = {"growth": laws[0]} if laws else {}
    return {**growth, "throughput": f"{best['samples_per_second']:,.0f} samples/s at {where}", **noisy}


def _counted(threads: int) -> str:
    return f"{threads} thread{'' if threads == 1 else 's'}"
