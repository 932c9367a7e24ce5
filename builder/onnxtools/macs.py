"""How many multiply-accumulates (MACs) an ONNX operator takes, from the shapes of its inputs and outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from builder.onnxtools.graph import attribute

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["COUNTED", "Shapes", "macs", "operands", "unknown"]

Shapes = Mapping[str, tuple[int, ...]]
# Operators that multiply, or run others, of which no shape tells how often.
_UNKNOWN = {"Attention", "DFT", "DeformConv", "Det", "If", "Loop", "STFT", "Scan", "SequenceMap"}


def macs(node: NodeProto, shapes: Shapes) -> int:
    """Return the MACs of a node whose type is in `COUNTED`; a bias is none. Raises KeyError for an unknown shape.

    A convolution is counted without what padding would save, as published figures are (torchvision's, fvcore's).
    Google's for EfficientNet-Lite 0 to 4 are larger (Lite0: 407 M, 385 M here). They agree with half the operations
    that TensorFlow's profiler counts in training (Lite0 to 0.3 %, the others to their last digit), where a batch
    normalization that is not fused takes 6 for each value.
    """
    return COUNTED[node.op_type](node, shapes)


def unknown(node: NodeProto) -> bool:
    """Tell whether a node may multiply a lot in a way that is not counted; an operator of no standard may."""
    if node.op_type in COUNTED:
        return False
    return node.op_type in _UNKNOWN or node.domain not in ("", "ai.onnx")


def operands(node: NodeProto) -> tuple[int, int]:
    """Return which two inputs are multiplied."""
    return (0, 3) if node.op_type.startswith("QLinear") else (0, 1)


def _conv(node: NodeProto, shapes: Shapes) -> int:
    """Every output takes one kernel [channels / group, k...]."""
    return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[operands(node)[1]]][1:])


def _conv_transpose(node: NodeProto, shapes: Shapes) -> int:
    """Every input goes through one kernel [filters / group, k...]."""
    return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])


def _matmul(node: NodeProto, shapes: Shapes) -> int:
    """Every output takes one row of the first operand, or one column where that is transposed."""
    inner = -2 if attribute(node, "transA", 0) else -1
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][inner]


def _recurrent(node: NodeProto, shapes: Shapes) -> int:
    """Each step of each sequence [steps, batch, inputs] goes through the weights W and R, in each direction."""
    sequence, inner, recurrent = (shapes[name] for name in node.input[:3])
    return math.prod(sequence[:2]) * (math.prod(inner) + math.prod(recurrent))


def _einsum(node: NodeProto, shapes: Shapes) -> int:
    """Every combination of the indices is one MAC."""
    terms = attribute(node, "equation", b"").decode().replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, name in zip(terms, node.input, strict=True):
        if "." in term:
            raise KeyError(name)
        sizes |= dict(zip(term, shapes[name], strict=True))
    return math.prod(sizes.values()) if len(terms) > 1 else 0


COUNTED: Mapping[str, Callable[[NodeProto, Shapes], int]] = {
    **dict.fromkeys(("Conv", "ConvInteger", "FusedConv", "QLinearConv"), _conv),
    **dict.fromkeys(("FusedMatMul", "Gemm", "MatMul", "MatMulInteger", "QLinearMatMul"), _matmul),
    **dict.fromkeys(("DynamicQuantizeLSTM", "GRU", "LSTM", "RNN"), _recurrent),
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
}
