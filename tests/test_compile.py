from __future__ import annotations

import hashlib
import platform
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from omegaconf import OmegaConf
from onnx import TensorProto, helper, numpy_helper

from builder.errors import StepError
from builder.runtimes.available import availability
from builder.runtimes.tensorrt import EngineRequest, build_engine, version_fits
from builder.specs import Model, Target
from builder.step import Job
from builder.steps.compile import Options
from builder.compilers.tensorrt import compile as compile_step

TARGETS = Path(__file__).parents[1] / "conf/target"


def target(name: str) -> dict[str, Any]:
    declared: Any = OmegaConf.to_container(OmegaConf.load(TARGETS / f"{name}.yaml"))
    return asdict(Target(**declared))


def network(zero: int = 0) -> Any:
    """A convolution in int8, as TensorRT wants it where `zero` is 0."""
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.integers(-127, 127, (4, 3, 3, 3)).astype(np.int8),
        "s": np.float32(0.02),
        "z": np.array(zero, np.int8),
        "ws": np.full(4, 0.01, np.float32),
        "wz": np.zeros(4, np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Conv", ["d", "wd"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4, 6, 6])
    weights = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def job(model: Any, folder: Path, **facts: Any) -> Job:
    (folder / "in").mkdir()
    onnx.save(model, folder / "in/model.onnx")
    reads = {name: value for name, value in target("jetson_orin").items() if name in compile_step.target_facts}
    return Job(inputs={"model": folder / "in"}, output=folder / "out", model=Model("m"), target=reads | facts)


def test_without_the_target_the_rules_are_checked_and_the_engine_is_deferred(tmp_path: Path) -> None:
    result = compile_step.run(Options(), job(network(), tmp_path))

    assert result.facts["rules"] == "8 checked, 0 broken"
    assert "int8" in result.facts["precision"]
    assert "target" in result.deferred
    assert list(tmp_path.rglob("engine*")) == []


def test_a_broken_rule_fails_with_its_code_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"TRT002 quantize: .*zero point") as caught:
        compile_step.run(Options(), job(network(zero=3), tmp_path))
    assert "style=tensorrt" in caught.value.hint


def test_a_precision_that_the_target_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="int8"):
        compile_step.run(Options(), job(network(), tmp_path, precisions=["fp32", "fp16"]))


@pytest.mark.parametrize("wrong", [{"workspace_mib": 0}, {"optimization_level": 6}])
def test_options_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Options(**wrong)


@pytest.mark.parametrize("path", sorted(TARGETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_target_file_says_what_it_is_and_sets_only_what_a_target_has(path: Path) -> None:
    assert path.read_text().startswith("# ")
    declared: Any = OmegaConf.load(path)
    assert set(declared) <= {field.name for field in fields(Target)}
    assert declared["name"] == path.stem


def test_the_host_is_always_here() -> None:
    assert availability(target("host")) == ({}, "")


def test_another_architecture_is_not_here() -> None:
    facts, reason = availability({**target("host"), "name": "board", "arch": "riscv64"})
    assert facts is None
    assert reason == f"this machine is {platform.machine()}; board is riscv64"


def test_a_jetson_is_not_here_and_the_reason_names_both_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    facts, reason = availability(target("jetson_orin"))
    assert facts is None
    assert "this machine is x86_64" in reason
    assert "jetson_orin is aarch64 with TensorRT" in reason


def test_an_unknown_runtime_is_not_here() -> None:
    facts, reason = availability({**target("host"), "runtime": "openvino"})
    assert facts is None
    assert "openvino" in reason


@pytest.mark.parametrize(
    ("version", "fits"),
    [("10.3.0", True), ("10.16.2.10", True), ("11.4.1", True), ("8.6.1", False), ("12.0", False), ("10.2", False)],
)
def test_versions_of_tensorrt_are_compared_number_by_number(version: str, fits: bool) -> None:
    assert version_fits(version, ">=10.3,<12") is fits
    assert version_fits(version, "")


def test_a_child_that_dies_is_a_clear_error(tmp_path: Path) -> None:
    request = EngineRequest(onnx="none.onnx", engine=str(tmp_path / "engine.plan"), module="no_such_module")
    with pytest.raises(StepError, match=r"TensorRT's process ended with 1: .*no_such_module"):
        build_engine(request)


@pytest.mark.slow
def test_the_same_code_builds_an_engine_with_tensorrt_rtx(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed; it builds engines without a GPU")
    work = job(network(), tmp_path)
    digests = set()
    for name in ("a", "b"):
        engine = tmp_path / f"{name}.plan"
        request = EngineRequest(
            onnx=str(work.inputs["model"] / "model.onnx"),
            engine=str(engine),
            module="tensorrt_rtx",
            compute_capability="8.6",
        )
        facts = build_engine(request)
        assert facts["bytes"] == engine.stat().st_size
        digests.add(hashlib.sha256(engine.read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.slow
def test_what_tensorrt_rtx_refuses_the_rules_refuse_too(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed; its parser needs no GPU")
    work = job(network(zero=3), tmp_path)
    path = str(work.inputs["model"] / "model.onnx")
    with pytest.raises(StepError, match="zero"):
        build_engine(EngineRequest(onnx=path, engine=str(tmp_path / "e"), module="tensorrt_rtx"))
    with pytest.raises(StepError, match="TRT002"):
        compile_step.run(Options(), work)
