"""A module over 2 GB: protobuf cannot hold its weights, so the export leaves them in a file beside the model."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from exports import exporting, toolchain_store
from projects import Project

pytestmark = pytest.mark.formats

ROWS, WIDTH = 290_000, 2_048  # of float32: one tensor of 2.2 GiB
NEEDED_GIB = 12  # of memory and of disk: the weights lie in the export, its check, the store and the build's folder
_CODE = """\
import torch
from torch import nn


class Table(nn.Module):
    def __init__(self, rows, width):
        super().__init__()
        numbers = torch.arange(rows, dtype=torch.float32)[:, None] / rows + torch.zeros(width)
        self.rows = nn.Embedding.from_pretrained(numbers)
        self.head = nn.Linear(width, 3)

    def forward(self, ids):
        return self.head(self.rows(ids))
"""
_MODEL = f"""\
name: table
format: torch
code: table.py:Table
arguments: {{rows: {ROWS}, width: {WIDTH}}}
inputs: {{ids: {{shape: [batch], dtype: int64}}}}
outputs: [scores]
"""
_RECIPE = "# @package _global_\ndefaults: [override /model: table, _self_]\nname: table\n"


def available_gib() -> float:
    """Return what the kernel says can be used without swapping (proc(5), MemAvailable)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 2**20


@pytest.fixture
def table(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with a module of one large tensor; what is large of it goes afterwards."""
    for what, there in (("memory", available_gib()), ("disk", shutil.disk_usage(project.folder).free / 2**30)):
        if there < NEEDED_GIB:
            pytest.skip(f"needs {NEEDED_GIB} GiB of {what}, and {there:.0f} are free")
    store = toolchain_store(tmp_path_factory, "torch")
    project.write("table.py", _CODE)
    project.write("conf/model/table.yaml", _MODEL)
    project.write("recipes/table.yaml", _RECIPE)
    yield exporting(project, store)
    shutil.rmtree(project.folder / "outputs", ignore_errors=True)
    for file in (store / "cas").glob("*/*"):
        if file.stat().st_size > 2**30:
            file.unlink()


def test_a_module_over_2_gb_is_exported_with_its_weights_beside_it(table: Project) -> None:
    done = table.run("recipe=table", "output=json")
    assert done.returncode == 0, done.stderr + done.stdout
    actions = {each["name"]: each for each in json.loads(done.stdout)["actions"]}
    folder = table.folder / "outputs/table/latest/artifacts/model"

    graph = onnx.load(str(folder / "model.onnx"), load_external_data=False).graph
    outside = [tensor for tensor in graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    assert actions["conversion"]["status"] == "built"
    assert (folder / "model.onnx").stat().st_size < 2**20
    assert (folder / "model.onnx.data").stat().st_size > 2**31
    assert [ROWS, WIDTH] in [[*tensor.dims] for tensor in outside]

    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    ids = np.array([0, 1, ROWS // 2, ROWS - 1])
    (scores,) = session.run(None, {"ids": ids})
    head = scores[-1] - scores[0]  # what the sum of the head's weights makes of the last number
    np.testing.assert_allclose(scores, scores[0] + np.outer(ids / (ROWS - 1), head), atol=1e-4)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < NEEDED_GIB * 2**20  # KiB, of the largest process
