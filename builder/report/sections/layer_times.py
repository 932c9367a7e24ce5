"""Time by layer: where a run's time goes in the source and in what was made of it, by type of layer and by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from builder.report import charts
from builder.report import format as words
from builder.report.findings import Names, compared
from builder.report.views import heading, in_order

__all__ = ["ORDER", "context", "finding"]

ORDER = 60

DRAWN = 20
COUNTED_MS = 0.001  # by profilers, in whole ones: a node's time may be wrong by as much
INFLATED = 1.2  # times a run without the profiler; beyond it the layers' times are the profiler's too
ROLES = {"int8": "candidate", None: "step"}  # by precision; every other one is drawn as `other`


def context(report: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: each for name, each in report["sections"].items() if each["section"] == "layer_times"}
    return {"layer_times": [_view(report, name, shown[name]) for name in in_order(report, shown)]}


def finding(names: Names, document: Mapping[str, Any]) -> str:
    """Say which type of layer takes most of the time, and how that compares with the source."""
    place, where = names.place(names.target_is_here), _where(document)
    after = document["subjects"][1]
    if not after["families"]:
        return f"{names.candidate}{where} runs no node of which a time is known {place}"
    top = after["families"][0]
    said = f"{top['family']} takes {_percent(top['share'])} % of {names.candidate}'s time in layers{where} {place}"
    ratio = document["family_ratios"].get(top["family"])
    if ratio is None:
        return said
    counted = top["ms"] * abs(1 / ratio["value"] - 1) > COUNTED_MS * top["nodes"]
    change = compared(ratio["value"], "less", "more") if ratio["ranked"] and counted else ""
    told = f"it takes {change} time than in" if change else "no difference can be told from"
    return f"{said}; {told} {names.reference}"


def _view(report: Mapping[str, Any], name: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a profile: bars by type and of the slowest layers, and a row for every layer."""
    before, after = data["subjects"]
    rows = _rows(before["nodes"], after["nodes"])
    drawn = [row for row in rows if row["after"]][:DRAWN]
    inflated = after["nodes_ms"] / after["run"]["ms"]
    families = _families(before["families"], after["families"])
    return {
        **heading(report, name, data),
        "time": _time,
        "runtime": words.runtime(data["runtime"]),
        "other_runtime": _other_runtime(report, data["runtime"]),
        "inflated": inflated if inflated > INFLATED else None,
        "before": before,
        "after": after,
        "families": families,
        "family_axis": _axis(families),
        "drawn": drawn,
        "axis": _axis(drawn),
        "roles": sorted(
            {(ROLES.get(each, "other"), each or "moves or converts") for row in drawn for each in row["precisions"]}
        ),
        "rows": rows,
        "kernels": any(node["kernel"] for node in after["nodes"]),
        "both": sum(bool(row["before"] and row["after"]) for row in rows),
    }


def _rows(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the layers of both models, the slowest of the second first; what stands for no layer has its own name."""
    sides = [_by_layer(before), _by_layer(after)]
    rows = []
    for layer in dict.fromkeys([*sides[1], *sides[0]]):
        old, new = (side.get(layer) for side in sides)
        precisions = (new or old or {})["precisions"]
        role = next((ROLES.get(each, "other") for each in precisions if each), ROLES[None])
        rows.append({"layer": layer, "before": old, "after": new, "precisions": precisions, "role": role})
    return sorted(rows, key=lambda row: -(row["after"] or {"ms": -1.0})["ms"])


def _by_layer(nodes: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what is known of each layer, summed where several nodes stand for one."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for node in nodes:
        found.setdefault(node["layer"] or node["name"], []).append(node)
    return {
        layer: {
            "ms": sum(node["ms"] for node in own),
            "share": sum(node["share"] for node in own),
            "interval_ms": own[0]["interval_ms"] if len(own) == 1 else None,
            "operators": list(dict.fromkeys(node["operator"] for node in own)),
            "names": [name for node in own for name in node["fused"] or [node["name"]]],
            "kernels": list(dict.fromkeys(node["kernel"] for node in own if node["kernel"])),
            "precisions": list(dict.fromkeys(node["precision"] for node in own)),
            "shape": own[-1]["shape"],
        }
        for layer, own in found.items()
    }


def _families(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    old, new = ({each["family"]: each for each in side} for side in (before, after))
    rows = [{"family": name, "before": old.get(name), "after": new.get(name)} for name in dict.fromkeys([*new, *old])]
    return [row for row in rows if any(side and side["ms"] for side in (row["before"], row["after"]))]


def _axis(rows: Iterable[Mapping[str, Any]]) -> charts.Axis:
    longest = max((side["ms"] for row in rows for side in (row["before"], row["after"]) if side), default=0.0)
    return charts.axis(0, 1.02 * longest or 1)


def _where(document: Mapping[str, Any]) -> str:
    """Say in which runtime both models are, where it is not ONNX Runtime."""
    ran = document["runtime"]
    return "" if ran == "onnxruntime" else f" in {words.runtime(ran)}"


def _other_runtime(report: Mapping[str, Any], profiled: str) -> str:
    """Return what the build is for instead of what was profiled, as its maker calls it; '' where it is that."""
    recipe, target = report["manifest"]["recipe"], report["manifest"]["target"]
    compiled = [each.get("runtime") for each in recipe.get("steps", {}).values() if each.get("step") == "compile"]
    runtime = str(next(filter(None, compiled), None) or target.get("runtime", "onnxruntime"))
    return "" if runtime in ("onnxruntime", profiled) else words.runtime(runtime)


def _time(ms: float) -> str:
    """Return a time in us below one ms: the profiler counts whole ones."""
    return words.ms(ms) if ms >= 1 else f"{words.plain(round(1e3 * ms, 1))}\N{NO-BREAK SPACE}\N{MICRO SIGN}s"


def _percent(share: float) -> str:
    return words.number(100 * share, 2)
