"""What TensorRT's ONNX parser is known to refuse, found by looking at the graph: no TensorRT and no GPU needed.

Source: NVIDIA, "Working with Quantized Types", and TensorRT-RTX 1.7.1's parser, which was seen to refuse what the error
rules do, but for two: TRT003 it takes and computes in int8, so that all above 127 is cut off; TRT008 it takes although
NVIDIA's pages say that an activation has one scale.
Passing the rules is strong evidence, not proof: operators differ between TensorRT's versions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from builder.onnxtools.graph import attribute, constants, element_types, graphs, walk
from builder.onnxtools.qdq import WEIGHTED

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

__all__ = ["RULES", "Finding", "Severity", "check"]

RESTYLE = "quantize with steps.quantize.style=tensorrt"
LINEAR = ("QuantizeLinear", "DequantizeLinear")


class Severity(Enum):
    ERROR = "error"  # TensorRT refuses the model
    WARNING = "warning"  # TensorRT takes it, and runs it slower or less exactly than it could


@dataclass(frozen=True)
class Finding:
    """A rule that a node breaks."""

    code: str
    severity: Severity
    node: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.code} {self.node}: {self.message}"


class Graph:
    """A model's nodes, weights, types, and who makes and reads each value; looked up by name."""

    def __init__(self, model: ModelProto) -> None:
        self.nodes = list(walk(model.graph))
        self.weights: dict[str, TensorProto] = {}
        self.types: dict[str, int] = {}
        for graph in graphs(model.graph):
            self.weights |= constants(graph)
            self.types |= element_types(graph)
        self.weights |= {
            node.output[0]: attribute(node, "value", None)
            for node in self.nodes
            if node.op_type == "Constant" and attribute(node, "value", None) is not None
        }
        self.makers = {name: node for node in self.nodes for name in node.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def maker(self, name: str) -> str:
        """Return the type of the node that makes a value, or '' for an input or weight."""
        return self.makers[name].op_type if name in self.makers else ""

    def quantized_type(self, node: NodeProto) -> int:
        """Return the integer type of a Q or DQ node; what the ONNX standard says where nothing else does."""
        from onnx import TensorProto

        if len(node.input) > 2 and node.input[2] in self.weights:
            return self.weights[node.input[2]].data_type
        if node.op_type == "QuantizeLinear":
            return int(attribute(node, "output_dtype", 0) or TensorProto.UINT8)
        source = node.input[0]
        if source in self.weights:
            return self.weights[source].data_type
        made = self.makers.get(source)
        return self.quantized_type(made) if made and made.op_type == "QuantizeLinear" else self.types.get(source, 0)

    def after_pair(self, quantize: NodeProto) -> list[NodeProto]:
        """Return the nodes that read a value behind its Q/DQ pair."""
        dequantizers = self.readers.get(quantize.output[0], [])
        return [reader for node in dequantizers for name in node.output for reader in self.readers.get(name, [])]

    def before_pair(self, name: str) -> str:
        """Return the value that went into the pair whose result is `name`."""
        made = self.makers.get(self.makers[name].input[0])
        return made.input[0] if made and made.op_type == "QuantizeLinear" else ""

    def linear(self) -> Iterator[tuple[NodeProto, int]]:
        """Yield each Q and DQ node with its integer type."""
        for node in self.nodes:
            if node.op_type in LINEAR:
                yield node, self.quantized_type(node)


def int32_bias(graph: Graph) -> Iterator[tuple[NodeProto, str]]:
    from onnx import TensorProto

    for node, kind in graph.linear():
        if kind == TensorProto.INT32:
            yield node, "dequantizes int32 (a quantized bias); TensorRT takes int8 and wants biases in float"


def nonzero_zero_point(graph: Graph) -> Iterator[tuple[NodeProto, str]]:
    from onnx import numpy_helper

    for node, _ in graph.linear():
        if len(node.input) > 2 and node.input[2]:
            zero = graph.weights.get(node.input[2])
            if zero is None:
                yield node, "has a zero point that is computed; TensorRT wants a constant 0"
            elif numpy_helper.to_array(zero).any():
                yield node, "has a zero point that is not 0; TensorRT's int8 is symmetric"


def uint8_values(graph: Graph) -> Iterator[tuple[NodeProto, str]]:
    from onnx import TensorProto

    for node, kind in graph.linear():
        if kind == TensorProto.UINT8:
            yield node, "is uint8; TensorRT computes in int8, and would cut off all above 127"


def int16_values(graph: Graph) -> Iterator[tuple[NodeProto, str]]:
    from onnx import TensorProto

    for node, kind in graph.linear():
        if kind in {TensorProto.INT16, TensorProto.UINT16}:
            yield node, "is 16-bit; TensorRT takes int8"


def integer_operators(graph: Graph) -> Iterator[tuple[NodeProto, str]]:
    for node in graph.nodes:
        if node.op_type.startswith(("QLinear", "DynamicQuantize", "QGemm")) or node.op_type.endswith("Integer"):
            yield node, f"{node.op_type} is an integer operator; TensorRT takes QuantizeLinear/DequantizeLinear pairs"


def custom_operators(graph: Graph) -> Iterator[tuple[NodeProto, str]]:
    for node in graph.nodes:
        if node.domain not in {"", "ai.onnx"} and not node.op_type.startswith(("QLinear", "DynamicQuantize", "QGemm")):
            yield node, f"{node.domain}.{node.op_type} is no standard operator, and TensorRT has no plugin of that name"


def pair_on_output(graph: Graph) -> Iterator[tuple[NodeProto, str]]:
    for node in graph.nodes:
        if node.op_type == "QuantizeLinear" and graph.maker(node.input[0]) in WEIGHTED:
            if any(reader.op_type in {"Relu", "Clip", "BatchNormalization"} for reader in graph.after_pair(node)):
                yield node, "stands between a convolution or matrix product and what TensorRT would fuse with it"
        elif node.op_type == "Add" and all(graph.maker(name) == "DequantizeLinear" for name in node.input):
            sources = [graph.before_pair(name) for name in node.input]
            if any(graph.maker(source) in WEIGHTED for source in sources):
                yield node, "has both branches quantized; TensorRT fuses the one out of a convolution if it is float"


def per_channel_activation(graph: Graph) -> Iterator[tuple[NodeProto, str]]:
    for node, _ in graph.linear():
        scale = graph.weights.get(node.input[1])
        several = scale is not None and any(size > 1 for size in scale.dims)
        if several and node.op_type == "QuantizeLinear" and node.input[0] not in graph.weights:
            yield node, "quantizes an activation with a scale for each channel; TensorRT takes one for the tensor"


Rule = Callable[[Graph], Iterator[tuple["NodeProto", str]]]
RULES: tuple[tuple[str, Severity, Rule, str], ...] = (
    ("TRT001", Severity.ERROR, int32_bias, RESTYLE),
    ("TRT002", Severity.ERROR, nonzero_zero_point, RESTYLE),
    ("TRT003", Severity.ERROR, uint8_values, RESTYLE),
    ("TRT004", Severity.ERROR, int16_values, RESTYLE),
    ("TRT005", Severity.ERROR, integer_operators, RESTYLE),
    ("TRT006", Severity.ERROR, custom_operators, "export the model with standard ONNX operators"),
    ("TRT007", Severity.WARNING, pair_on_output, RESTYLE),
    ("TRT008", Severity.ERROR, per_channel_activation, RESTYLE),
)


def check(model: ModelProto) -> list[Finding]:
    """Return what breaks a rule, in the order of the rules, then of the nodes."""
    graph = Graph(model)
    return [
        Finding(code, severity, node.name or node.op_type, message, hint)
        for code, severity, rule, hint in RULES
        for node, message in rule(graph)
    ]
