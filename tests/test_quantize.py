from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from builder.errors import DataError, ModelError, StepError
from builder.onnxtools.calibration import Method, Observer
from builder.onnxtools.trt_rules import check
from builder.runtimes.onnxruntime import Session
from builder.specs import Data, DType, Layout, Model, Preprocess, Reader, Split
from builder.step import Job
from builder.steps.quantize import Calibration, Exclude, Mode, Options, Style, quantize

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "conf/assets"
FASHION = Data(
    "fashion_mnist",
    Reader.IDX,
    root=str(ASSETS / "fashion_mnist"),
    splits={"calibration": Split("calibration-images-idx3-ubyte.gz", "calibration-labels-idx1-ubyte.gz")},
    preprocess=Preprocess(scale=1 / 255, mean=[0.5], std=[0.5], layout=Layout.NCHW),
)
TENSORRT = {"style": Style.TENSORRT}


def weight(name: str, *shape: int, dtype: str = "float32") -> onnx.TensorProto:
    seed = int.from_bytes(name.encode()[:4], "big")
    return numpy_helper.from_array((np.random.default_rng(seed).standard_normal(shape) * 0.3).astype(dtype), name)


def build(nodes: list[Any], weights: list[Any], shape: list[Any], outputs: dict[str, list[Any]], **more: Any) -> Any:
    kind = more.pop("kind", TensorProto.FLOAT)
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    if more.pop("weights_are_inputs", False):
        inputs += [helper.make_tensor_value_info(w.name, w.data_type, list(w.dims)) for w in weights]
    returned = [helper.make_tensor_value_info(name, kind, dims) for name, dims in outputs.items()]
    graph = helper.make_graph([helper.make_node(*n[:3], **n[3]) for n in nodes], "g", inputs, returned, weights)
    imports = [helper.make_opsetid("", more.pop("opset", 17))]
    return helper.make_model(graph, opset_imports=imports, ir_version=more.pop("ir", 8))


def residual(dtype: str = "float32", **more: Any) -> Any:
    """Conv, Relu, Conv, residual Add, pooling, Gemm."""
    nodes = [
        ("Conv", ["x", "w1", "b1"], ["a"], {"name": "stem", "pads": [1] * 4}),
        ("Relu", ["a"], ["r"], {"name": "relu"}),
        ("Conv", ["r", "w2"], ["c"], {"name": "body/conv", "pads": [1] * 4}),
        ("Add", ["c", "r"], ["s"], {"name": "body/add"}),
        ("GlobalAveragePool", ["s"], ["p"], {}),
        ("Flatten", ["p"], ["f"], {}),
        ("Gemm", ["f", "g", "gb"], ["y"], {"name": "head", "transB": 1}),
    ]
    shapes = {"w1": (4, 3, 3, 3), "b1": (4,), "w2": (4, 4, 3, 3), "g": (5, 4), "gb": (5,)}
    weights = [weight(name, *shape, dtype=dtype) for name, shape in shapes.items()]
    return build(nodes, weights, ["n", 3, 8, 8], {"y": ["n", 5]}, **more)


def two_gemms() -> Any:
    """Two Gemms that read one weight, once transposed; and an output in the middle, read by a Relu."""
    nodes = [
        ("Gemm", ["x", "w"], ["y"], {}),
        ("Relu", ["y"], ["r"], {}),
        ("Gemm", ["r", "w"], ["z"], {"transB": 1}),
    ]
    return build(nodes, [weight("w", 8, 8)], ["n", 8], {"y": ["n", 8], "z": ["n", 8]})


def make_job(model: Any, folder: Path, *, samples: int = 16, dtype: str = "float32", **more: Any) -> Job:
    (folder / "in").mkdir(parents=True)
    onnx.checker.check_model(model)
    onnx.save(model, folder / "in/model.onnx")
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    np.save(folder / "calibration.npy", np.random.default_rng(0).standard_normal((samples, *shape)).astype(dtype))
    splits = {"calibration": Split("calibration.npy")}
    data = Data("d", Reader.NPZ, root=str(folder), splits=splits, preprocess=Preprocess(dtype=DType(dtype)))
    return Job(inputs={"model": folder / "in"}, output=folder / "out", model=Model("m"), data=data, **more)


def options(**more: Any) -> Options:
    return Options(**{"calibration": Calibration(samples=16), **more})


def outputs(folder: Path, x: Any) -> list[Any]:
    return [np.asarray(y, np.float64) for y in Session(folder / "model.onnx").run({"x": x})]


