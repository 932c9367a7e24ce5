"""Targets: the files of conf/target/, whether this machine is one, and what a target may say of a single machine."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest
from projects import ROOT, Project

from builder.device.fit import misfit
from builder.errors import BuilderError
from builder.recipe.compose import compose
from builder.runtimes.machine import other_device
from builder.specs import Accelerator, Runtime
from builder.targets.operators import bounds, in_rtx, max_opset, since
from builder.typed import to_plain

NAMES = sorted(path.stem for path in (ROOT / "conf/target").glob("*.yaml"))
CPU, BENCHMARK = ("recipe=small", "steps=[quantize,benchmark]"), "benchmark"


def statuses(project: Project, *words: str) -> dict[str, tuple[str, str]]:
    plan = json.loads(project.run("plan", *CPU, *words, "output=json").stdout)
    return {action["name"]: (action["status"], action["message"]) for action in plan["actions"]}


def test_the_targets_that_there_are(project: Project) -> None:
    expected = {"host", "x86_avx512", "x86_avx2", "jetson_orin", "jetson_thor", "jetson_xavier", "h100", "rtx_4090"}

    assert expected | {"rtx_5090", "raspberry_pi_5"} == set(NAMES)
    assert set(NAMES) <= set(project.run("list", "targets").stdout.split())


@pytest.mark.parametrize("name", NAMES)
def test_a_target_names_its_sources_and_fits_its_runtime(name: str) -> None:
    text = (ROOT / "conf/target" / f"{name}.yaml").read_text(encoding="utf-8")
    target = compose(["recipe=cpu_int8", f"target={name}"]).target

    assert target.summary
    assert (target.runtime in (Runtime.TENSORRT, Runtime.TENSORRT_RTX)) == (target.accelerator is Accelerator.CUDA)
    assert bool(target.compute_capability) == (target.accelerator is Accelerator.CUDA)
    assert target.runtime_versions
    assert name == "host" or "https://" in text


def test_only_xavier_and_orin_have_a_dla() -> None:
    cores = {name: compose(["recipe=cpu_int8", f"target={name}"]).target.dla_cores for name in NAMES}

    assert {name for name, count in cores.items() if count} == {"jetson_orin", "jetson_xavier"}


def test_a_processor_without_the_instructions_waits_and_is_measured_here_meanwhile(small: Project) -> None:
    here = "x86_avx2" if platform.machine() == "x86_64" else "raspberry_pi_5"
    planned = statuses(small, f"target={here}", "target.features=[avx9000]", "target.hardware=''")

    assert planned["benchmark"] == ("deferred", f"this machine's processor has no avx9000, as {here} has")
    assert planned["benchmark@host"][0] == "run"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="asks what an x86-64 processor has")
@pytest.mark.parametrize(("name", "mark"), [("x86_avx2", "avx2"), ("x86_avx512", "avx512vl")])
def test_a_processor_is_here_where_the_kernel_lists_its_instructions(small: Project, name: str, mark: str) -> None:
    has = mark in Path("/proc/cpuinfo").read_text(encoding="utf-8").split()

    assert statuses(small, f"target={name}")["benchmark"][0] == ("run" if has else "deferred")


@pytest.mark.skipif(platform.machine() == "aarch64", reason="this machine may be a Raspberry Pi 5")
def test_another_architecture_waits_with_the_reason(small: Project) -> None:
    planned = statuses(small, "target=raspberry_pi_5")

    assert planned["benchmark"][1] == f"this machine is {platform.machine()}; raspberry_pi_5 is aarch64"


def test_a_board_is_known_by_the_name_in_its_firmware(small: Project) -> None:
    planned = statuses(small, "target.hardware='Raspberry Pi 77*'", "target.arch=any", "target.name=board")

    assert "board is a Raspberry Pi 77" in planned["benchmark"][1]


@pytest.mark.parametrize(
    ("name", "gpu", "reason"),
    [
        ("h100", "NVIDIA H100 80GB HBM3", ""),
        ("h100", "NVIDIA H200", "the GPU here is an NVIDIA H200; h100 is an NVIDIA H100"),
        ("rtx_4090", "NVIDIA GeForce RTX 4090", ""),
        ("rtx_4090", "NVIDIA GeForce RTX 4090 Laptop GPU", "the GPU here is an NVIDIA GeForce RTX 4090 Laptop GPU; "),
        ("jetson_orin", "Orin", ""),
    ],
)
def test_a_gpu_of_the_same_compute_capability_can_be_another(name: str, gpu: str, reason: str) -> None:
    target = to_plain(compose(["recipe=cpu_int8", f"target={name}"]).target)

    said = other_device(target, {**{key: target[key] for key in ("arch", "compute_capability")}, "name": gpu})
    assert said.startswith(reason)
    assert bool(said) == bool(reason)


@pytest.mark.parametrize(
    ("fact", "here", "there"),
    [
        ({"arch": "riscv64"}, "this machine is riscv64; rtx_4090 is x86_64", "which is x86_64, and is riscv64"),
        (
            {"compute_capability": "8.6"},
            "the GPU here has compute capability 8.6; rtx_4090 has 8.9",
            "of compute capability 8.9, and has 8.6",
        ),
        (
            {"name": "NVIDIA GeForce RTX 4080"},
            "the GPU here is an NVIDIA GeForce RTX 4080; rtx_4090 is an NVIDIA GeForce RTX 4090",
            "a NVIDIA GeForce RTX 4090, and is NVIDIA GeForce RTX 4080",
        ),
        (
            {"tensorrt_rtx": "2.0"},
            "TensorRT-RTX 2.0 is here; rtx_4090 wants >=1.7,<2",
            "with tensorrt_rtx >=1.7,<2, and has 2.0",
        ),
    ],
)
def test_what_is_not_the_target_at_home_is_not_the_target_there(fact: dict[str, str], here: str, there: str) -> None:
    target = to_plain(compose(["recipe=cpu_int8", "target=rtx_4090"]).target)
    card = {"arch": "x86_64", "compute_capability": "8.9", "name": "NVIDIA GeForce RTX 4090", "tensorrt_rtx": "1.7.1"}

    assert (other_device(target, card), misfit(target, card)) == ("", None)
    assert other_device(target, {**card, **fact}, title="TensorRT-RTX") == here
    assert ", and ".join(misfit(target, {**card, **fact}) or ()) == there


def test_a_recipe_cannot_name_a_host_to_connect_to(small: Project) -> None:
    recipe = small.folder / "recipes/small.yaml"
    recipe.write_text(f"{recipe.read_text()}target: {{host: user@jetson}}\n")

    done = small.run("plan", "recipe=small")

    assert done.returncode == 2
    assert "target.host' names a host to connect to" in done.stderr


@pytest.mark.parametrize("host", ["-oProxyCommand=id", "a b", "a;id", "$(id)", "user@", "a@b@c", "jetson\nid"])
def test_a_host_is_a_name_and_never_an_option_or_a_command(host: str) -> None:
    quoted = json.dumps(host)
    with pytest.raises(BuilderError, match=r"target"):
        compose(["recipe=cpu_int8", f"target.host={quoted}"])


def test_neither_host_nor_device_is_in_a_key_or_a_manifest(small: Project) -> None:
    words = ("recipe=small", "target=x86_avx2", "steps=[simplify]")
    plain = json.loads(small.run(*words, "output=json").stdout)
    named = json.loads(small.run(*words, "target.host=someone@board", "target.device=mine", "output=json").stdout)

    assert {action["status"] for action in named["actions"]} == {"cached"}
    assert [action["key"] for action in named["actions"]] == [action["key"] for action in plain["actions"]]
    assert named["sha256"] == plain["sha256"]
    assert "someone" not in json.dumps(named)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("target.compute_capability='87'", "expected two numbers such as 8.7"),
        ("target.runtime_versions='about 10'", "expected limits such as"),
        ("target.memory_mib=0", "memory_mib must be at least 1"),
        ("target.dla_cores=-1", "dla_cores must be at least 0"),
        ("target.precisions=[int5]", "expected one of fp32"),
    ],
)
def test_a_mistake_in_a_target_is_told(setting: str, words: str) -> None:
    with pytest.raises(BuilderError, match=words):
        compose(["recipe=cpu_int8", "target=jetson_orin", setting])


def test_versions_and_operators_are_looked_up_as_the_documents_list_them() -> None:
    assert bounds(">=10.3,<12") == ((10, 3), (11, 99))
    assert bounds(">=8.5,<8.6") == ((8, 5), (8, 5))
    assert [max_opset(version) for version in ((8, 5), (10, 3), (10, 16), (11, 4))] == [17, 20, 24, 25]
    assert since("Conv") == (8, 5)
    assert since("Attention") == (10, 14)
    assert since("Unique") is None
    assert in_rtx("Swish")
    assert not in_rtx("Unique")
