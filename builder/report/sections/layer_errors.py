"""Error by layer: how far each tensor inside a quantized model is from its source, as signal to noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from builder.report import charts
from builder.report import format as words
from builder.report.findings import Names
from builder.report.views import heading, in_order

__all__ = ["ORDER", "context", "finding"]

ORDER = 62

DRAWN = 20
LOW_DB = 20.0  # the error has a hundredth of the signal's power


def context(report: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: each for name, each in report["sections"].items() if each["section"] == "layer_errors"}
    return {"layer_errors": [_view(report, name, shown[name]) for name in in_order(report, shown)]}


def finding(names: Names, document: Mapping[str, Any]) -> str:
    """Say which tensor is no number any more, else where the largest error is and how many are far from the source."""
    tensors, known = document["tensors"], _worst_first(document["tensors"])
    lost = [each for each in tensors if each["lost"]]
    if lost:
        said = f"{len(lost)} of {len(tensors)} tensors of {names.candidate}"
        where = f"the first at {_called(lost[0])}"
        return f"{said} {_has(len(lost))} NaN or infinity where {names.reference} has numbers, {where}"
    if not known:
        exact = sum(each["exact"] for each in tensors)
        return f"{exact} of {len(tensors)} tensors of {names.candidate} are exactly those of {names.reference}"
    worst, low = known[0], sum(each["snr_db"] < LOW_DB for each in known)
    few = f"{low or 'none'} of {len(tensors)} tensors {'are' if low > 1 else 'is'}"
    return f"The largest error is at {_called(worst)} ({words.number(worst['snr_db'])} dB); {few} below {LOW_DB:.0f} dB"


def _view(report: Mapping[str, Any], name: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a comparison: bars of the worst tensors, and a row for each."""
    known = _worst_first(data["tensors"])
    rest = [each for each in data["tensors"] if each["snr_db"] is None]
    values = [each["snr_db"] for each in known[:DRAWN]]
    scale = charts.axis(min([0.0, *values]), 1.02 * max([LOW_DB, *values]))
    return {
        **heading(report, name, data),
        "drawn": [_row(each) for each in known[:DRAWN]],
        "roles": sorted(
            {(_role(each), "rounded to integers" if each["rounded"] else "floating point") for each in known[:DRAWN]}
        ),
        "scale": scale,
        "low_db": LOW_DB,
        "rows": [_row(each) for each in [*known, *rest]],
    }


def _worst_first(tensors: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted((each for each in tensors if each["snr_db"] is not None), key=lambda each: float(each["snr_db"]))


def _row(tensor: Mapping[str, Any]) -> dict[str, Any]:
    return {**tensor, "called": _called(tensor), "role": _role(tensor)}


def _has(count: int) -> str:
    return "has" if count == 1 else "have"


def _role(tensor: Mapping[str, Any]) -> str:
    return "candidate" if tensor["rounded"] else "other"


def _called(tensor: Mapping[str, Any]) -> str:
    return str(tensor["layer"] or tensor["tensor"])
