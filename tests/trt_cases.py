"""For each rule of TensorRT's parser the smallest graph that breaks it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

__all__ = ["CASES", "CONV", "KERNEL", "REFUSED_BY_PARSER", "model", "pair", "value"]


def value(name: str, content: Any, dtype: str = "float32") -> Any:
    return numpy_helper.from_array(np.array(content, dtype), name)


def model(nodes: list[tuple[Any, ...]], weights: list[Any]) -> Any:
    made = [helper.make_node(op, read, made, name=made[0], **dict(*more)) for op, read, made, *more in nodes]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2, 4, 4])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph(made, "g", [x], [y], [*weights, value("s", 0.1), value("z", 0, "int8")])
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("my.ops", 1)]
    return helper.make_model(graph, opset_imports=imports)


def pair(source: str, result: str, zero: str = "z", scale: str = "s", **more: Any) -> list[tuple[Any, ...]]:
    return [
        ("QuantizeLinear", [source, scale, zero], [result + "_q"], more),
        ("DequantizeLinear", [result + "_q", scale, zero], [result], more),
    ]


KERNEL = value("w", np.ones((2, 2, 1, 1)))
CONV = ("Conv", ["x", "w"], ["c"])
CASES: dict[str, tuple[list[tuple[Any, ...]], list[Any]]] = {
    "TRT001": (
        [("DequantizeLinear", ["b", "s"], ["bias"]), ("Conv", ["x", "w", "bias"], ["y"])],
        [KERNEL, value("b", [1, 2], "int32")],
    ),
    "TRT002": (pair("x", "y", zero="three"), [value("three", 3, "int8")]),
    "TRT003": (pair("x", "y", zero="u"), [value("u", 0, "uint8")]),
    "TRT004": (pair("x", "y", zero="i"), [value("i", 0, "int16")]),
    "TRT005": ([("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"]), ("Identity", ["x"], ["y"])], []),
    "TRT006": ([("Swirl", ["x"], ["y"], {"domain": "my.ops"})], []),
    "TRT007": ([CONV, *pair("c", "d"), ("Relu", ["d"], ["y"])], [KERNEL]),
    "TRT008": (pair("x", "y", "zs", "ss", axis=1), [value("ss", [0.1, 0.2]), value("zs", [0, 0], "int8")]),
}

# The others are ours alone: what the parser takes of them is computed otherwise, or slower.
REFUSED_BY_PARSER = ("TRT001", "TRT002", "TRT004", "TRT005", "TRT006")
