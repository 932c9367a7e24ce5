from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from builder.errors import ModelError, StepError
from builder.outcomes import Reproducible
from builder.runtimes.onnxruntime import Session
from builder.specs import Model
from builder.step import Job
from builder.steps.simplify import Options, simplify

FASHION = Path(__file__).parents[1] / "conf/assets/fashion_mobilenet/model.onnx"


def job(model: onnx.ModelProto | Path, folder: Path, spec: Model | None = None) -> Job:
    source = folder / "in"
    source.mkdir(parents=True)
    if isinstance(model, Path):
        shutil.copy(model, source / "model.onnx")
    else:
        onnx.save(model, source / "model.onnx")
    return Job(inputs={"model": source}, output=folder / "out", model=spec or Model("m"))


def wasteful(rows: int = 4) -> onnx.ModelProto:
    """y = x @ w + 0, with the zero and a reshape of w computed at each run."""
    nodes = [
        helper.make_node("Reshape", ["flat", "shape"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Sub", ["one", "one"], ["zero"]),
        helper.make_node("Add", ["a", "zero"], ["b"]),
        helper.make_node("Identity", ["b"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(np.arange(rows * 3, dtype=np.float32), "flat"),
        numpy_helper.from_array(np.array([rows, 3], np.int64), "shape"),
        numpy_helper.from_array(np.array(1, np.float32), "one"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", rows])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def nested_if() -> onnx.ModelProto:
    """A branch whose constant condition can be folded, holding another whose condition cannot."""
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])

    def branch(op: str, source: str, name: str) -> onnx.GraphProto:
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2])
        return helper.make_graph([helper.make_node(op, [source], [name])], name + "_graph", [], [value])

    result = helper.make_tensor_value_info("t", TensorProto.FLOAT, ["n", 2])
    inner = helper.make_node(
        "If", ["flag"], ["t"], then_branch=branch("Relu", "r", "p"), else_branch=branch("Neg", "r", "q")
    )
    then = helper.make_graph([helper.make_node("Exp", ["x"], ["r"]), inner], "then", [], [result])
    outer = helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=branch("Abs", "x", "e"))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph([outer], "g", [x, flag], [y], [numpy_helper.from_array(np.array(1, bool), "yes")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_real_model_loses_nodes_and_computes_the_same(tmp_path: Path) -> None:
    work = job(FASHION, tmp_path)

    facts = simplify.run(Options(), work).facts

    image = np.random.default_rng(1).random((2, 1, 28, 28), np.float32)
    before, after = (
        Session(p / "model.onnx").run({"image": image})[0] for p in (tmp_path / "in", work.folder("model"))
    )
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
    assert facts["nodes"] == "78 -> 48"
    assert facts["check"].startswith("3 made-up inputs, largest difference")


def test_bytes_are_equal_in_another_folder_and_hold_no_notes_of_the_tool(tmp_path: Path) -> None:
    digests = set()
    for name in ("a", "a folder with another name"):
        work = job(FASHION, tmp_path / name)
        simplify.run(Options(), work)
        written = work.folder("model") / "model.onnx"
        digests.add(hashlib.sha256(written.read_bytes()).hexdigest())
        assert b"onnxsim" not in written.read_bytes()
    assert len(digests) == 1


def test_constant_work_is_folded_unless_told_otherwise(tmp_path: Path) -> None:
    assert simplify.run(Options(), job(wasteful(), tmp_path / "a")).facts["nodes"] == "5 -> 1"
    kept = Options(fold_constants=False, skip_fusion=True)
    assert simplify.run(kept, job(wasteful(), tmp_path / "b")).facts["nodes"] == "5 -> 5"


def test_control_flow_inside_control_flow_survives(tmp_path: Path) -> None:
    work = job(nested_if(), tmp_path)

    simplify.run(Options(), work)

    feed = {"x": np.array([[1.0, -2.0]], np.float32), "flag": np.array(0, bool)}
    result = Session(work.folder("model") / "model.onnx").run(feed)[0]
    np.testing.assert_allclose(result, -np.exp(feed["x"]), rtol=1e-6)


def test_external_data_is_read(tmp_path: Path) -> None:
    work = job(wasteful(64), tmp_path)
    onnx.save_model(
        wasteful(64), tmp_path / "in/model.onnx", save_as_external_data=True, location="w.bin", size_threshold=100
    )

    simplify.run(Options(), work)

    x = np.eye(64, dtype=np.float32)
    result = Session(work.folder("model") / "model.onnx").run({"x": x})[0]
    np.testing.assert_array_equal(result, np.arange(192).reshape(64, 3))


def test_a_model_that_takes_no_made_up_input_is_simplified_and_said_to_be_unchecked(tmp_path: Path) -> None:
    model = wasteful()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "open"  # must be 4

    unchecked = simplify.run(Options(), job(model, tmp_path / "a"))
    checked = simplify.run(Options(), job(model, tmp_path / "b", Model("m", shapes={"x": [1, 4]})))

    assert unchecked.facts["check"].startswith("not run")
    assert checked.facts["check"].startswith("3 made-up")


@pytest.mark.parametrize("content", [b"", b"no model", FASHION.read_bytes()[:5000]])
def test_what_is_no_model_is_a_model_error(tmp_path: Path, content: bytes) -> None:
    work = job(wasteful(), tmp_path)
    (tmp_path / "in/model.onnx").write_bytes(content)

    with pytest.raises(ModelError, match=r"model\.onnx"):
        simplify.run(Options(), work)


def test_a_model_that_onnxsim_cannot_take_is_a_step_error(tmp_path: Path) -> None:
    model = wasteful()
    model.graph.node[1].input[0] = "ghost"

    with pytest.raises(StepError, match="onnxsim") as caught:
        simplify.run(Options(), job(model, tmp_path))
    assert "~steps.simplify" in caught.value.hint


def test_a_model_that_onnx_runtime_rejects_is_a_model_error(tmp_path: Path) -> None:
    model = wasteful()
    model.graph.node[1].op_type = "Matmul"

    with pytest.raises(ModelError, match="Matmul"):
        simplify.run(Options(), job(model, tmp_path))


def test_checks_cannot_be_negative() -> None:
    with pytest.raises(ValueError, match="checks is -1"):
        Options(checks=-1)


def test_what_is_folded_in_floating_point_belongs_to_one_kind_of_processor() -> None:
    assert simplify.reproducible is Reproducible.PER_CPU
