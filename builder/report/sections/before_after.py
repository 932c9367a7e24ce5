"""Before and after: accuracy against latency of the source model and of what was made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.report import findings, pareto
from builder.report import format as words
from builder.report.variants import make_row

__all__ = ["ORDER", "context"]

ORDER = 10


def context(report: Mapping[str, Any]) -> dict[str, Any]:
    manifest = report["manifest"]
    row = make_row(0, "", "", report, {}, []) | {"label": manifest["name"], "front": manifest["status"] != "failed"}
    return {"before_after": pareto.chart([row]), "before_after_finding": _finding(report)}


def _finding(report: Mapping[str, Any]) -> str:
    """Say what changed in latency and accuracy: `int8 is 2.6 x faster and loses 0.3 points of top-1`."""
    latency, accuracy = report["headline"]["latency"], report["headline"]["accuracy"]
    if latency["change"] is None or accuracy["change"] is None:
        return ""
    names = findings.Names(report["manifest"])
    away = "" if latency["on_target"] else f", {names.place(False)}"
    return f"{names.candidate} {_speed(latency, names.reference)}{_kept(accuracy, names.reference)}{away}"


def _speed(latency: Mapping[str, Any], reference: str) -> str:
    interval = latency["interval"]
    if interval and interval[0] <= 1 <= interval[1]:
        return f"cannot be told from {reference} in speed"
    return f"is {findings.compared(latency['change'], 'faster', 'slower') or 'as fast'}"


def _kept(accuracy: Mapping[str, Any], reference: str) -> str:
    metric, change, interval = accuracy["unit"], accuracy["change"], accuracy["interval"]
    title = words.metric_title(metric)
    if change == 0 or (interval and interval[0] <= 0 <= interval[1]):
        return f"; its {title} cannot be told from {reference}'s"
    unit = " points" if words.in_percent(metric) else ""
    return f" and {'loses' if change < 0 else 'gains'} {words.points(metric, abs(change))}{unit} of {title}"
