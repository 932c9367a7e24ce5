"""Size: the source model, then the model or engine that each action made, as bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from builder.report import charts, findings
from builder.report import format as words
from builder.report.headline import limit_on

__all__ = ["ORDER", "context"]

ORDER = 40

_REST = "graph and scales"
_ROLES = {"fp32": "baseline", _REST: "rest"}
_OTHERS = ("candidate", "other", "third")


def context(report: Mapping[str, Any]) -> dict[str, Any]:
    return {"sizes": _sizes(report)}


def _sizes(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bars of the size figure: the source model, then the model or engine that each action made."""
    manifest, size = report["manifest"], report["headline"]["size"]
    rows: list[dict[str, Any]] = []
    if size["reference"] is not None:
        rows.append({"name": findings.Names(manifest).reference, "mib": size["reference"], "role": "baseline"})
    for action in manifest["actions"]:
        made = [output["bytes"] for port, output in action["outputs"].items() if port in ("model", "engine", "ir")]
        if made and action["step"] != "source":
            rows.append({"name": action["name"], "mib": sum(made) / words.MIB, "role": "step"})
    candidate = next((row for row in reversed(rows) if row["role"] == "step" and row["mib"] == size["candidate"]), None)
    if candidate:
        candidate["role"] = "candidate"
    for row in rows:
        row["parts"] = _parts(report, row)
    _colour([part for row in rows for part in row["parts"]])
    limit, longest = limit_on(manifest, "max_size_mib"), max((row["mib"] for row in rows), default=0)
    within = limit is not None and limit <= 1.6 * longest
    scale = charts.axis(0, 1.02 * max(longest, limit if limit and within else 0) or 1)
    return {"rows": rows, "scale": scale, "limit": limit, "within": within}


def _parts(report: Mapping[str, Any], row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the bytes of a model by precision, then those of its graph; none where no benchmark counted them."""
    found: list[dict[str, Any]] = [
        {"name": name, "mib": size / words.MIB} for name, size in sorted(_weights(report, row["mib"]).items())
    ]
    rest = row["mib"] - sum(part["mib"] for part in found)
    return [*found, {"name": _REST, "mib": rest}] if found and rest >= 0 else []


def _weights(report: Mapping[str, Any], mib: float) -> Mapping[str, int]:
    """Return the bytes of weights by precision of the subject of this size, if they were counted in its own graph."""
    found: Iterator[Mapping[str, int]] = (
        one["compute"].get("weights_by_precision", {})
        for measured in report["measurements"].values()
        for one in measured["subjects"]
        if one.get("compute") and one["compute"]["of"] == one["name"] and one["bytes"] / words.MIB == mib
    )
    return next(found, {})


def _colour(parts: Sequence[dict[str, Any]]) -> None:
    """Give each precision a colour of its own, the one that takes most beside fp32 that of the candidate."""
    largest = sorted(parts, key=lambda part: -part["mib"])
    names = dict.fromkeys(part["name"] for part in largest if part["name"] not in _ROLES)
    roles = _ROLES | {name: _OTHERS[min(place, len(_OTHERS) - 1)] for place, name in enumerate(names)}
    for part in parts:
        part["role"] = roles[part["name"]]
