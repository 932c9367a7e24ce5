"""Which ONNX operators and opsets TensorRT's parser takes, by version, and which operators run on a DLA.

Sources: onnx-tensorrt, docs/operators.md of its releases 8.5 and 10.15 and docs/Changelog.md between them;
"ONNX Opset Guide" of TensorRT 11 (docs.nvidia.com); for TensorRT-RTX its parser 1.7.1, asked operator by operator.
"""

from __future__ import annotations

import re

__all__ = ["DLA", "NEAREST", "bounds", "in_rtx", "max_opset", "since"]

Version = tuple[int, int]

_OF_8_5 = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu Clip Concat
Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout Einsum Elu
Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gemm GlobalAveragePool GlobalLpPool
GlobalMaxPool Greater GreaterOrEqual GridSample GRU HardSwish HardSigmoid Identity If ImageScaler
InstanceNormalization IsNaN LeakyRelu Less LessOrEqual Log LogSoftmax Loop LRN LSTM LpNormalization LpPool MatMul
Max MaxPool Mean MeanVarianceNormalization Min Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or Pad
ParametricSoftplus Pow PRelu QuantizeLinear RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range
Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare Relu Reshape Resize ReverseSequence RNN RoiAlign Round ScaledTanh Scan Scatter ScatterElements
ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt
Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
"""
_FIRST = frozenset(_OF_8_5.split())
_LATER: dict[str, Version] = {
    **dict.fromkeys(("GroupNormalization", "IsInf", "LayerNormalization"), (8, 6)),
    "Hardmax": (9, 2),
    "DeformConv": (10, 1),
    **dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow"), (10, 4)),
    "STFT": (10, 5),
    "Attention": (10, 14),
    **dict.fromkeys(("RMSNormalization", "RotaryEmbedding", "TensorScatter"), (10, 15)),
    # In the list of 10.15, not in that of 8.5, and in no entry of the changelog between: taken for as old as 10.0.
    **dict.fromkeys(("CastLike", "Gelu", "Mish"), (10, 0)),
}
_RTX = frozenset({"LinearAttention", "Swish"})  # beyond those of TensorRT 10.15
_NOT_RTX = frozenset({"DeformConv"})  # a plugin of TensorRT's own
_OPSETS: tuple[tuple[Version, int], ...] = (((8, 5), 17), ((10, 0), 20), ((10, 15), 24), ((11, 0), 25))

# What an operator that is missing can be written with, and so exported or replaced by.
NEAREST = {
    "BitShift": "Mul with a power of two",
    "Compress": "Where",
    "Gelu": "Erf, Mul and Add (opset 19 and below)",
    "GroupNormalization": "Reshape and InstanceNormalization (opset 17 and below)",
    "Hardmax": "ArgMax and OneHot",
    "IsInf": "Abs and Equal",
    "LayerNormalization": "ReduceMean, Sub, Pow and Sqrt (opset 16 and below)",
    "MaxUnpool": "Resize or ConvTranspose",
    "MaxRoiPool": "RoiAlign",
    "Mish": "Softplus, Tanh and Mul (opset 17 and below)",
    "RMSNormalization": "ReduceMean, Pow, Sqrt and Mul (opset 22 and below)",
    "STFT": "Conv with the window's sines and cosines",
    "DFT": "MatMul with the sines and cosines",
    "Swish": "Sigmoid and Mul (opset 23 and below)",
}

# Source: TensorRT Developer Guide, "Working with DLA", "DLA Supported Layers and Restrictions", in ONNX's words.
_DLA = """
Abs Add Atan AveragePool BatchNormalization Clip Concat Conv ConvTranspose Cos DequantizeLinear Div Equal Flatten
Gemm GlobalAveragePool GlobalMaxPool Greater Identity LRN LeakyRelu Less MatMul Max MaxPool Min Mul Neg PRelu Pow
QuantizeLinear ReduceMax ReduceMean Relu Reshape Resize Sigmoid Sin Slice Softmax Split Squeeze Sub Sum Tanh
Transpose Unsqueeze
"""
DLA = frozenset(_DLA.split())


def since(operator: str) -> Version | None:
    """Return the first version of TensorRT, from 8.5 on, whose parser takes an operator of ONNX's own; None: none."""
    return (8, 5) if operator in _FIRST else _LATER.get(operator)


def in_rtx(operator: str) -> bool:
    """Return whether the parser of TensorRT-RTX takes an operator of ONNX's own."""
    return operator in _RTX or (since(operator) is not None and operator not in _NOT_RTX)


def max_opset(version: Version) -> int:
    """Return the newest opset that the documents of a version of TensorRT name."""
    return max(opset for first, opset in _OPSETS if first <= max(version, (8, 5)))


def bounds(limits: str) -> tuple[Version, Version]:
    """Return the oldest and the newest version within limits such as '>=10.3,<12'; with none, of all there are."""
    oldest, newest = (8, 5), (99, 0)
    for sign, major, minor in re.findall(r"(>=|<=|==|>|<)\s*(\d+)(?:\.(\d+))?", limits):
        version = (int(major), int(minor or 0))
        if sign in (">=", ">", "=="):
            oldest = max(oldest, version)
        if sign in ("<=", "=="):
            newest = min(newest, version)
        elif sign == "<":
            newest = min(newest, (version[0], version[1] - 1) if version[1] else (version[0] - 1, 99))
    return oldest, newest
