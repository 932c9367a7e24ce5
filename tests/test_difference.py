"""Where two files differ in bytes, and where two ONNX models differ in what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from projects import small_model

from builder.errors import ModelError
from builder.onnxtools import bytewise
from builder.onnxtools.bytewise import ByteDifference, byte_difference
from builder.onnxtools.difference import onnx_differences


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40), st.binary(max_size=40), st.booleans())
def test_bytes_are_compared_offset_by_offset(
    tmp_path_factory: pytest.TempPathFactory, first: bytes, second: bytes, shared: bool
) -> None:
    if shared:
        second = first + second
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "first").write_bytes(first)
    (folder / "second").write_bytes(second)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bytewise, "_CHUNK", 7)  # so that differences lie in several pieces
        found = byte_difference(folder / "first", folder / "second")

    longest = range(max(len(first), len(second)))
    offsets = [at for at in longest if first[at : at + 1] != second[at : at + 1]]
    expected = ByteDifference(offsets[0], len(offsets), (len(first), len(second))) if offsets else None
    assert found == expected


def weight(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def change_weight(model: onnx.ModelProto) -> None:
    values = numpy_helper.to_array(weight(model, "b1")).copy()
    values[[2, 5]] += np.float32(0.5)
    weight(model, "b1").CopyFrom(numpy_helper.from_array(values, "b1"))


def store_otherwise(model: onnx.ModelProto) -> None:
    tensor = weight(model, "b3")
    tensor.float_data.extend(numpy_helper.to_array(tensor).tolist())
    tensor.ClearField("raw_data")


def grow_weight(model: onnx.ModelProto) -> None:
    weight(model, "b1").CopyFrom(numpy_helper.from_array(np.zeros(9, np.float64), "b1"))


def change_attribute(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute[1].CopyFrom(helper.make_attribute("pads", [0, 0, 0, 0]))
    model.graph.node[0].attribute.append(helper.make_attribute("group", 1))


def rewire(model: onnx.ModelProto) -> None:
    model.graph.node[2].input[0] = "c1"
    model.graph.node[2].op_type = "Neg"


def reorder(model: onnx.ModelProto) -> None:
    last, before = model.graph.node.pop(), model.graph.node.pop()
    model.graph.node.extend([last, before])


def drop_a_node(model: onnx.ModelProto) -> None:
    del model.graph.node[2]
    model.graph.node.append(helper.make_node("Neg", ["scores"], ["negative"]))


def change_the_ends(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3
    model.graph.output[0].name = "logits"


def change_versions(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 18
    model.producer_name = "another"
    model.metadata_props.add(key="author", value="me")


def change_nothing(model: onnx.ModelProto) -> None:
    del model


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (change_nothing, []),
        (change_weight, ["initializer b1: 2 of 8 values differ, by at most 0.5"]),
        (store_otherwise, ["initializer b3: the same values, stored otherwise"]),
        (grow_weight, ["initializer b1: float[8] -> double[9]"]),
        (change_attribute, ["node conv1: group only in the second; pads [1, 1, 1, 1] -> [0, 0, 0, 0]"]),
        (rewire, ["node nothing: input ['r1'] -> ['c1']; op_type Identity -> Neg"]),
        (reorder, ["node classifier: stands where flatten did"]),
        (drop_a_node, ["node nothing: only in the first", "node Neg of negative: only in the second"]),
        (
            change_the_ends,
            [
                "input image: FLOAT, batchx1x8x8 -> FLOAT, batchx3x8x8",
                "output scores: only in the first",
                "output logits: only in the second",
            ],
        ),
        (
            change_versions,
            ["opset ai.onnx: 17 -> 18", "model producer_name: nothing -> another", "model metadata_props: differs"],
        ),
    ],
)
def test_models_are_compared_by_the_names_in_them(
    tmp_path: Path, edit: Callable[[onnx.ModelProto], None], says: list[str]
) -> None:
    first = small_model(tmp_path / "first.onnx")
    model = onnx.load(first)
    edit(model)
    onnx.save(model, str(tmp_path / "second.onnx"))

    assert [str(change) for change in onnx_differences(first, tmp_path / "second.onnx")] == says


def test_weights_beside_the_models_are_compared_too(tmp_path: Path) -> None:
    first = small_model(tmp_path / "first/model.onnx", external="weights")
    second = small_model(tmp_path / "second/model.onnx", external="weights")
    content = bytearray((second.parent / "weights").read_bytes())
    entry = next(each for each in weight(onnx.load(second, load_external_data=False), "w1").external_data)
    assert (entry.key, entry.value) == ("location", "weights")
    content[3] ^= 0x80  # the sign of a float32
    (second.parent / "weights").write_bytes(content)

    assert first.read_bytes() == second.read_bytes()
    (change,) = onnx_differences(first, second)
    assert (change.part, change.name) == ("initializer", "w1")
    assert change.what.startswith("1 of 72 values differ, by at most ")


def branching(path: Path, value: float) -> Path:
    """Write a model with a constant inside the branch of an If, and a NaN beside it."""
    out = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])

    def branch(name: str, values: list[float]) -> onnx.GraphProto:
        constant = helper.make_node(
            "Constant", [], [name], f"make_{name}", value=helper.make_tensor(name, 1, [len(values)], values)
        )
        return helper.make_graph([constant], name, [], [helper.make_tensor_value_info(name, 1, [len(values)])])

    node = helper.make_node(
        "If", ["c"], ["y"], "choose", then_branch=branch("a", [value]), else_branch=branch("b", [float("nan")])
    )
    condition = helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, [])
    graph = helper.make_graph([node], "branching", [condition], [out])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    return path


def test_what_differs_inside_a_branch_is_named_and_a_nan_equals_itself(tmp_path: Path) -> None:
    first, second = branching(tmp_path / "a.onnx", 1.0), branching(tmp_path / "b.onnx", 1.25)

    assert onnx_differences(first, first) == []
    assert [str(change) for change in onnx_differences(first, second)] == [
        "node choose: then_branch inside: node make_a: value 1 of 1 values differ, by at most 0.25"
    ]


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    first = small_model(tmp_path / "first.onnx")
    (tmp_path / "second.onnx").write_bytes(b"garbage")

    with pytest.raises(ModelError, match="second.onnx is no ONNX model"):
        onnx_differences(first, tmp_path / "second.onnx")
