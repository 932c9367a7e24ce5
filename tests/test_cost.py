"""MACs, parameters and bytes of a graph, against published figures and counts by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from builder.errors import ModelError
from builder.onnxtools.cost import QDQ, Cost, cost
from builder.onnxtools.files import load_graph
from builder.onnxtools.macs import macs
from builder.onnxtools.ran import ran
from builder.onnxtools.tensors import n_bytes, type_name

MODEL = Path(__file__).resolve().parents[1] / "conf/assets/fashion_mobilenet/model.onnx"
FLOAT = TensorProto.FLOAT


def weight(name: str, *shape: int) -> TensorProto:
    """Return a weight without its numbers, as one that lies in a file of its own."""
    return TensorProto(name=name, data_type=FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)


def model(nodes: list[Any], inputs: dict[str, list[Any]], outputs: list[str], weights: list[Any]) -> onnx.ModelProto:
    takes = [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()]
    gives = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "graph", takes, gives, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def resnet18() -> onnx.ModelProto:
    """ResNet-18 (He et al., 2015, table 1) with its batch normalizations folded into the convolutions."""
    nodes: list[Any] = []
    weights: list[Any] = []

    def conv(into: str, out: str, channels: int, filters: int, size: int, stride: int) -> str:
        weights.extend((weight(f"{out}.w", filters, channels, size, size), weight(f"{out}.b", filters)))
        around = [size // 2] * 4
        nodes.append(
            helper.make_node("Conv", [into, f"{out}.w", f"{out}.b"], [out], pads=around, strides=[stride, stride])
        )
        return out

    at = conv("image", "stem", 3, 64, 7, 2)
    nodes.append(helper.make_node("MaxPool", [at], ["pooled"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4))
    at, channels = "pooled", 64
    for stage, filters in enumerate((64, 128, 256, 512)):
        for block in range(2):
            name, stride = f"s{stage}b{block}", 2 if stage and not block else 1
            inner = conv(at, f"{name}.1", channels, filters, 3, stride)
            nodes.append(helper.make_node("Relu", [inner], [f"{name}.r"]))
            left = conv(f"{name}.r", f"{name}.2", filters, filters, 3, 1)
            right = at if stride == 1 else conv(at, f"{name}.d", channels, filters, 1, stride)
            nodes.append(helper.make_node("Add", [left, right], [name]))
            at, channels = name, filters
    nodes.append(helper.make_node("GlobalAveragePool", [at], ["mean"]))
    nodes.append(helper.make_node("Flatten", ["mean"], ["flat"]))
    weights.extend((weight("fc.w", 1000, 512), weight("fc.b", 1000)))
    nodes.append(helper.make_node("Gemm", ["flat", "fc.w", "fc.b"], ["logits"], transB=1))
    return model(nodes, {"image": ["batch", 3, 224, 224]}, ["logits"], weights)


def test_resnet_18_has_the_1_81_gmacs_and_11_7_million_parameters_that_torchvision_publishes() -> None:
    found = cost(resnet18(), {"image": [1, 3, 224, 224]})

    assert found.macs == {"fp32": 1_814_073_344}
    assert found.parameters == 11_689_512 - 2 * 4_800 + 4_800  # each normalization's two became one bias
    assert found.weight_bytes == 4 * found.parameters
    assert found.light == {"MaxPool": 1, "Relu": 8, "Add": 8, "GlobalAveragePool": 1, "Flatten": 1}
    assert not found.uncounted


def test_a_batch_takes_its_multiple_of_macs_and_no_more_parameters() -> None:
    one, four = (cost(resnet18(), {"image": [batch, 3, 224, 224]}) for batch in (1, 4))

    assert four.macs["fp32"] == 4 * one.macs["fp32"]
    assert four.parameters == one.parameters
    assert four.activation_bytes == 4 * (one.activation_bytes or 0)


def test_a_real_model_is_counted_as_it_is_independently_from_the_shapes_that_ran() -> None:
    graph = load_graph(MODEL, "model.onnx").graph
    sizes = {each.name: list(each.dims) for each in graph.initializer}
    runs = ran(MODEL, {"image": np.zeros((1, 1, 28, 28), np.float32)})
    by_hand = 0
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            (out,) = runs[node.name][-1].outputs
            by_hand += int(np.prod(out[1]) * np.prod(sizes[node.input[1]][1:]))

    found = cost(load_graph(MODEL, "model.onnx"), {"image": [1, 1, 28, 28]})

    assert found.macs == {"fp32": by_hand}
    assert found.parameters == sum(int(np.prod(shape)) for shape in sizes.values() if shape)
    scalars = sum(not shape for shape in sizes.values()) + 2 * found.light["Clip"]
    assert found.least_bytes == found.weight_bytes + 4 * (28 * 28 + 10 + scalars)


NODES: dict[str, tuple[Any, dict[str, list[Any]], list[Any], int]] = {
    "a grouped convolution": (
        helper.make_node("Conv", ["x", "w"], ["y"], group=4, pads=[1, 1, 1, 1]),
        {"x": [2, 8, 5, 5]},
        [weight("w", 12, 2, 3, 3)],
        2 * 12 * 25 * 2 * 9,
    ),
    "a transposed convolution": (
        helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]),
        {"x": [1, 8, 5, 5]},
        [weight("w", 8, 3, 2, 2)],
        8 * 25 * 3 * 4,
    ),
    "a batch of products": (helper.make_node("MatMul", ["x", "z"], ["y"]), {"x": [2, 3, 4], "z": [2, 4, 5]}, [], 120),
    "a transposed product": (
        helper.make_node("Gemm", ["x", "w"], ["y"], transA=1),
        {"x": [6, 3]},
        [weight("w", 6, 7)],
        3 * 6 * 7,
    ),
    "both directions of an LSTM": (
        helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=6, direction="bidirectional"),
        {"x": [10, 2, 5]},
        [weight("w", 2, 24, 5), weight("r", 2, 24, 6)],
        10 * 2 * 2 * 24 * (5 + 6),
    ),
    "an Einstein sum": (
        helper.make_node("Einsum", ["x", "z"], ["y"], equation="bij,bjk->bik"),
        {"x": [2, 3, 4], "z": [2, 4, 5]},
        [],
        120,
    ),
}


@pytest.mark.parametrize("what", NODES)
def test_an_operator_takes_the_macs_that_a_count_by_hand_gives(what: str) -> None:
    node, inputs, weights, expected = NODES[what]

    found = cost(model([node], inputs, ["y"], weights), inputs)

    assert found.macs == {"fp32": expected}
    assert not found.uncounted


def test_a_transposed_product_that_a_runtime_fused_is_counted_along_its_inner_dimension() -> None:
    node = helper.make_node("FusedMatMul", ["x", "z"], ["y"], transA=1, domain="com.microsoft")

    assert macs(node, {"x": (2, 6, 3), "z": (2, 6, 7), "y": (2, 3, 7)}) == 2 * 3 * 6 * 7


def quantized(weight_type: type = np.int8) -> onnx.ModelProto:
    """A convolution between Q/DQ pairs, as quantize makes it."""
    weights = [
        numpy_helper.from_array(np.array(0.1, np.float32), "s"),
        numpy_helper.from_array(np.array(0, np.uint8), "z"),
        numpy_helper.from_array(np.array(0, weight_type), "wz"),
        numpy_helper.from_array(np.ones((4, 2, 3, 3), weight_type), "wq"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["wq", "s", "wz"], ["wd"]),
        helper.make_node("Conv", ["xd", "wd"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "s", "z"], ["y"]),
    ]
    return model(nodes, {"x": [1, 2, 8, 8]}, ["y"], weights)


def test_operands_behind_a_dequantization_are_told_apart_and_move_a_byte_each() -> None:
    found = cost(quantized(), {"x": [1, 2, 8, 8]})

    assert found.macs == {QDQ: 4 * 36 * 2 * 9}
    assert (found.parameters, found.weight_bytes) == (72, 72)
    assert found.activation_bytes == 2 * 64 + 4 * 36


@pytest.fixture
def branching(tmp_path: Path) -> Path:
    """A model that multiplies in one branch only, once for each call."""
    left = helper.make_node("MatMul", ["x", "w"], ["a"], name="product")
    right = helper.make_node("Identity", ["x"], ["b"], name="nothing")
    branches = [
        helper.make_graph([node], "branch", [], [helper.make_tensor_value_info(node.output[0], FLOAT, [3, 4])])
        for node in (left, right)
    ]
    node = helper.make_node("If", ["condition"], ["y"], name="if", then_branch=branches[0], else_branch=branches[1])
    takes = [helper.make_tensor_value_info("x", FLOAT, [3, 4]), helper.make_tensor_value_info("condition", 9, [])]
    weights = [numpy_helper.from_array(np.ones((4, 4), np.float32), "w")]
    graph = helper.make_graph([node], "g", takes, [helper.make_tensor_value_info("y", FLOAT, [3, 4])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def counted(path: Path, feed: dict[str, Any], *, run: bool) -> Cost:
    shapes = {name: array.shape for name, array in feed.items()}
    return cost(load_graph(path, path.name), shapes, ran(path, feed) if run else None)


@pytest.mark.parametrize(("condition", "expected"), [(True, {"fp32": 3 * 4 * 4}), (False, {})])
def test_what_control_flow_runs_is_counted_in_a_run_and_not_guessed(
    branching: Path, condition: bool, expected: dict[str, int]
) -> None:
    feed = {"x": np.ones((3, 4), np.float32), "condition": np.array(condition)}

    assert counted(branching, feed, run=False).uncounted == ("If (with MatMul inside)",)
    found = counted(branching, feed, run=True)
    assert (found.macs, found.uncounted) == (expected, ())


@pytest.mark.parametrize("name", sorted({*TensorProto.DataType.keys()} - {"UNDEFINED", "STRING"}))
@pytest.mark.parametrize("count", [8, 3])
def test_a_tensor_has_the_bytes_that_onnx_stores_it_in(name: str, count: int) -> None:
    kind = TensorProto.DataType.Value(name)
    array = np.zeros(count, helper.tensor_dtype_to_np_dtype(kind))

    assert n_bytes(array.shape, type_name(kind)) == len(numpy_helper.from_array(array).raw_data)


def test_an_integer_product_is_int8() -> None:
    weights = [numpy_helper.from_array(np.ones((4, 5), np.int8), "w")]
    takes = [helper.make_tensor_value_info("x", TensorProto.UINT8, [3, 4])]
    gives = [helper.make_tensor_value_info("y", TensorProto.INT32, None)]
    graph = helper.make_graph([helper.make_node("MatMulInteger", ["x", "w"], ["y"])], "g", takes, gives, weights)

    found = cost(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), {"x": [3, 4]})

    assert found.macs == {"int8": 60}


def test_an_operator_that_may_multiply_and_is_not_known_is_named() -> None:
    nodes = [
        helper.make_node("TreeEnsembleRegressor", ["x"], ["t"], domain="ai.onnx.ml"),
        helper.make_node("Relu", ["x"], ["y"]),
    ]

    found = cost(model(nodes, {"x": [1, 4]}, ["t", "y"], []), {"x": [1, 4]})

    assert found.uncounted == ("ai.onnx.ml.TreeEnsembleRegressor",)
    assert found.light == {"Relu": 1}
    assert found.activation_bytes is None


def test_a_table_that_is_only_looked_up_is_a_parameter_and_does_not_pass_through_memory() -> None:
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"])]
    takes = [helper.make_tensor_value_info("x", TensorProto.INT64, [5])]
    gives = [helper.make_tensor_value_info("y", FLOAT, None)]
    graph = helper.make_graph(nodes, "g", takes, gives, [weight("table", 30_000, 8)])

    found = cost(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), {"x": [5]})

    assert (found.parameters, found.weight_bytes) == (240_000, 960_000)
    assert found.least_bytes == 5 * 8 + 5 * 8 * 4


def test_a_graph_that_does_not_run_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")

    with pytest.raises(ModelError, match="does not run the graph"):
        ran(tmp_path / "m.onnx", {})
