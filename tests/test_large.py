"""Models over 2 GB: their tensors lie beside the model, are hashed while they are copied, and never all in memory."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
from projects import Project

pytestmark = pytest.mark.slow

WIDTH = 24_000  # squared, in float32: 2.15 GiB
PEAK_MIB = 200


def large_model(folder: Path) -> int:
    """Write a model of one matrix product whose weights have over 2 GiB; return their size in bytes."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper

    folder.mkdir(parents=True)
    weights = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[WIDTH, WIDTH])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="large.bin")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", WIDTH])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "large.onnx").write_bytes(model.SerializeToString())
    row = np.linspace(-1, 1, WIDTH, dtype=np.float32)
    with (folder / "large.bin").open("wb") as file:
        for index in range(WIDTH):
            file.write((row * (index % 7)).tobytes())
    return (folder / "large.bin").stat().st_size


def run_and_watch(project: Project, *words: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run a build; return it with the peak of the builder's own resident memory in MiB (VmHWM of proc(5))."""
    process, peak_kib = project.start(*words), 0
    while process.poll() is None:
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                peak_kib = int(line.split()[1])
        time.sleep(0.02)
    out, error = process.communicate()
    return subprocess.CompletedProcess(words, process.returncode, out, error), peak_kib / 1024


@pytest.mark.invariant(1)
def test_a_model_over_2_gb_builds_in_little_memory_and_an_edit_of_its_tensors_is_seen(project: Project) -> None:
    size = large_model(project.folder / "models")
    project.write("conf/model/large.yaml", "name: large\npath: models/large.onnx\ntask: none\n")
    project.write("recipes/large.yaml", "# @package _global_\ndefaults:\n  - override /model: large\n  - _self_\n")
    first, peak_mib = run_and_watch(project, "recipe=large", "output=json")
    assert first.returncode == 0, first.stderr
    assert peak_mib < PEAK_MIB
    (action,) = json.loads(first.stdout)["actions"]
    assert action["outputs"]["model"]["bytes"] > size > 2 * 2**30

    again = project.run("recipe=large")
    assert "nothing to do" in again.stdout, again.stdout + again.stderr

    with (project.folder / "models/large.bin").open("r+b") as file:
        file.seek(size - 4)
        file.write(b"\0\0\0\1")
    plan = project.run("plan", "recipe=large")
    assert "external data changed: large.bin" in plan.stdout
