"""A kit's numbers on another processor: INT8 models on ONNX Runtime for aarch64, under qemu. Nothing is timed."""

from __future__ import annotations

import re

import pytest
from aarch64 import Aarch64, make_aarch64
from projects import Project

pytestmark = pytest.mark.slow

SHORT = ("~steps.evaluate", "gates.max_accuracy_drop=null", "steps.benchmark.runs=50", "steps.benchmark.max_seconds=2")


@pytest.fixture(scope="module")
def aarch64(tmp_path_factory: pytest.TempPathFactory) -> Aarch64:
    return make_aarch64(tmp_path_factory.mktemp("aarch64"))


def verified(project: Project, machine: Aarch64, name: str, *words: str) -> str:
    """Build a kit, and return what its program says of it on the other machine."""
    built = project.run(*words, *SHORT, f"name={name}")
    kit = project.folder / f"outputs/{name}/latest/kit"
    done = machine.start(kit / "resume.pyz", "--verify", kit, cwd=project.folder)

    assert built.returncode == 0, built.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    assert "256 samples on aarch64 with ONNX Runtime" in done.stderr
    assert " ms" not in done.stdout + done.stderr
    return done.stderr


def test_what_is_quantized_for_onnx_runtime_computes_the_same_numbers(project: Project, aarch64: Aarch64) -> None:
    said = verified(project, aarch64, "pi", "recipe=cpu_int8", "target=raspberry_pi_5", "gates.min_agreement=null")

    assert "at home are equal in every number" in said


def test_what_is_quantized_for_tensorrt_decides_the_same(project: Project, aarch64: Aarch64) -> None:
    """Between Q and DQ it computes in floats, whose sums end in another last bit on each processor."""
    said = verified(project, aarch64, "orin", "recipe=jetson_int8", "steps.compile.parser=never")
    found = re.search(r"([\d.]+) dB near, .*the largest output is the same in (\d+) of 256", said)

    assert found is not None or "equal in every number" in said
    assert found is None or (float(found[1]) > 50 and found[2] == "256")