def snr_db(work: Job) -> list[float]:
    x = np.load(work.inputs["model"].parent / "calibration.npy")
    pairs = zip(outputs(work.inputs["model"], x), outputs(work.folder("model"), x), strict=True)
    return [10 * np.log10((a**2).sum() / ((a - b) ** 2).sum()) for a, b in pairs]


def result(work: Job) -> Any:
    return onnx.load(work.folder("model") / "model.onnx")


MODES = [TENSORRT, {"style": Style.ONNXRUNTIME}, {"mode": Mode.DYNAMIC}]


@pytest.mark.parametrize("mode", MODES, ids=["tensorrt", "onnxruntime", "dynamic"])
@pytest.mark.parametrize("opset", [9, 11, 13, 18, 22])
def test_every_opset_is_quantized_and_raised_where_needed(tmp_path: Path, opset: int, mode: dict[str, Any]) -> None:
    old = opset == 9  # IR version 3 lists weights among the inputs
    work = make_job(residual(opset=opset, ir=3 if old else 8, weights_are_inputs=old), tmp_path)

    facts = quantize.run(options(**mode), work).facts

    onnx.checker.check_model(result(work), full_check=True)
    assert [value.name for value in result(work).graph.input] == ["x"]
    assert facts.get("opset") == (f"{opset} -> 13" if opset < 13 else None)
    assert min(snr_db(work)) > 30
    assert sorted(p.name for p in work.output.iterdir()) == ["model"]


def test_tensorrt_style_is_what_its_parser_takes(tmp_path: Path) -> None:
    work = make_job(residual(), tmp_path)

    facts = quantize.run(options(**TENSORRT), work).facts

    model = result(work)
    weights = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    readers = {node.name: [makers.get(name) for name in node.input] for node in model.graph.node}
    pairs = [node for node in model.graph.node if node.op_type.endswith("QuantizeLinear")]
    assert check(model) == []
    assert facts["nodes"] == "Conv 2, Add 1, Gemm 1, GlobalAveragePool 1"
    assert all(weights[node.input[2]].dtype == np.int8 and not weights[node.input[2]].any() for node in pairs)
    assert {w.dtype for name, w in weights.items() if name in {"b1", "gb"}} == {np.dtype("float32")}
    convolution, skip = readers["body/add"]
    assert convolution is not None
    assert convolution.op_type == "Conv"
    assert skip is not None
    assert skip.op_type == "DequantizeLinear"
    for name, channels in (("stem", 4), ("body/conv", 4), ("head", 5)):
        dequantize = readers[name][1]
        assert dequantize is not None
        assert weights[dequantize.input[1]].shape == (channels,)
        assert weights[dequantize.input[0]].dtype == np.int8


@pytest.mark.parametrize("trans", [0, 1])
def test_the_scales_of_a_gemm_follow_its_output_channels(tmp_path: Path, trans: int) -> None:
    shape = (6, 8) if trans else (8, 6)
    nodes = [("Gemm", ["x", "w"], ["y"], {"transB": trans})]
    work = make_job(build(nodes, [weight("w", *shape)], ["n", 8], {"y": ["n", 6]}), tmp_path)

    quantize.run(options(**TENSORRT), work)

    assert [w.dims[0] for w in result(work).graph.initializer if w.name == "w_scale"] == [6]
    assert snr_db(work)[0] > 35


@pytest.mark.parametrize("mode", MODES, ids=["tensorrt", "onnxruntime", "dynamic"])
def test_a_shared_weight_and_an_output_in_the_middle_keep_their_values(tmp_path: Path, mode: dict[str, Any]) -> None:
    work = make_job(two_gemms(), tmp_path)

    quantize.run(options(**mode), work)

    assert min(snr_db(work)) > 30


@pytest.mark.parametrize("style", list(Style))
@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
def test_float16_is_quantized_in_opset_19(tmp_path: Path, style: Style) -> None:
    work = make_job(residual("float16", kind=TensorProto.FLOAT16), tmp_path, dtype="float16")

    assert quantize.run(options(style=style), work).facts["opset"] == "17 -> 19"
    assert snr_db(work)[0] > 30
    with pytest.raises(StepError, match="float32"):
        quantize.run(options(mode=Mode.DYNAMIC), work)


def test_a_fixed_batch_and_weights_in_constant_nodes_work(tmp_path: Path) -> None:
    nodes = [("Constant", [], ["w"], {"value": weight("w", 8, 4)}), ("MatMul", ["x", "w"], ["y"], {})]
    work = make_job(build(nodes, [], [4, 8], {"y": [4, 4]}), tmp_path)

    quantize.run(options(**TENSORRT), work)

    assert "w_quantized" in {w.name for w in result(work).graph.initializer}


