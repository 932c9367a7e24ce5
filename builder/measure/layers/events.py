"""From the events of ONNX Runtime's profiler to the time of each node and each type of node, run by run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.measure.ratio import median

__all__ = ["Node", "family", "summed_up", "times_by_run"]

_END = "_kernel_time"
_RUN = "model_run"
# What ONNX Runtime calls a node after it has fused or quantized it, and the operator that it stands for.
_WORDS = ("DynamicQuantize", "QLinear", "Fused", "Integer", "ToFloat")
_NAMED = {"QGemm": "Gemm", "QAttention": "Attention", "BiasGelu": "Gelu"} | {
    name: name for name in ("DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear")
}


@dataclass(frozen=True)
class Node:
    """A node of the graph as its runtime runs it, after fusion."""

    name: str
    operator: str
    precision: str  # fp32, int8, ...; '' of one that only holds, moves or converts numbers
    shape: tuple[int, ...] | None  # of its first output; None where the profiler does not tell
    kernel: str = ""  # what it runs in, where the runtime tells
    fused: tuple[str, ...] = ()  # the nodes of the file that it stands for, where the runtime tells


def family(operator: str) -> str:
    """Return the operator that a fused or quantized one stands for: `QLinearConv` and `FusedConv` are `Conv`."""
    name = operator
    for word in _WORDS:
        name = name.replace(word, "")
    return _NAMED.get(operator, name or operator)


def times_by_run(events: Iterable[Mapping[str, Any]], precision: Any) -> list[dict[Node, int]]:
    """Return the time of each node in each run, in us, from events in the order in which they ended.

    The time of control flow is without that of the nodes inside it, which have entries of their own. `precision` tells
    it of an event's facts.
    """
    runs: list[dict[Node, int]] = []
    times: dict[Node, int] = {}
    ended: list[tuple[int, int]] = []  # start and duration of what no later event has turned out to enclose
    for event in events:
        if event["name"] == _RUN:
            runs.append(times)
            times, ended = {}, []
        elif event.get("cat") == "Node" and event["name"].endswith(_END):
            inside = 0
            while ended and ended[-1][0] >= event["ts"]:
                inside += ended.pop()[1]
            ended.append((event["ts"], event["dur"]))
            node = _node(event, precision)
            times[node] = times.get(node, 0) + max(0, event["dur"] - inside)
    return runs


def _node(event: Mapping[str, Any], precision: Any) -> Node:
    facts = event["args"]
    shapes = [shape for entry in facts.get("output_type_shape", []) for shape in entry.values()]
    name = event["name"].removesuffix(_END)
    return Node(name, facts["op_name"], precision(facts), tuple(shapes[0]) if shapes else None)


def summed_up(runs: Sequence[Mapping[Node, float]]) -> dict[str, Any]:
    """Return a block's medians over its runs in us: of each node, of each family of operators, and of all together."""
    nodes = list(dict.fromkeys(node for run in runs for node in run))
    families = list(dict.fromkeys(family(node.operator) for node in nodes))
    sums = [dict.fromkeys(families, 0.0) for _ in runs]
    for run, by_family in zip(runs, sums, strict=True):
        for node, took in run.items():
            by_family[family(node.operator)] += took
    return {
        "nodes": [
            {**vars(node), "shape": node.shape and [*node.shape], "us": median([run.get(node, 0) for run in runs])}
            for node in nodes
        ],
        "families": {name: median([by_family[name] for by_family in sums]) for name in families},
        "total": median([sum(run.values()) for run in runs]),
    }
