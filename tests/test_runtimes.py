"""The interface of all runtimes, on ONNX Runtime: which one an artifact is for, and what really ran of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from projects import ROOT, Project, small_model

from builder.device.by_package import PACKAGES
from builder.device.trt_api import MODULES
from builder.errors import ModelError, StepError, ToolchainError
from builder.recipe.toolchains import find_locked
from builder.registry import find_step
from builder.report.format import runtime as title_of
from builder.runtimes import onnxruntime, openvino
from builder.runtimes.cpuinfo import processor_name
from builder.runtimes.find import RUNTIMES, find_runtime, load
from builder.runtimes.interface import Device, Execution, Loaded
from builder.specs import Runtime

IMAGES = np.zeros((2, 1, 8, 8), np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_model(tmp_path / "small" / "model.onnx").parent


def ran(loaded: Loaded) -> Execution:
    loaded.run({tensor.name: IMAGES for tensor in loaded.inputs})
    return loaded.describe()


def test_each_runtime_that_a_target_can_name_is_a_module_of_its_own() -> None:
    assert {runtime.NAME for runtime in RUNTIMES} == {*map(str, Runtime)}
    assert {runtime.NAME for runtime in RUNTIMES if runtime.ENGINES} == {*MODULES}
    assert {*PACKAGES} <= {*map(str, Runtime)}
    assert [title_of(each.NAME) for each in RUNTIMES] == [each.TITLE for each in RUNTIMES]


@pytest.mark.parametrize(("file", "name"), [("model.onnx", "onnxruntime"), ("model.xml", "openvino")])
def test_an_artifact_is_told_by_its_files(tmp_path: Path, file: str, name: str) -> None:
    (tmp_path / file).touch()
    found = find_runtime(tmp_path)

    assert name == found.NAME


def test_a_folder_with_nothing_to_run_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").touch()

    with pytest.raises(StepError, match=r"nothing to run: expected model\.onnx.*, got weights\.h5"):
        find_runtime(tmp_path)


def test_every_runtime_has_a_name_of_its_own() -> None:
    names = [runtime.NAME for runtime in RUNTIMES]

    assert len({*names}) == len(names)
    assert {"onnxruntime", "openvino"} <= {*names}


def test_asking_what_is_missing_takes_the_standard_library_alone(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from builder.runtimes.find import RUNTIMES\n"
        "print([bool(runtime.missing()) for runtime in RUNTIMES])"
    )
    words = [sys.executable, "-I", "-S", "-c", code, str(ROOT)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == str([True] * len(RUNTIMES))


@pytest.mark.skipif(not openvino.missing(), reason="openvino is installed beside the builder here")
def test_a_runtime_that_is_not_installed_is_named_with_its_toolchain(tmp_path: Path) -> None:
    (tmp_path / "model.xml").touch()

    with pytest.raises(ToolchainError, match="openvino is not installed here") as raised:
        load(tmp_path)
    assert "toolchain: openvino" in raised.value.hint


def test_nothing_that_openvino_tells_its_maker_with_is_locked() -> None:
    pins = find_locked("openvino").lock.pins

    assert {"openvino", "onnxruntime", "pytest-benchmark"} <= set(pins)
    assert "openvino-telemetry" not in pins  # by which it tells of every import


def test_what_ran_is_counted_in_the_nodes_of_the_graph_that_ran(folder: Path) -> None:
    execution = ran(load(folder))

    assert (execution.runtime, execution.device) == ("onnxruntime", processor_name())
    assert execution.precision == "fp32"
    assert set(execution.providers) == {"CPU"}
    assert execution.precisions["fp32"] <= execution.providers["CPU"] < 8  # of the file's 8 nodes, some were fused
    assert execution.accelerated is None


def test_without_optimization_every_node_of_the_file_ran(folder: Path) -> None:
    execution = ran(onnxruntime.Session(folder / "model.onnx", optimize=False))

    assert execution.providers == {"CPU": 8}
    assert execution.precisions == {"fp32": 6}  # Identity and Flatten compute nothing


def test_what_computes_in_int8_and_in_fp32_is_told_apart(tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    small_model(tmp_path / "source.onnx")
    quantize_dynamic(
        tmp_path / "source.onnx", tmp_path / "model.onnx", op_types_to_quantize=["MatMul", "Gemm"],
        weight_type=QuantType.QInt8,
    )  # fmt: skip
    execution = ran(load(tmp_path))

    assert set(execution.precisions) == {"fp32", "int8"}
    assert execution.precision == "fp32, int8"  # of most nodes first


def test_whole_numbers_are_no_precision(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "a"], ["b"])],
        "whole",
        [helper.make_tensor_value_info("a", TensorProto.INT64, [2])],
        [helper.make_tensor_value_info("b", TensorProto.INT64, [2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "model.onnx"))
    loaded = load(tmp_path)
    loaded.run({"a": np.array([1, 2])})

    assert loaded.describe().plain()["nodes"] == {"precisions": {}, "providers": {"CPU": 1}}


def test_before_a_run_nothing_has_run(folder: Path) -> None:
    with pytest.raises(ModelError, match="only after a run"):
        load(folder).describe()


def test_a_device_that_is_not_here_is_refused_and_not_replaced(folder: Path) -> None:
    import onnxruntime as ort

    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this build of ONNX Runtime has the CUDA provider")
    with pytest.raises(ModelError, match="cannot run on cuda here: its build has no such provider"):
        load(folder, device="cuda")


def test_cuda_is_refused_by_name_and_its_gpu_is_in_the_key(small: Project) -> None:
    import onnxruntime as ort

    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this build of ONNX Runtime has the CUDA provider")
    done = small.run("recipe=small", "steps.evaluate.device=cuda")

    assert done.returncode == 1
    assert "cannot run on cuda here: its build has no such provider" in done.stdout + done.stderr
    evaluate, options = find_step("evaluate"), find_step("evaluate").options
    assert evaluate.uses_gpu(options(device=Device.CUDA))
    assert not evaluate.uses_gpu(options())


def test_the_share_on_the_accelerator_is_of_all_nodes() -> None:
    mixed = Execution("onnxruntime", "1", "a GPU", {"fp16": 3}, {"CUDA": 3, "CPU": 1}, "CUDA")

    assert mixed.accelerated == 0.75
    assert mixed.plain()["accelerated"] == 0.75
