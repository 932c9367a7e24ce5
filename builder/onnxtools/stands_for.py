"""Which tensor of a quantized model stands for which one of its source: the same name, after rounding to integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.onnxtools.origin import FUSED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray
    from onnx import GraphProto, NodeProto

__all__ = ["made", "merged", "quantized_weights", "stand_ins", "watch"]

_QUANTIZED = "{}_quantized"  # what quantizers call a weight that they have made integers of


def made(graph: GraphProto) -> dict[str, NodeProto]:
    """Return what the nodes of the main graph make, by name, but for constants; in the graph's order."""
    return {name: node for node in graph.node if node.op_type != "Constant" for name in node.output if name}


def stand_ins(source: GraphProto, quantized: GraphProto) -> dict[str, tuple[str, bool]]:
    """Return source tensor -> (the quantized model's tensor that stands for it, whether it was rounded to integers).

    It is the dequantized one where the tensor of the same name goes through a QuantizeLinear and DequantizeLinear, as
    the next layer reads it, else that of the same name. An input counts where it is rounded. A tensor that is gone
    (fused, folded, renamed) is left out. What the source rounds itself is not the quantizer's: there names count.
    """
    already = dict(_pairs(source))
    makers, rounded = made(quantized), {name: to for name, to in _pairs(quantized) if name not in already}
    found = {value.name: (rounded[value.name], True) for value in source.input if value.name in rounded}
    for name in made(source):
        if name in rounded:
            found[name] = (rounded[name], True)
        elif name in makers:
            found[name] = (name, makers[name].op_type == "DequantizeLinear")
    return found


def merged(source: GraphProto, kept: Collection[str], weights: set[str]) -> dict[str, NodeProto]:
    """Return kept tensor -> the layer that makes it: the node with a weight, where only its last node is another one.

    So a convolution whose activation the quantizer has merged into it, and whose own output is gone, is the layer.
    """
    makers = made(source)

    def layer(name: str) -> NodeProto:
        node = makers[name]
        for _ in range(FUSED):
            if weights & {*node.input}:
                return node
            before = node.input[0] if node.input else ""
            if before in kept or before not in makers:
                break
            node = makers[before]
        return makers[name]

    return {name: layer(name) for name in kept if name in makers}


def _pairs(graph: GraphProto) -> Iterator[tuple[str, str]]:
    """Yield (tensor, what a QuantizeLinear and a DequantizeLinear make of it)."""
    quantizers = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    for node in reversed(graph.node):  # so that of several pairs on one tensor the first counts
        if node.op_type == "DequantizeLinear" and node.input[0] in quantizers:
            yield quantizers[node.input[0]], node.output[0]


def watch(graph: GraphProto, tensors: list[str]) -> None:
    """Make these tensors outputs of the graph, in this order, ahead of its own; types are left to the runtime."""
    from onnx import ValueInfoProto

    own = [value for value in graph.output if value.name not in tensors]
    known = {value.name: value for value in graph.output}
    del graph.output[:]
    graph.output.extend([known.get(name) or ValueInfoProto(name=name) for name in tensors] + own)


def quantized_weights(source: GraphProto, quantized: GraphProto) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """Yield (name, values, values after rounding) of each weight that the quantized model holds as integers."""
    from onnx import numpy_helper

    from builder.onnxtools.graph import attribute, constants

    before, after = constants(source), constants(quantized)
    readers = {node.input[0]: node for node in quantized.node if node.op_type == "DequantizeLinear"}
    for name, tensor in before.items():
        integers = _QUANTIZED.format(name)
        node = readers.get(integers)
        if node is None or attribute(node, "block_size", 0) or not {*node.input} <= after.keys():
            continue
        if tensor.dims != after[integers].dims:
            continue
        yield name, numpy_helper.to_array(tensor), _dequantized(node, after)


def _dequantized(node: NodeProto, weights: Any) -> NDArray[Any]:
    """Return what a DequantizeLinear makes of constants: (integers - zero point) * scale, along its axis if any."""
    import numpy as np
    from onnx import numpy_helper

    from builder.onnxtools.graph import attribute

    values, scale, *zero = (numpy_helper.to_array(weights[name]).astype(np.float64) for name in node.input)
    axis = attribute(node, "axis", 1) % max(1, values.ndim)
    shape = [-1 if index == axis else 1 for index in range(values.ndim)] if scale.size > 1 else []
    low = zero[0].reshape(shape) if zero else 0.0
    found: NDArray[Any] = (values - low) * scale.reshape(shape)
    return found
