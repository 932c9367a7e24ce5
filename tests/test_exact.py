"""Exact arithmetic computes what ONNX Runtime computes, to float32's precision, whatever the order of its sums."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from projects import Project

from builder.errors import ModelError
from builder.onnxtools import exact
from builder.onnxtools.exact_session import ExactSession
from builder.runtimes.onnxruntime import Session

RANDOM = np.random.default_rng(0)


def model(path: Path, op: str, shape: list[int], constants: list[Any], **attributes: Any) -> Path:
    """Write a model of one node whose first input is x and whose others are constants."""
    names = [f"c{i}" for i in range(len(constants))]
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *names], ["y"], **attributes)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in zip(names, constants, strict=True)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), str(path))
    return path


def normal(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


IMAGE = [2, 6, 13, 11]
CASES = [
    ("Conv", IMAGE, [normal(8, 6, 3, 3), normal(8)], {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("Conv", IMAGE, [normal(6, 1, 3, 3)], {"group": 6, "dilations": [2, 2]}),
    ("Conv", IMAGE, [normal(9, 2, 3, 2)], {"group": 3, "auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    ("Conv", IMAGE, [normal(4, 6, 2, 2)], {"auto_pad": "SAME_LOWER"}),
    ("Conv", [1, 4, 50], [normal(3, 4, 5), normal(3)], {"pads": [3, 1]}),
    ("Conv", [1, 2, 5, 6, 7], [normal(3, 2, 3, 3, 3)], {}),
    ("Gemm", [5, 7], [normal(3, 7), normal(3)], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", [7, 5], [normal(7, 3)], {"transA": 1}),
    ("MatMul", [2, 3, 5, 64], [normal(64, 9)], {}),
    ("MaxPool", IMAGE, [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", IMAGE, [], {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [1, 1, 0, 1], "dilations": [2, 1]}),
    ("AveragePool", IMAGE, [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("AveragePool", IMAGE, [], {"kernel_shape": [3, 3], "pads": [1, 0, 1, 1], "count_include_pad": 1}),
    ("AveragePool", IMAGE, [], {"kernel_shape": [3, 3], "strides": [3, 2], "auto_pad": "SAME_UPPER"}),
    ("AveragePool", IMAGE, [], {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("GlobalAveragePool", IMAGE, [], {}),
    ("ReduceMean", IMAGE, [np.array([2, -1])], {"keepdims": 0}),
    ("ReduceSum", IMAGE, [np.array([1])], {}),
    ("Softmax", IMAGE, [], {"axis": 1}),
    ("LayerNormalization", [2, 5, 16], [normal(16), normal(16)], {"epsilon": 1e-6}),
    ("Gelu", IMAGE, [], {}),
    ("Gelu", IMAGE, [], {"approximate": "tanh"}),
    ("Pow", IMAGE, [np.float32(2)], {}),
    ("HardSwish", IMAGE, [], {}),
    ("HardSigmoid", IMAGE, [], {"alpha": 0.3}),
    ("BatchNormalization", IMAGE, [normal(6), normal(6), normal(6), normal(6) ** 2], {}),
    ("LeakyRelu", IMAGE, [], {"alpha": 0.1}),
    ("PRelu", IMAGE, [normal(6, 1, 1)], {}),
    ("Clip", IMAGE, [np.float32(-0.5), np.float32(6)], {}),
    *((op, IMAGE, [], {}) for op in ("Exp", "Sigmoid", "Tanh", "Erf", "Relu", "Abs", "Floor", "Identity")),
]


@pytest.mark.parametrize(("op", "shape", "constants", "attributes"), CASES)
def test_an_operator_computes_what_onnx_runtime_computes(
    tmp_path: Path, op: str, shape: list[int], constants: list[Any], attributes: dict[str, Any]
) -> None:
    path = model(tmp_path / "model.onnx", op, shape, constants, **attributes)
    feed = {"x": 3 * normal(*shape)}
    (ours,), (theirs,) = ExactSession(path).run(feed), Session(path).run(feed)

    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 2e-6 * max(1.0, np.abs(theirs).max())


def test_an_operator_that_nobody_looked_at_is_refused(tmp_path: Path) -> None:
    path = model(tmp_path / "model.onnx", "Sin", IMAGE, [])
    with pytest.raises(ModelError, match="no exact arithmetic for Sin") as caught:
        ExactSession(path)
    assert caught.value.hint == "set steps.quantize.calibration.kernels=onnxruntime"


@pytest.mark.parametrize("length", [1, 2, 127, 8192, 100_000])
def test_a_product_does_not_depend_on_the_order_of_its_terms(length: int) -> None:
    a, b = 100 * normal(4, length), normal(length, 3)
    order = RANDOM.permutation(length)
    product = exact.matmul(a, b)

    assert product.tobytes() == exact.matmul(a[:, order], b[order]).tobytes()
    assert np.abs(product - a.astype(np.float64) @ b).max() <= 1e-4 * np.abs(product).max()


def test_a_sum_does_not_depend_on_the_order_of_its_terms() -> None:
    x = RANDOM.standard_normal(50_000) * 10.0 ** RANDOM.integers(-6, 6, 50_000)
    assert exact.total(x, (0,)).tobytes() == exact.total(x[::-1], (0,)).tobytes()
    assert exact.total(x, (0,))[0] == pytest.approx(math.fsum(x), rel=1e-9)


def test_exp_and_log_are_those_of_mathematics() -> None:
    x = np.concatenate([np.linspace(-744, 709, 5001), [0.0, -np.inf, 1e-300]])
    assert np.allclose(exact.exp(x), np.exp(x), rtol=2e-15, atol=5e-324)
    y = np.concatenate([np.logspace(-300, 300, 5001), [1.0, 0.9999999, 1.0000001]])
    assert np.allclose(exact.log(y), np.log(y), rtol=1e-14, atol=0)


def test_exact_calibration_finds_the_ranges_of_onnx_runtime_and_says_that_its_bytes_are_equal_everywhere(
    small: Project,
) -> None:
    found = {}
    for kernels, reproducible in (("exact", "bitwise"), ("onnxruntime", "per_cpu")):
        words = ("recipe=small", "steps=[quantize]", f"steps.quantize.calibration.kernels={kernels}", "output=json")
        manifest = json.loads(small.run(*words).stdout)
        action = next(action for action in manifest["actions"] if action["name"] == "quantize")
        assert action["reproducible"] == reproducible
        model = onnx.load(small.folder / "outputs" / "small" / "latest" / manifest["artifacts"][0]["path"])
        tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        found[kernels] = {name: value for name, value in tensors.items() if name.endswith("_scale")}
    assert found["exact"].keys() == found["onnxruntime"].keys()
    assert len(found["exact"]) >= 10
    for name, scale in found["exact"].items():
        assert np.allclose(scale, found["onnxruntime"][name], rtol=2e-5, atol=0)
