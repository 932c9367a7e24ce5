from __future__ import annotations

import platform
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from omegaconf import OmegaConf
from onnx import TensorProto, helper, numpy_helper
from projects import Project

from builder.compilers.options import Options, Profile
from builder.compilers.tensorrt import compile as compile_step
from builder.device import trtexec
from builder.device.trt_api import BuildRequest
from builder.errors import RecipeError, StepError
from builder.plan.graph import graph
from builder.recipe.compose import compose
from builder.runtimes.available import availability
from builder.runtimes.tensorrt import build_engine, has_gpu
from builder.specs import Model, Target
from builder.step import Job

TARGETS = Path(__file__).parents[1] / "conf/target"


def target(name: str) -> dict[str, Any]:
    declared: Any = OmegaConf.to_container(OmegaConf.load(TARGETS / f"{name}.yaml"))
    return asdict(Target(**declared))


def network(zero: int = 0, shape: tuple[int | str, ...] = ("n", 3, 8, 8)) -> Any:
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
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    weights = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def job(model: Any, folder: Path, shapes: dict[str, list[int]] | None = None, **facts: Any) -> Job:
    (folder / "in").mkdir()
    onnx.save(model, folder / "in/model.onnx")
    reads = {name: value for name, value in target("jetson_orin").items() if name in compile_step.target_facts}
    return Job(
        inputs={"model": folder / "in"},
        output=folder / "out",
        model=Model("m", shapes=shapes or {}),
        target=reads | facts,
    )


def test_without_the_target_the_rules_are_checked_and_the_engine_is_deferred(tmp_path: Path) -> None:
    result = compile_step.run(Options(), job(network(), tmp_path))

    assert result.facts["rules"] == "8 checked, 0 broken"
    assert "int8" in result.facts["precision"]
    assert result.facts["shapes"] == "x 1x3x8x8"
    assert "target" in result.deferred
    assert list(tmp_path.rglob("engine*")) == []


def test_a_broken_rule_fails_with_its_code_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"TRT002 quantize: .*zero point") as caught:
        compile_step.run(Options(), job(network(zero=3), tmp_path))
    assert "style=tensorrt" in caught.value.hint


def test_a_precision_that_the_target_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="int8"):
        compile_step.run(Options(), job(network(), tmp_path, precisions=["fp32", "fp16"]))


@pytest.mark.parametrize(("cores", "says"), [(0, "the target has no DLA cores"), (2, "the target has 2 DLA cores")])
def test_a_dla_core_that_the_target_has_not_is_refused(tmp_path: Path, cores: int, says: str) -> None:
    with pytest.raises(StepError, match=says):
        compile_step.run(Options(dla_core=2), job(network(), tmp_path, dla_cores=cores))


