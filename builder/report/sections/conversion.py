"""Export: an exported model beside the framework it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.report import findings
from builder.report.headline import gates_on

__all__ = ["ORDER", "context"]

ORDER = 25


def context(report: Mapping[str, Any]) -> dict[str, Any]:
    return {"conversion": _conversion(report)}


def _conversion(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the page shows of an export beside its source; None where nothing was exported."""
    data = report["conversion"]
    if data is None:
        return None
    gates = gates_on(report["manifest"], "max_conversion_difference", "conversion")
    return {"data": data, "finding": findings.conversion(data), "gates": gates}
