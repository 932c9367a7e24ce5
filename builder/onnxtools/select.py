"""Which nodes of a model to quantize, and which were asked to be left alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from builder.errors import StepError, did_you_mean
from builder.onnxtools.graph import walk

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["census", "excluded_names", "refuse_quantized"]


def refuse_quantized(model: ModelProto) -> None:
    """Raise StepError for a model that computes with 8-bit integers already."""
    marks = ("QuantizeLinear", "Integer")
    found = [n for n in walk(model.graph) if n.op_type.endswith(marks) or n.op_type.startswith(("QLinear", "Dynamic"))]
    if found:
        first = f"{found[0].op_type} '{found[0].name}'"
        raise StepError(
            f"the model is quantized already: {len(found)} nodes, the first is {first}",
            "give the step the float model: steps.quantize.inputs: {model: NAME}",
        )


def excluded_names(
    nodes: Collection[NodeProto], names: Collection[str], patterns: Collection[str], op_types: Collection[str]
) -> set[str]:
    """Return the names of the nodes that an exclusion means. Raises StepError for one that means none."""
    there = {node.name for node in nodes}
    types = {node.op_type for node in nodes}
    found: set[str] = set()
    for name in names:
        if name not in there:
            raise StepError(f"exclude.names: no node is called '{name}'", _nearest(name, there))
        found.add(name)
    for pattern in patterns:
        matches = {name for name in there if fnmatchcase(name, pattern)}
        if not matches:
            raise StepError(f"exclude.patterns: no node's name matches '{pattern}'", _nearest(pattern, there))
        found |= matches
    for kind in op_types:
        if kind not in types:
            raise StepError(f"exclude.op_types: the model has no '{kind}'", did_you_mean(kind, types))
        found |= {node.name for node in nodes if node.op_type == kind}
    return found


def _nearest(word: str, names: set[str]) -> str:
    hint = did_you_mean(word, names)
    return hint if hint.startswith("did") else f"there are {len(names)} nodes, such as '{min(names)}'"


def census(chosen: Iterable[NodeProto], model: ModelProto) -> str:
    """Count nodes by type: 'Conv 23, Gemm 1'. Raises StepError where there is none."""
    kinds = Counter({node.name: node.op_type for node in chosen}.values())
    if not kinds:
        there = ", ".join(sorted({node.op_type for node in model.graph.node}))
        raise StepError(
            f"nothing can be quantized: of the model's operators ({there}), none is fit for it or all are excluded",
            "remove the step: '~steps.quantize', or look at steps.quantize.exclude",
        )
    return ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0])))
