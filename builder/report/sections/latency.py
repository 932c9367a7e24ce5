"""Latency and memory: the distribution of the runs, their order, and a table, for each measurement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.report import charts, findings
from builder.report.headline import pair
from builder.report.subjects import subject_names, what_ran
from builder.report.views import heading, in_order

__all__ = ["ORDER", "context"]

ORDER = 30

_ROLES = {"baseline": "baseline"}  # others are drawn as candidates that do not ship


def context(report: Mapping[str, Any]) -> dict[str, Any]:
    return {"latencies": [_latency(report, name) for name in in_order(report, report["measurements"])]}


def _latency(report: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what the page shows of a measurement, what ships first."""
    data, names = report["measurements"][name], findings.Names(report["manifest"])
    called, ships = subject_names(names.candidate, names.reference, data), pair(data)[0].get("name")
    order = {ships: 0, "baseline": 2}
    subjects = sorted(data["subjects"], key=lambda one: order.get(one["name"], 1))
    roles = ["candidate" if one["name"] == ships else _ROLES.get(one["name"], "other") for one in subjects]
    shown = [called[one["name"]] for one in subjects]
    return {
        **heading(report, name, data),
        "chart": charts.latency_chart(subjects, shown, roles) if subjects else None,
        "subjects": list(zip(shown, roles, subjects, strict=True)),
        "ran": [what_ran(one) for one in subjects],
    }
