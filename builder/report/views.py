"""What each part of the page shows, from report.json: labels, bars and charts, ready to be written out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from builder.report import charts, findings
from builder.report import format as words
from builder.report.headline import gates_on, limit_on, pair
from builder.report.subjects import subject_names, what_ran

__all__ = ["accuracy", "figures", "latency", "sizes"]

View = dict[str, Any]

_FIDELITY = {
    "snr_db": ("Signal to noise", "power of the reference's outputs over the power of the difference; more is closer"),
    "cosine": ("Cosine", "of the angle between the two outputs; 1 is the same direction"),
    "agreement": ("Agreement", "share of samples with the same decision"),
    "max_abs_difference": ("Largest difference", "of any one output value"),
}
_ROLES = {"baseline": "baseline"}  # others are drawn as candidates that do not ship
_FIDELITY_GATES = {"snr_db": "min_snr_db", "agreement": "min_agreement"}


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


def sizes(report: Mapping[str, Any]) -> View:
    """Return the bars of the size figure: the source model, then the model or engine that each action made."""
    manifest, size = report["manifest"], report["headline"]["size"]
    rows: list[View] = []
    if size["reference"] is not None:
        rows.append({"name": findings.Names(manifest).reference, "mib": size["reference"], "role": "baseline"})
    for action in manifest["actions"]:
        made = [output["bytes"] for port, output in action["outputs"].items() if port in ("model", "engine", "ir")]
        if made and action["step"] != "source":
            rows.append({"name": action["name"], "mib": sum(made) / words.MIB, "role": "step"})
    candidate = next((row for row in reversed(rows) if row["role"] == "step" and row["mib"] == size["candidate"]), None)
    if candidate:
        candidate["role"] = "candidate"
    limit, longest = limit_on(manifest, "max_size_mib"), max((row["mib"] for row in rows), default=0)
    within = limit is not None and limit <= 1.6 * longest
    scale = charts.axis(0, 1.02 * max(longest, limit if limit and within else 0) or 1)
    return {"rows": rows, "scale": scale, "limit": limit, "within": within}


def latency(report: Mapping[str, Any], name: str) -> View:
    """Return what the page shows of a measurement, what ships first."""
    data, names = report["measurements"][name], findings.Names(report["manifest"])
    action = _action(report, name)
    called, ships = subject_names(names.candidate, names.reference, data), pair(data)[0].get("name")
    order = {ships: 0, "baseline": 2}
    subjects = sorted(data["subjects"], key=lambda one: order.get(one["name"], 1))
    roles = ["candidate" if one["name"] == ships else _ROLES.get(one["name"], "other") for one in subjects]
    shown = [called[one["name"]] for one in subjects]
    return {
        "name": name,
        "action": action,
        "data": data,
        "finding": report["findings"][name],
        "elsewhere": not names.on_target(action),
        "chart": charts.latency_chart(subjects, shown, roles) if subjects else None,
        "subjects": list(zip(shown, roles, subjects, strict=True)),
        "ran": [what_ran(one) for one in subjects],
    }


def accuracy(report: Mapping[str, Any], name: str) -> View:
    """Return what the page shows of an evaluation; metrics that are shares have one axis together."""
    data, manifest = report["evaluations"][name], report["manifest"]
    action = _action(report, name)
    limit = limit_on(manifest, "max_accuracy_drop", name)
    limits = {data["primary"]: limit} if limit is not None else {}
    known = {metric: result for metric, result in data["metrics"].items() if result["drop"] is not None}
    shares = {metric: result for metric, result in known.items() if words.in_percent(metric)}
    groups = [shares, *({metric: known[metric]} for metric in known if metric not in shares)]
    return {
        "name": name,
        "action": action,
        "data": data,
        "finding": report["findings"][name],
        "elsewhere": not findings.Names(manifest).on_target(action),
        "limit": limit,
        "charts": [charts.drop_chart(group, limits) for group in groups if group],
        "ran": {role: what_ran(one) for role, one in data.get("executions", {}).items()},
        "fidelity": _fidelity(manifest, name, data["fidelity"]),
    }


def conversion(report: Mapping[str, Any]) -> View | None:
    """Return what the page shows of an export beside its source; None where nothing was exported."""
    data = report["conversion"]
    if data is None:
        return None
    gates = gates_on(report["manifest"], "max_conversion_difference", "conversion")
    return {"data": data, "finding": findings.conversion(data), "gates": gates}


def _action(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(each for each in report["manifest"]["actions"] if each["name"] == name)
    return found


def _rank(key: str) -> tuple[int, str]:
    known = list(_FIDELITY)
    return (known.index(key) if key in known else len(known)), key


def _fidelity(manifest: Mapping[str, Any], action: str, fidelity: Mapping[str, Any]) -> list[View]:
    rows = []
    for key in sorted(fidelity, key=_rank):
        value = fidelity[key]
        if value is None or isinstance(value, bool):
            continue
        label, meaning = _FIDELITY.get(key, (key, ""))
        gates = gates_on(manifest, _FIDELITY_GATES[key], action) if key in _FIDELITY_GATES else []
        shown = words.gate_quantity(key, value) if key in _FIDELITY_GATES else words.number(value, 5)
        rows.append({"label": label, "meaning": meaning, "value": shown, "gate": gates[0] if gates else None})
    return rows
