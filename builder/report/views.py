"""The four numbers of a report as text, and how its documents are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from builder.report import findings
from builder.report import format as words

__all__ = ["figures", "heading", "in_order"]

View = dict[str, Any]


def figures(report: Mapping[str, Any]) -> list[View]:
    """Return the four big numbers as text."""
    headline = report["headline"]
    metric = headline["accuracy"]["unit"]
    return [
        _figure("Size", headline["size"], words.mib, _ratio(headline["size"], "smaller", "larger")),
        _figure(
            f"Accuracy, {words.metric_title(metric)}" if metric else "Accuracy",
            headline["accuracy"],
            lambda value: words.metric(metric, value),
            _points(headline["accuracy"]),
        ),
        _figure("Latency, median", headline["latency"], words.ms, _ratio(headline["latency"], "faster", "slower")),
        _figure("Memory, peak", headline["memory"], words.mib, _ratio(headline["memory"], "less", "more")),
    ]


def _figure(label: str, figure: Mapping[str, Any], show: Callable[[float | None], str], change: str) -> View:
    shown = {"value": show(figure["candidate"]), "reference": show(figure["reference"])}
    return {**figure, "label": label, "change": change, "shown": shown}


def _points(figure: Mapping[str, Any]) -> str:
    metric, change = figure["unit"], figure["change"]
    if change is None:
        return ""
    sign = "+" if change > 0 else ""
    return f"{sign}{words.points(metric, change)}{' points' if words.in_percent(metric) else ''}"


def _ratio(figure: Mapping[str, Any], less: str, more: str) -> str:
    if figure["change"] is None:
        return ""
    interval = figure["interval"]
    if interval and interval[0] <= 1 <= interval[1]:
        return "no clear difference"
    return findings.compared(figure["change"], less, more) or "no change"


def heading(report: Mapping[str, Any], name: str, data: Mapping[str, Any]) -> View:
    """Return what each section says first of an action's document: what was found, and whether it is the target's."""
    manifest = report["manifest"]
    action = next(each for each in manifest["actions"] if each["name"] == name)
    elsewhere = not findings.Names(manifest).on_target(action)
    return {"name": name, "action": action, "data": data, "finding": report["findings"][name], "elsewhere": elsewhere}


def in_order(report: Mapping[str, Any], documents: Mapping[str, Any]) -> list[str]:
    """Return the names of the actions that left one of these documents, in the order of the manifest."""
    return [action["name"] for action in report["manifest"]["actions"] if action["name"] in documents]
