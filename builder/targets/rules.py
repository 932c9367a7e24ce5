"""What a target cannot do with a model: the node, the reason, and the nearest thing that works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from builder.device.trt_api import NAMES
from builder.onnxtools.trt_rules import Finding, Severity
from builder.targets.facts import Asked, Facts, label
from builder.targets.tensorrt import check_tensorrt

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["check_model"]

_MIB = 1 << 20
# The precision to take instead, from the nearest on.
_INSTEAD = {
    "bf16": ("fp16", "fp32"),
    "fp16": ("fp32",),
    "fp8": ("int8", "fp16", "fp32"),
    "fp4": ("int8", "fp16", "fp32"),
    "int4": ("int8", "fp16", "fp32"),
    "int8": ("fp16", "fp32"),
}
error = partial(Finding, severity=Severity.ERROR)


def check_model(
    facts: Facts, asked: Asked, target: Mapping[str, Any], shapes: Mapping[str, list[int]], weight_bytes: int
) -> list[Finding]:
    """Return what a target refuses in a model, and what it does less well than it could.

    `target` has the fields of specs.Target, `shapes` are those of inputs with open axes.
    """
    runtime = asked.runtime or target["runtime"]
    found = [*_precision(facts, target), *_memory(facts, asked, target, weight_bytes)]
    return [*found, *(check_tensorrt(facts, asked, target, shapes) if runtime in NAMES else ())]


def _precision(facts: Facts, target: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the nodes that work on numbers of a kind that the target does not compute with."""
    able = target["precisions"]
    for node in facts.nodes:
        wrong = next(((name, kind) for name, kind in _precisions(facts, node) if kind not in able), None)
        if wrong:
            name, kind = wrong
            reason = f"{node.op_type} works on {kind} ('{name}'), and {target['name']} computes {', '.join(able)}"
            instead = next((each for each in _INSTEAD.get(kind, ()) if each in able), able[0] if able else "fp32")
            yield error("precision", node=label(node), message=reason, hint=_export_in(instead))


def _export_in(precision: str) -> str:
    if precision.startswith("int"):
        return f"bring the model in floating point, and quantize it to {precision} with the step quantize"
    return f"export the model in {precision}"


def _precisions(facts: Facts, node: NodeProto) -> Iterator[tuple[str, str]]:
    from onnx import TensorProto

    words = {"FLOAT": "fp32", "FLOAT16": "fp16", "BFLOAT16": "bf16", "INT4": "int4", "UINT4": "int4"}
    for name, kind in facts.touched(node):
        word = TensorProto.DataType.Name(kind)
        if word in words:
            yield name, words[word]
        elif word.startswith(("FLOAT8", "FLOAT4")):
            yield name, "fp8" if word.startswith("FLOAT8") else "fp4"
        elif node.op_type in {"QuantizeLinear", "DequantizeLinear"} and word in {"INT8", "UINT8"}:
            yield name, "int8"


def _memory(facts: Facts, asked: Asked, target: Mapping[str, Any], weight_bytes: int) -> Iterator[Finding]:
    room = target["memory_mib"]
    needed = weight_bytes // 4 if asked.quantizes else weight_bytes  # of float32 one byte in four is left
    if room is None or needed <= room * _MIB or not facts.model.graph.node:
        return
    weights = {tensor.name: tensor for tensor in facts.model.graph.initializer}
    largest = max(weights.values(), key=_numbers, default=None)
    readers = (node for node in facts.nodes if largest is not None and largest.name in node.input)
    node = next(readers, facts.model.graph.node[0])
    words = f"the weights take {needed / _MIB:,.0f} MiB, and {target['name']} has {room:,} MiB for everything"
    quantize = "quantize them with the step quantize, which leaves a quarter" if not asked.quantizes else ""
    smaller = quantize if quantize and needed / 4 <= room * _MIB else "take a smaller model, or a target with more"
    yield error("memory", node=label(node), message=f"{words}; this node has the most of them", hint=smaller)


def _numbers(tensor: Any) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    return count
