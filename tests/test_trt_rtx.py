"""Engines of TensorRT-RTX: real ones, built here without a GPU, the same bytes each time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from exports import action, exporting, toolchain_store
from projects import Project, small_model, write_small
from trt_toolchain import run_rtx

from builder.runtimes.find import find_runtime

pytestmark = pytest.mark.formats

_RECIPE = """\
# @package _global_
defaults:
  - override /model: small
  - override /target: rtx_4090
  - override /steps: [quantize, compile]
  - _self_
name: card
steps:
  quantize: {style: tensorrt, calibration: {samples: 16}}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toolchain_store(tmp_path_factory, "tensorrt_rtx")


def card(project: Project, store: Path) -> Project:
    write_small(exporting(project, store))
    project.write("recipes/card.yaml", _RECIPE)
    return project


def compiled(project: Project, *words: str) -> dict[str, Any]:
    return action(project, "compile", "recipe=card", "fresh=compile", *words)


def test_an_engine_is_the_same_in_two_processes_and_two_folders(
    make_project: Callable[[str], Project], store: Path
) -> None:
    made = [compiled(card(make_project(name), store)) for name in ("here", "elsewhere/deep")]

    assert [each["status"] for each in made] == ["built", "built"]
    assert made[0]["reproducible"] == "bitwise"
    assert made[0]["outputs"]["engine"]["sha256"] == made[1]["outputs"]["engine"]["sha256"]


def test_an_engine_says_what_it_is_for(project: Project, store: Path) -> None:
    made = compiled(card(project, store))
    engine = project.folder / "outputs/card/latest" / made["outputs"]["engine"]["path"]

    assert made["facts"]["tensorrt_rtx"] == "1.7.1.116"
    assert made["facts"]["shapes"] == "image 1x1x8x8"
    assert made["facts"]["compute_capability"] == "8.9"
    assert (engine / "engine.plan").stat().st_size == made["facts"]["bytes"] > 100_000
    assert find_runtime(engine).NAME == "tensorrt_rtx"


def test_an_engine_for_several_batches_promises_no_equal_bytes(project: Project, store: Path) -> None:
    profile = "+steps.compile.profiles.image={min: [1, 1, 8, 8], opt: [4, 1, 8, 8], max: [16, 1, 8, 8]}"
    made = compiled(card(project, store), profile)

    assert made["facts"]["shapes"] == "image 1x1x8x8 to 16x1x8x8"
    assert made["reproducible"] == "replayable"


def test_ampere_ada_and_blackwell_have_engines_of_their_own(project: Project, store: Path) -> None:
    card(project, store)
    targets = ("target.compute_capability='8.6'", "target=rtx_4090", "target=rtx_5090")
    made = [compiled(project, words) for words in targets]

    assert [each["facts"]["compute_capability"] for each in made] == ["8.6", "8.9", "12.0"]
    assert len({each["outputs"]["engine"]["sha256"] for each in made}) == 3


def test_a_chip_that_it_does_not_build_for_is_refused_with_those_that_it_does(project: Project, store: Path) -> None:
    done = card(project, store).run("recipe=card", "target.compute_capability='8.7'")

    assert done.returncode in (1, 2)
    assert "8.7" in done.stdout + done.stderr


def test_without_a_network_an_engine_fails_and_says_what_to_do(project: Project) -> None:
    write_small(project)
    project.write("recipes/card.yaml", _RECIPE)
    done = project.run("recipe=card", "offline=true")

    assert done.returncode == 1
    assert "python -m builder toolchain build tensorrt_rtx" in done.stdout


_CONTRACT = """\
from builder.device import trt_api
from builder.device.trt_engine import TYPES
trt = trt_api.import_api("tensorrt_rtx")
used = {
    "Builder": "build_serialized_network create_builder_config create_network create_optimization_profile"
    " num_DLA_cores",
    "IBuilderConfig": "DLA_core add_optimization_profile builder_optimization_level create_timing_cache"
    " default_device_type get_timing_cache profiling_verbosity set_flag set_memory_pool_limit set_timing_cache",
    "OnnxParser": "get_error num_errors parse_from_file supports_model_v2",
    "Runtime": "DLA_core deserialize_cuda_engine",
    "ICudaEngine": "create_engine_inspector create_execution_context get_tensor_dtype get_tensor_mode get_tensor_name"
    " get_tensor_shape num_io_tensors",
    "IExecutionContext": "execute_async_v3 get_tensor_shape set_input_shape set_tensor_address",
    "EngineInspector": "get_engine_information",
    "TensorIOMode": "INPUT OUTPUT",
    "BuilderFlag": "GPU_FALLBACK",
    "DeviceType": "DLA",
    "DataType": " ".join(TYPES),
    "LayerInformationFormat": "JSON",
    "ProfilingVerbosity": "DETAILED",
    "MemoryPoolType": "WORKSPACE",
    "ILogger": "ERROR INTERNAL_ERROR",
}
for name, words in used.items():
    for each in words.split():
        assert hasattr(getattr(trt, name), each), f"{name}.{each}"
"""


def test_all_that_is_called_is_in_the_real_package(tmp_path: Path, store: Path) -> None:
    run_rtx(store, _CONTRACT, tmp_path)


def test_a_timing_cache_that_it_gives_is_one_that_it_takes(tmp_path: Path, store: Path) -> None:
    small_model(tmp_path / "model.onnx")
    profile = {"image": {end: [1, 1, 8, 8] for end in ("min", "opt", "max")}}
    request = {"onnx": "model.onnx", "engine": "a.plan", "runtime": "tensorrt_rtx", "compute_capabilities": ["8.6"]}
    first = {**request, "profiles": profile, "timing_cache_out": "first.cache"}
    second = {**first, "engine": "b.plan", "timing_cache": "first.cache", "timing_cache_out": "second.cache"}
    script = "from builder.device.trt_child import call\n" + "".join(
        f"call({{'do': 'build', 'request': {each!r}}})\n" for each in (first, second)
    )
    run_rtx(store, script, tmp_path)

    assert (tmp_path / "a.plan").read_bytes() == (tmp_path / "b.plan").read_bytes()
    assert (tmp_path / "first.cache").is_file()