def test_a_dla_takes_no_model_in_fp32_alone(tmp_path: Path) -> None:
    value = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [next(value)], [next(value)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    with pytest.raises(StepError, match="a DLA computes in int8 and fp16, and the model holds neither"):
        compile_step.run(Options(dla_core=0), job(model, tmp_path, dla_cores=2))


OPEN = ("n", 3, "height", "width")
SIZES = [[1, 3, 8, 8], [2, 3, 16, 16], [4, 3, 32, 32]]


def test_an_open_axis_that_nothing_says_is_refused_with_the_input_s_name(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="x: the input is open in height and width") as caught:
        compile_step.run(Options(), job(network(shape=OPEN), tmp_path))
    assert "++steps.compile.profiles.x={min: [1, 3, 1, 1]" in caught.value.hint


def test_a_profile_or_a_declared_shape_closes_an_axis(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    profiled = Options(profiles={"x": Profile(*SIZES)})

    made = compile_step.run(profiled, job(network(shape=OPEN), folders[0]))
    assert made.facts["shapes"] == "x 1x3x8x8 to 4x3x32x32"
    made = compile_step.run(Options(), job(network(shape=OPEN), folders[1], {"x": [1, 3, 16, 16]}))
    assert made.facts["shapes"] == "x 1x3x16x16"


@pytest.mark.parametrize(
    ("name", "sizes", "says"),
    [
        ("y", SIZES, "the model has no input 'y'"),
        ("x", [[1, 3], [1, 3], [1, 3]], "4 axes, not 2"),
        ("x", [[1, 4, 8, 8], [1, 4, 8, 8], [1, 4, 8, 8]], r"\[1, 4, 8, 8\], and the input is \[n, 3, height, width\]"),
    ],
)
def test_a_profile_that_does_not_fit_the_model_is_refused(
    tmp_path: Path, name: str, sizes: list[list[int]], says: str
) -> None:
    with pytest.raises(StepError, match=says):
        compile_step.run(Options(profiles={name: Profile(*sizes)}), job(network(shape=OPEN), tmp_path))


@pytest.mark.parametrize(
    "wrong",
    [{"workspace_mib": 0}, {"optimization_level": 6}, {"dla_core": -1}, {"allow_gpu_fallback": True}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_options_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Options(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("sizes", [[[1], [1, 1], [1]], [[2], [1], [4]], [[0], [1], [2]]])
def test_a_profile_goes_up_from_min_over_opt_to_max(sizes: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="min"):
        Profile(*sizes)


def test_a_recipe_with_profiles_and_a_timing_cache_is_planned(small: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small.folder)
    profile = "+steps.compile.profiles.image={min: [1,1,8,8], opt: [4,1,8,8], max: [8,1,8,8]}"
    words = ["recipe=small", "steps=[compile]", "target=jetson_orin", "gates.max_size_mib=null", profile]
    actions = {each.name: each for each in graph(compose([*words, "steps.compile.timing_cache=times.cache"]))}

    assert actions["compile"].options.profiles["image"].max == [8, 1, 8, 8]
    assert actions["compile"].inputs["timing_cache"] == ("timing_cache", "weights")
    assert actions["timing_cache"].model.path == "times.cache"
    assert actions["parser"].inputs == {"model": actions["compile"].inputs["model"]}


def test_the_parser_is_asked_of_every_model_that_goes_to_tensorrt_and_of_no_other() -> None:
    for name, asked in (("jetson_int8", True), ("rtx_int8", True), ("cpu_int8", False)):
        actions = {each.name: each for each in graph(compose([f"recipe={name}"]))}
        assert ("parser" in actions) is asked
    required = {each.name: each.optional for each in graph(compose(["recipe=rtx_int8"]))}
    assert required["parser"]
    assert not required["toolchain.tensorrt_rtx"], "compile needs it too"


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


@pytest.mark.parametrize(
    ("version", "has", "has_not"),
    [
        ("8.5.2", ["--int8", "--buildOnly"], ["--stronglyTyped", "--builderOptimizationLevel=3"]),
        ("10.3.0", ["--int8", "--skipInference", "--builderOptimizationLevel=3"], ["--stronglyTyped"]),
        ("10.13.3", ["--stronglyTyped"], ["--int8"]),
        ("11.4.1", ["--skipInference"], ["--int8", "--stronglyTyped"]),
    ],
)
def test_trtexec_is_told_in_the_words_of_its_version(version: str, has: list[str], has_not: list[str]) -> None:
    profile = {"image:0": {"min": [1, 3], "opt": [2, 3], "max": [4, 3]}}
    request = BuildRequest("m.onnx", "e.plan", int8=True, profiles=profile, timing_cache_out="t.cache")
    words = trtexec.build_command(request, version)

    assert {*has} <= {*words}
    assert not {*has_not} & {*words}
    shapes = {"--minShapes='image:0':1x3", "--optShapes='image:0':2x3", "--maxShapes='image:0':4x3"}
    assert shapes | {"--timingCacheFile=t.cache", "--memPoolSize=workspace:1024"} <= {*words}


def test_trtexec_runs_on_a_dla_with_flags_for_types_as_long_as_there_are_such() -> None:
    request = BuildRequest("m.onnx", "e.plan", int8=True, dla_core=0, allow_gpu_fallback=True)

    assert {"--useDLACore=0", "--allowGPUFallback", "--int8"} <= {*trtexec.build_command(request, "10.16.2")}
    assert "--int8" not in trtexec.build_command(request, "11.4.1")


def test_trtexec_times_without_copies_in_every_version() -> None:
    tensors = {"inputs": [{"name": "x", "shape": [1, 3], "open": True}]}
    before, later = (
        trtexec.measure_command("e.plan", {"x": "x.bin"}, tensors, version, "times.json", runs=10, warmup_ms=500)
        for version in ("10.3.0", "11.1.0")
    )

    assert {*before} - {*later} == {"--noDataTransfers", "--useCudaGraph", "--useSpinWait"}
    assert {"--shapes=x:1x3", "--exportTimes=times.json"} <= {*later}


_TRTEXEC = """\
#!/bin/sh
echo "&&&& RUNNING TensorRT.trtexec [TensorRT v{version}] [b{build}] # trtexec"
for word in "$@"; do case $word in --saveEngine=*) engine=${{word#--saveEngine=}};; esac; done
[ -z "$engine" ] && exit 0
{does}
"""


def stand_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, does: str, version: str = "100300", build: int = 31
) -> None:
    """Put a program on PATH that says what trtexec says, and does something else."""
    program = folder / "trtexec"
    program.write_text(_TRTEXEC.format(version=version, build=build, does=does))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


@pytest.mark.parametrize(
    ("said", "version"),
    [("100300", "10.3.0.31"), ("8502", "8.5.2.31"), ("101602", "10.16.2.31"), ("110401", "11.4.1.31")],
)
def test_trtexec_says_which_tensorrt_it_belongs_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, version: str
) -> None:
    stand_in(tmp_path, monkeypatch, "exit 1", said)
    assert trtexec.version(trtexec.find()) == version


def test_without_the_python_package_trtexec_builds_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, 'echo plan > "$engine"')
    facts = build_engine(BuildRequest("m.onnx", str(tmp_path / "engine.plan")))

    assert facts == {"tensorrt": "10.3.0.31", "bytes": 5, "built_with": "trtexec"}


def test_what_trtexec_says_of_a_failure_is_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, 'echo "[11/21/2026-10:00:00] [E] Target GPU SM 87 is not supported"; exit 1')
    with pytest.raises(StepError, match=r"trtexec 10.3.0.31 built no engine: Target GPU SM 87 is not supported"):
        build_engine(BuildRequest("m.onnx", str(tmp_path / "engine.plan")))


def test_where_neither_is_the_reason_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StepError, match=r"TensorRT cannot be imported: .*No module named 'tensorrt'"):
        build_engine(BuildRequest("m.onnx", str(tmp_path / "engine.plan")))


