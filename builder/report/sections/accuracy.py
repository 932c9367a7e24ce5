"""Accuracy and fidelity: what was lost of each metric, with its interval, for each evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.report import charts
from builder.report import format as words
from builder.report.headline import gates_on, limit_on
from builder.report.subjects import what_ran
from builder.report.views import heading, in_order

__all__ = ["ORDER", "context"]

ORDER = 50

_FIDELITY = {
    "snr_db": ("Signal to noise", "power of the reference's outputs over the power of the difference; more is closer"),
    "cosine": ("Cosine", "of the angle between the two outputs; 1 is the same direction"),
    "agreement": ("Agreement", "share of samples with the same decision"),
    "max_abs_difference": ("Largest difference", "of any one output value"),
}
_FIDELITY_GATES = {"snr_db": "min_snr_db", "agreement": "min_agreement"}


def context(report: Mapping[str, Any]) -> dict[str, Any]:
    return {"accuracies": [_accuracy(report, name) for name in in_order(report, report["evaluations"])]}


def _accuracy(report: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what the page shows of an evaluation; metrics that are shares have one axis together."""
    data, manifest = report["evaluations"][name], report["manifest"]
    limit = limit_on(manifest, "max_accuracy_drop", name)
    limits = {data["primary"]: limit} if limit is not None else {}
    known = {metric: result for metric, result in data["metrics"].items() if result["drop"] is not None}
    shares = {metric: result for metric, result in known.items() if words.in_percent(metric)}
    groups = [shares, *({metric: known[metric]} for metric in known if metric not in shares)]
    return {
        **heading(report, name, data),
        "limit": limit,
        "charts": [charts.drop_chart(group, limits) for group in groups if group],
        "ran": {role: what_ran(one) for role, one in data.get("executions", {}).items()},
        "fidelity": _fidelity(manifest, name, data["fidelity"]),
    }


def _rank(key: str) -> tuple[int, str]:
    known = list(_FIDELITY)
    return (known.index(key) if key in known else len(known)), key


def _fidelity(manifest: Mapping[str, Any], action: str, fidelity: Mapping[str, Any]) -> list[dict[str, Any]]:
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
