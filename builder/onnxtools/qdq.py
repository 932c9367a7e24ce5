"""Quantize/dequantize pairs where TensorRT wants them.

Symmetric int8 with zero points 0; activations one scale per tensor, weights one per output channel; biases stay float;
pairs stand on inputs only, so that a convolution fuses with what follows it; of a residual Add only the branch is
quantized that did not just leave a convolution. Source: NVIDIA, "Working with Quantized Types", TensorRT 10 and 11
documentation; the placement is that of ModelOpt 0.47.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from builder.onnxtools.graph import attribute, constants, names, unused

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, NodeProto

__all__ = ["POOLING", "TYPES", "WEIGHTED", "activations", "insert_pairs", "placements", "residual_branch"]

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
POOLING = ("MaxPool", "AveragePool", "GlobalAveragePool")
TYPES = (*WEIGHTED, "Add", *POOLING)


def residual_branch(node: NodeProto, producers: Mapping[str, NodeProto], weights: Collection[str]) -> int | None:
    """Return which input of a residual Add to quantize, or None for another Add.

    It is the one that does not come out of a convolution or matrix product: that one is fused with the Add. Where both
    do, the second: exporters write the main path first.
    """
    if any(name in weights for name in node.input):
        return None
    fused = [name in producers and producers[name].op_type in WEIGHTED for name in node.input]
    if not any(fused) or node.input[0] == node.input[1]:
        return None
    return 1 if fused[0] else 0


def placements(graph: GraphProto, types: Mapping[str, int], excluded: Collection[str]) -> list[tuple[NodeProto, int]]:
    """Return (node, index of the input) for each float input that gets a pair, in the graph's order."""
    from onnx import TensorProto

    producers = {name: node for node in graph.node for name in node.output}
    weights = constants(graph)
    found: list[tuple[NodeProto, int]] = []
    for node in graph.node:
        if node.op_type not in TYPES or node.name in excluded:
            continue
        if node.op_type == "Add":
            branch = residual_branch(node, producers, weights)
            inputs = [] if branch is None else [branch]
        else:
            inputs = [0, 1] if node.op_type in WEIGHTED else [0]
        if inputs and all(types.get(node.input[i]) in {TensorProto.FLOAT, TensorProto.FLOAT16} for i in inputs):
            found.extend((node, i) for i in inputs)
    return found


def activations(graph: GraphProto, places: list[tuple[NodeProto, int]]) -> list[str]:
    """Return the tensors among the placements that are no weights, each once: these need a range."""
    weights = constants(graph)
    return sorted({node.input[i] for node, i in places} - weights.keys())


def insert_pairs(
    graph: GraphProto,
    places: list[tuple[NodeProto, int]],
    ranges: Mapping[str, tuple[float, float]],
    types: Mapping[str, int],
    *,
    per_channel: bool,
) -> None:
    """Put a pair at each placement: Q and DQ on an activation, DQ behind a weight that is stored as int8."""
    inserter = _Inserter(graph, types)
    for node, index in places:
        name = node.input[index]
        if name in inserter.weights:
            axis = _channel_axis(node, index, len(inserter.weights[name].dims)) if per_channel else None
            node.input[index] = inserter.weight(name, axis)
        else:
            node.input[index] = inserter.activation(name, max(map(abs, ranges[name])))
    inserter.sort()


def _channel_axis(node: NodeProto, index: int, rank: int) -> int | None:
    """Return the axis of the output channels in a weight, or None where one scale must do."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1 if attribute(node, "group", 1) == 1 else None
    if node.op_type == "Gemm":
        return (0 if attribute(node, "transB", 0) else 1) if index == 1 else None
    return 1 if index == 1 and rank == 2 else None


class _Inserter:
    def __init__(self, graph: GraphProto, types: Mapping[str, int]) -> None:
        self.graph = graph
        self.types = types
        self.weights = constants(graph)
        self.taken = names(graph)
        self.pairs: dict[tuple[str, int | None], tuple[str, list[NodeProto]]] = {}

    def weight(self, name: str, axis: int | None) -> str:
        """Return the name of a weight after int8, made at the first call."""
        import numpy as np
        from onnx import numpy_helper

        if (name, axis) not in self.pairs:
            values = numpy_helper.to_array(self.weights[name]).astype(np.float64)
            others = tuple(i for i in range(values.ndim) if i != axis) if axis is not None else None
            scale = _scale(np.abs(values).max(axis=others, initial=0.0), self._float(name))
            shape = [-1 if i == axis else 1 for i in range(values.ndim)] if axis is not None else []
            spread = scale.astype(np.float64).reshape(shape)
            stored = np.clip(np.rint(values / spread), -127, 127).astype(np.int8)
            quantized = self._add(f"{name}_quantized", stored)
            inputs = [
                quantized,
                self._add(f"{name}_scale", scale),
                self._add(f"{name}_zero", np.zeros_like(scale, np.int8)),
            ]
            self._pair((name, axis), [("DequantizeLinear", inputs)], axis)
        return self.pairs[name, axis][0]

    def activation(self, name: str, largest: float) -> str:
        """Return the name of an activation after its pair, made at the first call and shared by its readers."""
        import numpy as np

        if (name, None) not in self.pairs:
            scale = self._add(f"{name}_scale", _scale(np.asarray(largest), self._float(name)))
            zero = self._add(f"{name}_zero", np.zeros((), np.int8))
            quantized = unused(f"{name}_quantized", self.taken)
            steps = [("QuantizeLinear", [name, scale, zero]), ("DequantizeLinear", [quantized, scale, zero])]
            self._pair((name, None), steps, None, quantized)
        return self.pairs[name, None][0]

    def _pair(self, key: tuple[str, int | None], steps: Any, axis: int | None, between: str = "") -> None:
        from onnx import helper

        result = unused(f"{key[0]}_dequantized", self.taken)
        options: dict[str, Any] = {} if axis is None else {"axis": axis}
        outputs = [between, result][-len(steps) :]
        nodes = [
            helper.make_node(op, inputs, [output], name=unused(f"{output}_node", self.taken), **options)
            for (op, inputs), output in zip(steps, outputs, strict=True)
        ]
        self.pairs[key] = (result, nodes)

    def _add(self, name: str, values: NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = unused(name, self.taken)
        self.graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def _float(self, name: str) -> Any:
        from onnx import helper

        return helper.tensor_dtype_to_np_dtype(self.types[name])

    def sort(self) -> None:
        """Put each pair before the first node that reads it."""
        waiting = dict(self.pairs.values())
        ordered: list[NodeProto] = []
        for node in self.graph.node:
            for name in node.input:
                ordered.extend(waiting.pop(name, []))
            ordered.append(node)
        del self.graph.node[:]
        self.graph.node.extend(ordered)


def _scale(largest: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Return the step between two int8 values; 1 where there is only zero, and never below the type's smallest."""
    import numpy as np

    step = np.maximum(largest / 127, float(np.finfo(dtype).tiny))
    return np.asarray(np.where(largest > 0, step, 1.0), dtype)
