"""ONNX models on disk, and what is dropped before they get there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from builder.errors import ModelError
from builder.onnxtools.files import load, load_graph, save, size_bytes
from builder.onnxtools.graph import trim
from builder.onnxtools.opset import opset

SECRET = "/home/somebody/train.py"


def product(size: int = 8) -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.arange(size * size, dtype=np.float32).reshape(size, size), "w")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_model_saved_twice_is_the_same_as_saved_once(tmp_path: Path) -> None:
    save(product(32), tmp_path, limit=0)
    once = size_bytes(tmp_path)
    save(product(32), tmp_path, limit=0)

    assert size_bytes(tmp_path) == once > 4096
    assert numpy_helper.to_array(load(tmp_path).graph.initializer[0])[31, 31] == 32 * 32 - 1


def test_weights_that_lay_beside_a_model_go_when_it_holds_its_own(tmp_path: Path) -> None:
    save(product(32), tmp_path, limit=0)
    save(product(32), tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_notes_of_the_exporter_are_dropped_everywhere() -> None:
    def noted(thing: Any) -> Any:
        thing.doc_string = SECRET
        thing.metadata_props.add(key="pkg.torch.onnx.stack_trace", value=SECRET)
        return thing

    result = helper.make_tensor_value_info("t", TensorProto.FLOAT, None)
    branch = noted(helper.make_graph([noted(helper.make_node("Relu", ["y"], ["t"]))], "b", [], [result]))
    model = noted(product())
    model.graph.initializer.append(numpy_helper.from_array(np.array(1, bool), "yes"))
    model.graph.node.append(noted(helper.make_node("If", ["yes"], ["z"], then_branch=branch, else_branch=branch)))
    noted(model.graph).output[0].name = "z"

    trim(model)

    assert [node.op_type for node in model.graph.node] == ["MatMul", "If"]
    assert SECRET.encode() not in model.SerializeToString()


def test_the_opset_is_the_highest_of_the_standard_operators() -> None:
    model = product()
    assert opset(model) == 17
    model.opset_import.extend([helper.make_opsetid("ai.onnx", 19), helper.make_opsetid("my.ops", 99)])
    assert opset(model) == 19
    del model.opset_import[:]
    assert opset(model) == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"hello", "mine is no ONNX model"), (b"", "mine holds no graph"), (None, "cannot read mine: No such file")],
)
def test_a_file_that_is_no_model_is_called_as_the_user_calls_it(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / "m.onnx").write_bytes(content)

    with pytest.raises(ModelError, match=says):
        load_graph(tmp_path / "m.onnx", "mine")
