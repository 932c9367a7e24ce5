"""Type and shape of each tensor of an ONNX graph, for one shape of its inputs: inferred, or as one run had them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

    from builder.onnxtools.ran import Ran

__all__ = ["FLOATS", "Tensors", "n_bytes", "of_run", "tensors", "type_name"]

FLOATS = {"FLOAT": "fp32", "FLOAT16": "fp16", "BFLOAT16": "bf16", "DOUBLE": "fp64"}
_SMALL = 4096  # elements; smaller weights may be shapes, which inference has to see


@dataclass
class Tensors:
    """Shapes and types (fp32, int8, bool, ...) by a tensor's name; what is not known is left out."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)

    def n_bytes(self, name: str) -> int:
        """Return the bytes of a tensor. Raises KeyError where its shape is not known."""
        return n_bytes(self.shapes[name], self.types[name])


def tensors(
    model: ModelProto, shapes: Mapping[str, Sequence[int]], ran: Mapping[str, Sequence[Ran]], weights: Tensors
) -> Tensors:
    """Return what is known of the main graph's tensors whose inputs have these shapes; `model` loses its weights."""
    import onnx

    found = Tensors(dict(weights.shapes), dict(weights.types))
    _close(model.graph, shapes)
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except onnx.shape_inference.InferenceError:  # a graph that contradicts itself: only a run tells
        graph = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type
        found.types.setdefault(value.name, type_name(kind.elem_type))
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            found.shapes.setdefault(value.name, tuple(dim.dim_value for dim in kind.shape.dim))
    for node in graph.node:
        for one in ran.get(node.name, ())[-1:]:
            told = of_run(node, one, weights)
            found.shapes, found.types = told.shapes | found.shapes, told.types | found.types
    return found


def of_run(node: NodeProto, one: Ran, weights: Tensors) -> Tensors:
    """Return what one execution of a node tells of its tensors, where the runtime told of as many as it has.

    It tells nothing of weights that it has packed for itself.
    """
    found = Tensors()
    for name in node.input:
        if name in weights.shapes:
            found.shapes[name], found.types[name] = weights.shapes[name], weights.types[name]
    for names, told in ((node.input, one.inputs), (node.output, one.outputs)):
        named = [name for name in names if name]
        if len(named) != len(told):
            named = [name for name in named if name not in weights.shapes]
        if len(named) == len(told):
            found.shapes |= {name: shape for name, (_, shape) in zip(named, told, strict=True)}
            found.types |= {name: FLOATS.get(kind.upper(), kind) for name, (kind, _) in zip(named, told, strict=True)}
    return found


def type_name(kind: int) -> str:
    """Return the name of an element type (a TensorProto.DataType): fp32, int8, bool, ..., '' for none and for text."""
    from onnx import TensorProto

    name = TensorProto.DataType.Name(kind)
    return "" if name in ("UNDEFINED", "STRING") else FLOATS.get(name, name.lower())


def n_bytes(shape: Sequence[int], kind: str) -> int:
    """Return the bytes of a tensor of this type: by the bits that its name says first, else one a value."""
    bits = re.search(r"\d+", kind)
    return -(-math.prod(shape) * int(bits[0] if bits else 8) // 8)


def _close(graph: GraphProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """Give the inputs their shapes, and leave those of the outputs to inference; large weights become inputs."""
    from onnx import helper

    for value in graph.input:
        if value.name in shapes:
            kind = value.type.tensor_type.elem_type
            value.CopyFrom(helper.make_tensor_value_info(value.name, kind, list(shapes[value.name])))
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    for tensor in [tensor for tensor in graph.initializer if math.prod(tensor.dims) > _SMALL]:
        graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
        graph.initializer.remove(tensor)
