"""The builds of a recipe over time: their numbers, and which of them is a regression against the one before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.report import charts, findings
from builder.report import format as words

__all__ = ["Past", "Row", "render_history", "rows_of"]

_NUMBERS = ("size", "accuracy", "latency")
_LEAST_SPAN = {"size": 0.1, "accuracy": 0.004, "latency": 0.1}  # of an axis, so that noise does not look like a trend


@dataclass(frozen=True)
class Past:
    """A build as it lies in its folder; `report` is None where its report.json is not as it was written."""

    folder: str
    report: Mapping[str, Any] | None


@dataclass(frozen=True)
class Row:
    """A build among those of its recipe; `worse` maps a number to how it fell behind the build before, in words."""

    folder: str
    status: str
    created: str
    figures: Mapping[str, Mapping[str, Any]]
    worse: Mapping[str, str]


@dataclass(frozen=True)
class Trend:
    """A number over time as a path of dots in per mille of an axis; `worse` are the dots of regressions."""

    name: str
    title: str
    axis: charts.Axis
    unit: str  # of the axis
    line: str
    dots: str
    worse: str


def rows_of(builds: Sequence[Past]) -> list[Row]:
    """Return the builds that can be read, the oldest first as they came, each against the last one with that number."""
    rows: list[Row] = []
    last: dict[str, Mapping[str, Any]] = {}
    for build in builds:
        if build.report is None:
            rows.append(Row(build.folder, "unreadable", "", {}, {}))
            continue
        manifest, headline = build.report["manifest"], build.report["headline"]
        about = {"source": _source(manifest), "noisy": _noisy(build.report)}
        figures = {name: {**headline[name], **about} for name in _NUMBERS}
        worse = {
            "accuracy": _less_accurate(last.get("accuracy"), figures["accuracy"]),
            "latency": _slower(last.get("latency"), figures["latency"]),
        }
        last |= {name: figure for name, figure in figures.items() if figure["candidate"] is not None}
        told = {name: said for name, said in worse.items() if said}
        rows.append(Row(build.folder, manifest["status"], manifest["created"], figures, told))
    return rows


def _source(manifest: Mapping[str, Any]) -> str | None:
    """Return the digest of the source model, which is what every build of a recipe is compared with."""
    outputs = (action["outputs"].get("model") for action in manifest["actions"] if action["name"] == "model")
    return next((output["sha256"] for output in outputs if output), None)


def _noisy(report: Mapping[str, Any]) -> bool:
    """Say whether the latency of a build must not be compared."""
    measured = report["measurements"].get(report["headline"]["latency"]["action"])
    return bool(measured and measured.get("noisy"))


def _less_accurate(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    """Say by how much a metric fell, where both were taken with the same reference: model and samples are the same."""
    if before is None or now["candidate"] is None or before["unit"] != now["unit"]:
        return ""
    if before["reference"] != now["reference"] or now["candidate"] >= before["candidate"]:
        return ""
    fell = words.points(now["unit"], before["candidate"] - now["candidate"])
    return f"{fell}{' points' if words.in_percent(now['unit']) else ''} less than the build before"


def _slower(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    """Say how much slower a build is than the one before, where the interval of that ratio lies above 1.

    The two did not run in turns, but each did with the source model: the ratio is the quotient of those ratios, its
    interval that of the extremes. Nothing is said where source model or machine differ, or one was too noisy to rank.
    """
    if before is None or any(before[same] != now[same] for same in ("source", "measured_on", "on_target")):
        return ""
    if before["noisy"] or now["noisy"] or not (before["interval"] and now["interval"] and now["source"]):
        return ""
    (old_low, old_high), (low, high) = before["interval"], now["interval"]
    if min(old_low, low) <= 0 or low / old_high <= 1:
        return ""
    ratio = words.number(now["change"] / before["change"])
    return f"{ratio} {findings.TIMES} the build before [{words.number(low / old_high)}, {words.number(high / old_low)}]"


def render_history(name: str, builds: Sequence[Past]) -> str:
    """Return the page of a recipe's builds over time: self-contained HTML."""
    from builder.report.page import dressed, environment

    templates, rows = environment(), rows_of(builds)
    shown = [{"row": row, "shown": _shown(row)} for row in reversed(rows)]
    known = [row for row in rows if row.figures]
    return templates.get_template("history.html").render(
        name=name,
        rows=shown,
        regressions=sum(bool(row.worse) for row in rows),
        failed=bool(known) and known[-1].status == "failed",
        ends=[row.created for row in (known[0], known[-1])] if known else [],
        trends=_trends(known),
        **dressed(templates),
    )


def _shown(row: Row) -> list[tuple[str, str]]:
    """Return each number as text, and what is worse about it."""
    figures = row.figures
    if not figures:
        return [(words.NOTHING, "")] * len(_NUMBERS)
    return [
        (_quantity(name, each["unit"], each["candidate"]), row.worse.get(name, "")) for name, each in figures.items()
    ]


def _trends(rows: Sequence[Row]) -> list[Trend]:
    found = (_trend(rows, name) for name in ("latency", "accuracy", "size"))
    return [trend for trend in found if trend]


def _trend(rows: Sequence[Row], name: str) -> Trend | None:
    """Return how a number went; None where fewer than two builds have it, or they have it in several units."""
    taken = [(at, row, row.figures[name]) for at, row in enumerate(rows) if row.figures[name]["candidate"] is not None]
    units = {figure["unit"] for _, _, figure in taken}
    if len(taken) < 2 or len(units) > 1:
        return None
    in_percent = name == "accuracy" and words.in_percent(*units)
    values = [(100 if in_percent else 1) * figure["candidate"] for _, _, figure in taken]
    scale = _scale(values, _LEAST_SPAN[name])
    places = [
        (round(1000 * (at + 0.5) / len(rows), 1), round(1000 - 10 * scale.percent(value)))
        for (at, _, _), value in zip(taken, values, strict=True)
    ]
    dots = [f"M{x:g},{y}h0" for x, y in places]
    worse = [name in row.worse for _, row, _ in taken]
    return Trend(
        name,
        _title(name, [figure for _, _, figure in taken], sum(worse)),
        scale,
        "%" if in_percent else {"latency": "ms", "size": "MiB"}.get(name, ""),
        "M" + " L".join(f"{x:g},{y}" for x, y in places),
        "".join(dot for dot, bad in zip(dots, worse, strict=True) if not bad),
        "".join(dot for dot, bad in zip(dots, worse, strict=True) if bad),
    )


def _scale(values: Sequence[float], least: float) -> charts.Axis:
    """Return an axis with room around the values, and no shorter than this share of the largest."""
    low, high = min(values), max(values)
    room = max(0.15 * (high - low), (least * abs(high) - (high - low)) / 2) or 1
    return charts.axis(low - room, high + room, 4)


def _title(name: str, figures: Sequence[Mapping[str, Any]], worse: int) -> str:
    unit = figures[-1]["unit"]
    label = f"Accuracy, {words.metric_title(unit)}" if name == "accuracy" else name.capitalize()
    values = [_quantity(name, unit, figure["candidate"]) for figure in figures]
    went = f"{label}: {values[-1]}" + (" in each" if len(set(values)) == 1 else f" now, {values[0]} at first")
    marked = f"; {worse} regression{'' if worse == 1 else 's'}" if worse else ""
    return f"{went}{marked}"


def _quantity(name: str, unit: str, value: float | None) -> str:
    if name == "accuracy":
        return words.metric(unit, value)
    return words.mib(value) if name == "size" else words.ms(value)