def test_a_child_that_dies_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text(
        "import os, sys\nprint('last words', file=sys.stderr, flush=True)\nos.abort()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(StepError, match=r"TensorRT's process was killed by signal 6: .*last words"):
        build_engine(BuildRequest("m.onnx", str(tmp_path / "engine.plan")))


def test_a_card_is_not_here_where_there_is_no_gpu() -> None:
    if has_gpu():
        pytest.skip("this machine has an NVIDIA GPU")
    facts, reason = availability({**target("rtx_4090"), "arch": "any"})

    assert facts is None
    assert "without an NVIDIA GPU; rtx_4090 is any with TensorRT-RTX" in reason


def test_a_timing_cache_that_is_not_there_is_named_with_its_option(small: Project) -> None:
    words = ("recipe=small", "target=jetson_orin", "steps=[compile]", "gates.max_size_mib=null")
    done = small.run(*words, "steps.compile.parser=never", "steps.compile.timing_cache=times.cache")

    assert done.returncode == 1
    assert "steps.compile.timing_cache: cannot read times.cache: No such file or directory" in done.stdout


def test_a_step_cannot_have_the_name_of_the_parser_s_verdict(small: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small.folder)
    with pytest.raises(RecipeError, match="'parser' is the name of an action"):
        graph(compose(["recipe=small", "+steps@steps.parser=simplify"]))
