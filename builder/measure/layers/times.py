"""What the profiled blocks of two models say: the time of each layer and type of layer, before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from builder.measure.layers.events import family
from builder.measure.ratio import Ratio, median, median_interval, ratio

if TYPE_CHECKING:
    from builder.measure.series import Series

__all__ = ["PROFILED", "family_ratios", "in_words", "subject_entry"]

PROFILED = "{} profiled"  # what a subject is called when the profiler is on
ADDED = {
    *("DequantizeLinear", "DynamicQuantizeLinear", "MemcpyFromHost", "MemcpyToHost", "QuantizeLinear"),
    *("ReorderInput", "ReorderOutput"),
    *("FakeQuantize", "Reorder"),  # OpenVINO's
}  # by the runtime or the quantizer: they stand for no layer

Blocks = Sequence[Mapping[str, Any]]


def subject_entry(
    plain: Series, profiled: Series, blocks: Blocks, origin: Callable[[str, str], str | None], ratios: Sequence[Ratio]
) -> dict[str, Any]:
    """Return what section.json holds of a model, given its blocks without and with the profiler.

    Times are in ms: the median of what the blocks tell, with an interval from these. A share is of `nodes_ms`, the sum
    of all nodes in a run. `overhead` is the profiled run over the one without.
    """
    overhead = next(each for each in ratios if (each.of, each.to) == (profiled.name, plain.name))
    total = _time([block["total"] for block in blocks], overhead.confidence)
    nodes = _nodes(blocks, origin, overhead.confidence)
    shares = [node | {"share": _share(node["ms"], total["ms"])} for node in nodes]
    return {
        "name": plain.name,
        "run": _time([1e3 * value for value in plain.medians_ms], overhead.confidence),
        "profiled_run": _time([1e3 * value for value in profiled.medians_ms], overhead.confidence),
        "overhead": overhead.plain(),
        "nodes_ms": total["ms"],
        "runs": len(profiled.samples_ms),
        "blocks": len(blocks),
        "families": _families(blocks, nodes, total["ms"], overhead.confidence),
        "nodes": sorted(shares, key=lambda node: -node["ms"]),
    }


def _nodes(blocks: Blocks, origin: Callable[[str, str], str | None], confidence: float) -> list[dict[str, Any]]:
    times: dict[tuple[str, str], list[float]] = {}
    facts = {(node["name"], node["operator"]): node for block in blocks for node in block["nodes"]}
    for index, block in enumerate(blocks):
        for node in block["nodes"]:
            found = times.setdefault((node["name"], node["operator"]), [0.0] * len(blocks))
            found[index] += node["us"]
    return [
        {
            "name": name,
            "operator": operator,
            "family": family(operator),
            "layer": None if operator in ADDED else _layer(facts[name, operator], origin),
            "fused": [*facts[name, operator]["fused"]],
            "kernel": facts[name, operator]["kernel"] or None,
            "precision": facts[name, operator]["precision"] or None,
            "shape": facts[name, operator]["shape"],
            **_time(found, confidence),
        }
        for (name, operator), found in times.items()
    ]


def _layer(node: Mapping[str, Any], origin: Callable[[str, str], str | None]) -> str | None:
    """Return the layer of the source behind a node: the first that its runtime says it fused, else by its own name."""
    names = node["fused"] or [node["name"]]
    return next(filter(None, (origin(name, node["operator"]) for name in names)), None)


def _families(
    blocks: Blocks, nodes: Sequence[Mapping[str, Any]], total: float, confidence: float
) -> list[dict[str, Any]]:
    """Return the time of each family of operators, the longest first; it is summed run by run."""
    found = []
    for name in dict.fromkeys(name for block in blocks for name in block["families"]):
        time = _time([block["families"].get(name, 0.0) for block in blocks], confidence)
        own = [node for node in nodes if node["family"] == name]
        operators = sorted({node["operator"] for node in own})
        found.append(
            {"family": name, "operators": operators, "nodes": len(own), **time, "share": _share(time["ms"], total)}
        )
    return sorted(found, key=lambda each: -each["ms"])


def family_ratios(baseline: Blocks, candidate: Blocks, confidence: float) -> dict[str, dict[str, Any]]:
    """Return the ratio of the candidate's time in a family of operators to the baseline's, for those in both."""
    found = {}
    for name in {name for block in candidate for name in block["families"]}:
        pairs = [
            (new["families"].get(name), old["families"].get(name)) for new, old in zip(candidate, baseline, strict=True)
        ]
        if all(first and second for first, second in pairs):
            found[name] = ratio("candidate", "baseline", pairs, confidence).plain()
    return found


def _time(values_us: Sequence[float], confidence: float) -> dict[str, Any]:
    low, high = median_interval(values_us, confidence)
    return {
        "ms": round(median(values_us) / 1e3, 6),
        "interval_ms": [round(low / 1e3, 6), round(high / 1e3, 6)],
    }


def _share(ms: float, total: float) -> float:
    return round(ms / total, 6) if total else 0.0


def in_words(document: Mapping[str, Any]) -> dict[str, str]:
    """Say in a few words where the candidate's time goes, and what looking cost."""
    candidate = document["subjects"][-1]
    facts = {}
    if candidate["families"]:
        top = candidate["families"][0]
        facts["slowest"] = f"{top['family']} {100 * top['share']:.0f} % of {candidate['nodes_ms']:.3g} ms"
    if candidate["nodes"]:
        node = candidate["nodes"][0]
        facts["layer"] = f"{node['layer'] or node['name']} {node['ms']:.3g} ms"
    facts["profiling"] = f"costs {100 * (candidate['overhead']['value'] - 1):.0f} %"
    if document["noisy"]:
        why = document["noisy"].partition(": ")[2]
        facts["noisy"] = f"too noisy to rank: {why} Then it will be measured again next time"
    return facts
