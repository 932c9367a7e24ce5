"""Names of an exported model's inputs and outputs, whatever its other tensors are called."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper

from builder.errors import ModelError
from builder.sources.exported import name_ports


def a_model() -> ModelProto:
    """Make (x + y) * 2 if x + y > 0, else 0, on scalars; a graph inside a node sees the tensor `scores`."""
    branch = [
        helper.make_graph(
            [helper.make_node(kind, ["scores", "scores"], [f"{kind}_out"])],
            kind,
            [],
            [helper.make_tensor_value_info(f"{kind}_out", TensorProto.FLOAT, [])],
        )
        for kind in ("Add", "Sub")
    ]
    nodes = [
        helper.make_node("Add", ["x", "y"], ["scores"]),
        helper.make_node("Sub", ["x", "x"], ["zero"]),
        helper.make_node("Greater", ["scores", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["last"], then_branch=branch[0], else_branch=branch[1]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in ("x", "y")]
    output = helper.make_tensor_value_info("last", TensorProto.FLOAT, [])
    graph = helper.make_graph(nodes, "g", inputs, [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model: ModelProto, **feed: float) -> dict[str, float]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {name: np.array(value, np.float32) for name, value in feed.items()})
    return {port.name: float(value) for port, value in zip(session.get_outputs(), found, strict=True)}


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (["a", "b"], ["scores"]),  # another tensor is called so, and graphs inside see it
        (["y", "x"], ["Add_out"]),  # names change places; one inside a graph inside gives way
        (["zero", "scores_inner"], ["scores"]),
        (["last", "b"], []),  # the output gives way where it has no name of its own
    ],
)
def test_names_may_be_any_that_other_tensors_have(inputs: list[str], outputs: list[str]) -> None:
    model = a_model()

    names = name_ports(model, inputs, outputs)

    assert names == (outputs or ["last_"])
    for first, second, wanted in ((1.0, 2.0, 6.0), (1.0, -2.0, 0.0)):
        assert run(model, **{inputs[0]: first, inputs[1]: second}) == {names[0]: wanted}


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (["a"], [], "model.inputs names 1, and the exported model has 2: x, y"),
        (["a", "b"], ["c", "d"], "model.outputs names 2, and the exported model has 1: last"),
        (["a", "b"], ["b"], "give two tensors the same name"),
    ],
)
def test_names_that_do_not_fit_are_refused(inputs: list[str], outputs: list[str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        name_ports(a_model(), inputs, outputs)