def test_per_tensor_has_one_scale(tmp_path: Path) -> None:
    work = make_job(residual(), tmp_path)
    quantize.run(options(per_channel=False, **TENSORRT), work)
    assert all(w.dims == [] for w in result(work).graph.initializer if w.name.endswith("_scale"))


def test_all_three_ways_of_exclusion_leave_nodes_in_float(tmp_path: Path) -> None:
    excluded = Exclude(names=["stem"], patterns=["body/*"], op_types=["GlobalAveragePool"])
    work = make_job(residual(), tmp_path)

    facts = quantize.run(options(exclude=excluded, **TENSORRT), work).facts

    assert facts["nodes"] == "Gemm 1"
    assert {"w1", "w2"} <= {w.name for w in result(work).graph.initializer}


def test_dynamic_quantization_leaves_excluded_nodes_alone(tmp_path: Path) -> None:
    work = make_job(residual(), tmp_path)
    facts = quantize.run(options(mode=Mode.DYNAMIC, exclude=Exclude(names=["head"])), work).facts
    assert facts["nodes"] == "Conv 2"


@pytest.mark.parametrize(
    ("exclude", "hint"),
    [
        (Exclude(names=["sten"]), "did you mean 'stem'?"),
        (Exclude(patterns=["bodi/*"]), "such as"),
        (Exclude(op_types=["Gem"]), "did you mean 'Gemm'?"),
    ],
)
def test_an_exclusion_that_matches_nothing_is_an_error(tmp_path: Path, exclude: Exclude, hint: str) -> None:
    with pytest.raises(StepError, match="exclude") as caught:
        quantize.run(options(exclude=exclude), make_job(residual(), tmp_path))
    assert hint in caught.value.hint


def test_a_model_that_is_quantized_already_is_refused(tmp_path: Path) -> None:
    first = make_job(residual(), tmp_path / "a")
    quantize.run(options(), first)

    with pytest.raises(StepError, match="quantized already"):
        quantize.run(options(), make_job(result(first), tmp_path / "b"))


@pytest.mark.parametrize("mode", MODES, ids=["tensorrt", "onnxruntime", "dynamic"])
def test_a_model_with_nothing_to_quantize_is_refused(tmp_path: Path, mode: dict[str, Any]) -> None:
    model = build([("Exp", ["x"], ["y"], {})], [], ["n", 4], {"y": ["n", 4]})
    with pytest.raises(StepError, match=r"nothing can be quantized.*Exp"):
        quantize.run(options(**mode), make_job(model, tmp_path))


def test_too_few_samples_are_refused_with_the_number_there_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 5 samples, and 16 are asked") as caught:
        quantize.run(options(), make_job(residual(), tmp_path, samples=5))
    assert "samples=5" in caught.value.hint


def test_static_quantization_without_data_is_refused(tmp_path: Path) -> None:
    work = make_job(residual(), tmp_path)
    with pytest.raises(DataError, match="no data"):
        quantize.run(options(), Job(inputs=work.inputs, output=work.output, model=work.model))


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    work = make_job(residual(), tmp_path)
    (tmp_path / "in/model.onnx").write_bytes(b"\x08\x08nothing")
    with pytest.raises(ModelError):
        quantize.run(options(), work)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Calibration(samples=0),
        lambda: Calibration(percentile=50),
        lambda: Calibration(percentile=100.5),
        lambda: Options(style=Style.TENSORRT, mode=Mode.DYNAMIC),
        lambda: Options(style=Style.TENSORRT, reduce_range=True),
    ],
)
def test_options_that_make_no_sense_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"must|needs|is for"):
        make()


@pytest.mark.parametrize("style", list(Style))
def test_what_stays_in_float_inside_control_flow_is_said(tmp_path: Path, style: Style) -> None:
    result = helper.make_tensor_value_info("t", TensorProto.FLOAT, ["n", 8])
    product = helper.make_node("MatMul", ["h", "w"], ["t"], name="inner")
    branch = helper.make_graph([product], "b", [], [result])
    nodes: list[Any] = [
        ("MatMul", ["x", "w"], ["h"], {}),
        ("ReduceMax", ["x"], ["m"], {"keepdims": 0}),
        ("Cast", ["m"], ["c"], {"to": 9}),
    ]
    nodes.append(("If", ["c"], ["y"], {"then_branch": branch, "else_branch": branch}))
    work = make_job(build(nodes, [weight("w", 8, 8)], ["n", 8], {"y": ["n", 8]}), tmp_path)

    facts = quantize.run(options(style=style), work).facts

    assert facts["in subgraphs"] == "2 left in float"
    assert "in subgraphs" not in quantize.run(options(style=style), make_job(residual(), tmp_path / "flat")).facts


