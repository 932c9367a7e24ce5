"""OpenVINO in its toolchain: the same bytes anywhere, compared before they count, measured beside ONNX Runtime."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import onnx
import pytest
from exports import action, exporting, toolchain_store
from onnx import TensorProto, helper
from projects import ROOT, Project, write_small
from schemas import validator

from builder.processor import instruction_set
from builder.recipe.toolchains import find_toolchain
from builder.store.statcache import StatCache
from builder.toolchains.interpreter import find_interpreter

pytestmark = pytest.mark.formats

RECIPE = """\
# @package _global_
defaults:
  - override /model: small
  - override /data: small
  - override /steps: [quantize, evaluate, compile, benchmark]
  - _self_
name: small
steps:
  quantize: {calibration: {samples: 16}}
  compile: {runtime: openvino}
  benchmark: {warmup_runs: 2, runs: 60, blocks: 6, max_seconds: 2}
gates: {max_latency_ms: {p50: 1000}}
"""
QEMU = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
PLAIN = ("recipe=small", "~steps.quantize", "~steps.evaluate", "~steps.benchmark", "~gates.max_latency_ms")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toolchain_store(tmp_path_factory, "openvino")


@pytest.fixture
def compiling(make_project: Callable[[str], Project], store: Path) -> Callable[[str], Project]:
    """Make projects whose recipe `small` quantizes, evaluates, compiles and times a model."""

    def make(name: str) -> Project:
        project = exporting(write_small(make_project(name)), store)
        project.write("recipes/small.yaml", RECIPE)
        return project

    return make


def report_of(project: Project) -> dict[str, Any]:
    """Return the report of the latest build."""
    found: dict[str, Any] = json.loads(
        (project.folder / "outputs/small/latest/report.json").read_text(encoding="utf-8")
    )
    return found


def test_it_is_measured_beside_onnx_runtime_in_turns_and_judged_as_what_ships(
    compiling: Callable[[str], Project],
) -> None:
    project = compiling("project")
    done = project.run("recipe=small")
    assert done.returncode == 0, done.stdout + done.stderr
    report = report_of(project)
    measured = report["measurements"]["benchmark"]
    subjects = {each["name"]: each for each in measured["subjects"]}

    assert [each["runtime"] for each in subjects.values()] == ["onnxruntime", "onnxruntime", "openvino"]
    assert [each["precision"].split(", ")[0] for each in subjects.values()] == ["fp32", "int8", "int8"]
    assert len({len(each["blocks_ms"]) for each in subjects.values()}) == 1
    ratios = [(each["of"], each["to"]) for each in measured["ratios"]]
    assert ratios == [("candidate", "baseline"), ("openvino", "baseline"), ("openvino", "candidate")]
    assert measured["ships"] == "openvino"
    (gate,) = (each for each in report["manifest"]["gates"] if each["name"] == "max_latency_ms.p50")
    assert gate["value"] == subjects["openvino"]["latency_ms"]["p50"]
    assert "small in OpenVINO" in report["findings"]["benchmark"]
    assert "small in ONNX Runtime" in report["findings"]["benchmark"]


def test_what_was_evaluated_says_where_it_ran_and_in_what(compiling: Callable[[str], Project]) -> None:
    project = compiling("project")
    assert project.run("recipe=small", "~steps.benchmark", "~gates.max_latency_ms").returncode == 0
    evaluations = report_of(project)["evaluations"]

    assert set(evaluations) == {"evaluate", "evaluate@openvino"}
    ran = evaluations["evaluate@openvino"]["executions"]
    assert (ran["reference"]["runtime"], ran["reference"]["precision"]) == ("onnxruntime", "fp32")
    assert ran["candidate"]["runtime"] == "openvino"
    assert ran["candidate"]["nodes"]["precisions"]["int8"] >= 2  # the convolutions
    assert "bf16" not in ran["candidate"]["precision"]  # which OpenVINO chooses by itself where the processor can
    assert ran["candidate"]["device"]


def test_its_own_profiler_times_its_layers_and_the_source_s_in_it_too(compiling: Callable[[str], Project]) -> None:
    project = compiling("project")
    quick = [f"steps.profile.{name}" for name in ("warmup_runs=2", "runs=30", "blocks=6", "max_seconds=1")]
    left_out = ("~steps.evaluate", "~steps.benchmark", "~gates.max_latency_ms")
    done = project.run("recipe=small", *left_out, "+steps=profile", *quick)
    assert done.returncode == 0, done.stdout + done.stderr
    report = report_of(project)
    validator().validate(report)
    section = report["sections"]["profile"]

    assert section["runtime"] == "openvino"
    computed = []
    for subject in section["subjects"]:
        assert subject["overhead"]["of"] == f"{subject['name']} profiled"
        assert subject["nodes_ms"] > 0
        assert {"conv1", "conv2", "classifier"} <= {node["layer"] for node in subject["nodes"]}
        convolutions = [node for node in subject["nodes"] if node["family"] == "Convolution"]
        computed.append({(node["precision"], node["kernel"].rpartition("_")[2].lower()) for node in convolutions})
    assert computed[0] == {("fp32", "f32")}
    assert computed[1] <= {("int8", "i8"), ("int8", "u8")}
    page = (project.folder / "outputs/small/latest/report.html").read_text(encoding="utf-8")
    assert "both models in OpenVINO" in page


def test_a_layer_that_it_numbers_anew_in_each_block_is_profiled_as_one(compiling: Callable[[str], Project]) -> None:
    project = compiling("project")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["rows"]), helper.make_node("MatMul", ["rows", "weight"], ["y"])],
        "embedding",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "length", 64])],
        [helper.make_tensor(name, TensorProto.FLOAT, [64, 64], [0.5] * 4096) for name in ("table", "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, project.folder / "models/embedding.onnx")
    project.write(
        "conf/model/embedding.yaml", "name: embedding\npath: models/embedding.onnx\nshapes: {ids: [1, 128]}\n"
    )
    steps = "[compile, profile]\n  - _self_\nname: small\nsteps:\n  compile: {runtime: openvino}\n"
    quick = "  profile: {warmup_runs: 2, runs: 30, blocks: 6, max_seconds: 1}\n"
    recipe = "# @package _global_\ndefaults:\n  - override /model: embedding\n  - override /steps: "
    project.write("recipes/small.yaml", recipe + steps + quick)

    done = project.run("recipe=small")

    assert done.returncode == 0, done.stdout + done.stderr
    for subject in report_of(project)["sections"]["profile"]["subjects"]:
        assert sorted(node["operator"] for node in subject["nodes"]) == ["Convert", "FullyConnected", "Gather"]


def test_two_directories_make_the_same_bytes(compiling: Callable[[str], Project]) -> None:
    first, second = (
        action(compiling(name), "compile", *PLAIN, "fresh=compile") for name in ("here", "another/and quite a long/way")
    )

    assert (first["status"], second["status"]) == ("built", "built")
    assert first["outputs"]["ir"]["sha256"] == second["outputs"]["ir"]["sha256"]
    assert first["reproducible"] == "bitwise"


def test_a_second_model_in_one_build_has_the_bytes_that_it_has_alone(compiling: Callable[[str], Project]) -> None:
    project = compiling("project")
    alone = action(project, "compile", *PLAIN, "fresh=compile")
    project.write(
        "recipes/both.yaml",
        RECIPE.replace("defaults:\n", "defaults:\n  - /steps@steps.again: compile\n")
        .replace("[quantize, evaluate, compile, benchmark]", "[compile]")
        .partition("steps:\n  quantize")[0]
        + "steps:\n  compile: {runtime: openvino}\n  again: {runtime: openvino, inputs: {model: model}}\n",
    )
    done = project.run("recipe=both", "fresh=[compile]", "jobs=1", "output=json")
    found = {each["name"]: each for each in json.loads(done.stdout)["actions"]}

    assert found["compile"]["outputs"]["ir"]["sha256"] == alone["outputs"]["ir"]["sha256"]
    assert found["again"]["outputs"]["ir"]["sha256"] == alone["outputs"]["ir"]["sha256"]


@pytest.mark.skipif(QEMU is None, reason="qemu-user is not installed")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="a Haswell is emulated on x86-64")
@pytest.mark.skipif("avx512" not in instruction_set(), reason="this processor is of the emulated one's class")
@pytest.mark.parametrize("stored", ["f32", "f16"])
def test_a_processor_without_avx512_makes_the_same_bytes(
    compiling: Callable[[str], Project], store: Path, tmp_path: Path, stored: str
) -> None:
    project = compiling("project")
    action(project, "compile", *PLAIN, f"steps.compile.precision={stored}")
    packages = next(kept for kept in (store / "folders").iterdir() if (kept / "openvino").is_dir())
    with closing(StatCache()) as stats:
        python = find_interpreter(find_toolchain("openvino").python, stats).path
    model = project.folder / "models/small.onnx"
    shutil.copy(model, tmp_path / "model.onnx")
    code = f"from builder.compilers.openvino_ir import main; main('model.onnx', '.', {stored!r})"
    subprocess.run(
        [str(QEMU), "-cpu", "Haswell", str(python), "-S", "-B", "-c", code],
        cwd=tmp_path,
        env={"PATH": os.defpath, "PYTHONPATH": f"{packages}{os.pathsep}{ROOT}"},
        stderr=subprocess.DEVNULL,
        check=True,
    )

    delivered = project.folder / "outputs/small/latest/artifacts/compile"
    for name in ("model.xml", "model.bin"):
        assert (tmp_path / name).read_bytes() == (delivered / name).read_bytes()


def test_half_precision_halves_the_weights_and_computes_in_fp32(compiling: Callable[[str], Project]) -> None:
    project = compiling("project")
    whole = action(project, "compile", *PLAIN)
    bin_bytes = (project.folder / "outputs/small/latest/artifacts/compile/model.bin").stat().st_size
    half = action(project, "compile", *PLAIN, "steps.compile.precision=f16")

    assert (whole["facts"]["weights"], half["facts"]["weights"]) == ("f32", "f16")
    assert (project.folder / "outputs/small/latest/artifacts/compile/model.bin").stat().st_size < 0.6 * bin_bytes
    assert half["facts"]["ran"].startswith("fp32 in OpenVINO")
    assert "largest difference to ONNX Runtime" in half["facts"]["check"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([*PLAIN, "steps.compile.precision=int8"], "precision is int8, and the model is not quantized"),
        (["recipe=small", "steps.compile.precision=f16"], "precision is f16, and the model is quantized"),
    ],
)
def test_a_precision_that_the_model_does_not_have_is_refused(
    compiling: Callable[[str], Project], words: list[str], says: str
) -> None:
    done = compiling("project").run(*words)

    assert done.returncode == 1
    assert says in done.stdout + done.stderr


def test_operators_that_openvino_does_not_know_are_named(compiling: Callable[[str], Project]) -> None:
    project = compiling("project")
    graph = helper.make_graph(
        [helper.make_node("Scaler", ["image"], ["scores"], domain="ai.onnx.ml", offset=[0.0], scale=[2.0])],
        "scaled",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 4])],
    )
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=8)
    onnx.save(model, str(project.folder / "models/small.onnx"))
    done = project.run(*PLAIN)

    assert done.returncode == 1
    assert "OpenVINO cannot convert the model" in done.stdout + done.stderr
    assert "ai.onnx.ml.Scaler" in done.stdout + done.stderr
