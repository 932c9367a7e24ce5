"""Which node of a source model stands behind a node that a runtime has fused, moved or renamed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

__all__ = ["FUSED", "layer_name", "origins"]

FUSED = 4  # nodes at most that one stands for, from its last one back: a convolution, a bias, an activation, a product


def layer_name(node: NodeProto) -> str:
    """Return a node's name; of one that has none, that of what it makes."""
    return str(node.name or node.output[0])


def origins(graph: GraphProto, family: Callable[[str], str]) -> Callable[[str, str], str | None]:
    """Return what finds the layer of a graph behind a name and an operator of the optimized graph; None where none is.

    ONNX Runtime calls a fused node after one of those that it stands for, or after what the last of them makes, and
    adds words of its own: the longest name of the graph counts that stands in it whole. From there it goes back to the
    node of the same `family` of operators, so that a convolution with its activation is the convolution.
    """
    makers = {name: node for node in graph.node for name in node.output if name}
    known = makers | {node.name: node for node in graph.node if node.name}
    longest_first = sorted(known, key=len, reverse=True)

    @cache
    def find(name: str, operator: str) -> str | None:
        found = known.get(name) or next((known[each] for each in longest_first if _holds(name, each)), None)
        node = found
        for _ in range(FUSED):
            if node is None or family(node.op_type) == family(operator):
                break
            node = makers.get(node.input[0]) if node.input else None
        same = node is not None and family(node.op_type) == family(operator)
        chosen = node if same else found
        return layer_name(chosen) if chosen is not None else None

    return find


def _holds(name: str, part: str) -> bool:
    """Return whether a name holds another one whole: `conv1_nchwc` holds `conv1`, `conv10` does not."""
    at = name.find(part)
    while at >= 0:
        before, after = name[at - 1 : at] if at else "", name[at + len(part) : at + len(part) + 1]
        if not before.isalnum() and not after.isalnum():
            return True
        at = name.find(part, at + 1)
    return False