def test_only_static_quantization_reads_the_data() -> None:
    assert quantize.splits(Options()) == ("calibration",)
    assert quantize.splits(Options(mode=Mode.DYNAMIC)) == ()


def test_progress_counts_the_samples(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    quantize.run(options(), make_job(residual(), tmp_path, progress=lambda *step: seen.append(step)))
    assert seen == [(done, 16, "calibrating") for done in range(1, 17)]


def test_the_order_and_grouping_of_samples_do_not_change_a_range() -> None:
    values = np.random.default_rng(3).standard_normal(4000) ** 3
    whole, parts = Observer(), Observer()
    whole.add(values)
    for part in np.array_split(values[::-1], 7):
        parts.add(part)
    for method in Method:
        assert whole.range(method, 99.0, symmetric=True) == parts.range(method, 99.0, symmetric=True)


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_percentile_keeps_that_share_of_the_values(symmetric: bool) -> None:
    values = np.random.default_rng(4).standard_normal(100_000)
    observer = Observer()
    observer.add(values)

    low, high = observer.range(Method.PERCENTILE, 95.0, symmetric=symmetric)

    assert ((values >= low) & (values <= high)).mean() == pytest.approx(0.95, abs=0.003)


def test_entropy_clips_a_lone_outlier_and_minmax_does_not() -> None:
    observer = Observer()
    observer.add(np.append(np.random.default_rng(5).standard_normal(100_000), 40.0))

    assert observer.range(Method.MINMAX, 0, symmetric=True)[1] == 40.0
    assert 3 < observer.range(Method.ENTROPY, 0, symmetric=True)[1] < 10


def test_an_activation_that_is_always_zero_has_an_empty_range() -> None:
    observer = Observer()
    observer.add(np.zeros(10))
    assert observer.range(Method.ENTROPY, 0, symmetric=True) == (0.0, 0.0)


def fashion_job(folder: Path) -> Job:
    (folder / "in").mkdir(parents=True)
    shutil.copy(ASSETS / "fashion_mobilenet/model.onnx", folder / "in/model.onnx")
    return Job(inputs={"model": folder / "in"}, output=folder / "out", model=Model("fashion"), data=FASHION)


def test_the_real_model_becomes_three_times_smaller_and_agrees_with_itself(tmp_path: Path) -> None:
    work = fashion_job(tmp_path)
    calibration = Calibration(method=Method.ENTROPY, samples=128)

    quantize.run(Options(style=Style.TENSORRT, calibration=calibration), work)

    with gzip.open(ASSETS / "fashion_mnist/t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(16 + 500 * 784)[16:], np.uint8).reshape(-1, 1, 28, 28)
    image = ((pixels / 255 - 0.5) / 0.5).astype(np.float32)
    before, after = work.inputs["model"] / "model.onnx", work.folder("model") / "model.onnx"
    classes = [Session(path, threads=2).run({"image": image})[0].argmax(axis=1) for path in (before, after)]
    assert before.stat().st_size > 3 * after.stat().st_size
    assert (classes[0] == classes[1]).mean() > 0.97


SCRIPT = """
import sys; from pathlib import Path
sys.path.insert(0, sys.argv[1] + "/tests"); from test_quantize import *
for name, more in (("trt", TENSORRT), ("ort", {}), ("dynamic", {"mode": Mode.DYNAMIC})):
    quantize.run(options(**more), make_job(residual(), Path(sys.argv[2]) / name))
"""


def test_bytes_are_equal_in_another_folder_and_process_and_the_working_directory_stays_clean(tmp_path: Path) -> None:
    digests = []
    for name in ("a", "another folder"):
        folder, cwd = tmp_path / name, tmp_path / name / "cwd"
        cwd.mkdir(parents=True)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "ORT_DISABLE_TELEMETRY": "1", "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-c", SCRIPT, str(ROOT), str(folder)]
        subprocess.run(command, cwd=cwd, env=environment, check=True, capture_output=True)
        assert list(cwd.iterdir()) == []
        written = sorted(folder.rglob("out/model/model.onnx"))
        assert len(written) == 3
        assert not any(str(tmp_path).encode() in path.read_bytes() for path in written)
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in written])
    assert digests[0] == digests[1]
