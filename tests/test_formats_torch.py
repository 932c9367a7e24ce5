"""Modules of PyTorch, exported in their toolchain: named, shaped and weighted as the model says, the same each time."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from exports import action, exporting, toolchain_store
from numpy.typing import NDArray
from projects import ROOT, Project

from builder.data.dataset import samples
from builder.specs import Data, Layout, Preprocess, Reader, Split

pytestmark = pytest.mark.formats

_CODE = """\
from torch import nn

from layers import squash


class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3)
        self.head = nn.Linear(width, 3)

    def forward(self, image):
        return self.head(squash(self.conv(image)).mean((2, 3)))


class Pair(nn.Module):
    # Its first result is a tensor that the export calls `add`.
    def forward(self, ids, mask):
        total = ids + mask
        return {"sum": total, "kept": (total * 2 + mask).float().mean(1)}


class Four(nn.Module):
    def forward(self, image):
        return image.reshape(4, 8) + 1


def number(width):
    return width


def fails(width):
    raise ValueError("not today")
"""
_LAYERS = "def squash(x):\n    return x.relu()\n"
_IMAGE = "{image: {shape: [batch, 1, 8, 8]}}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toolchain_store(tmp_path_factory, "torch")


def save_safetensors(file: Path, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    """Write arrays as the format's description says: the length of a header, the header as JSON, the bytes."""
    header, end = {}, 0
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in arrays.values()))


def weights() -> dict[str, NDArray[np.float32]]:
    draw = np.random.default_rng(0)
    shapes = {"conv.weight": (8, 1, 3, 3), "conv.bias": (8,), "head.weight": (3, 8), "head.bias": (3,)}
    return {name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def a_module(project: Project, store: Path, *, name: str = "Net", inputs: str = _IMAGE, more: str = "") -> Project:
    """Write the files of a project with a module in `net/mine.py` and its weights."""
    project.write("net/mine.py", _CODE)
    project.write("net/layers.py", _LAYERS)
    project.write("net/README.md", "A small network.\n")
    save_safetensors(project.folder / "mine.safetensors", weights())
    model = f"name: mine\nformat: torch\ncode: net/mine.py:{name}\ninputs: {inputs}\n{more}"
    project.write("conf/model/mine.yaml", model)
    project.write("recipes/mine.yaml", "# @package _global_\ndefaults: [override /model: mine, _self_]\nname: mine\n")
    return exporting(project, store)


WEIGHTED = "path: mine.safetensors\noutputs: [scores]\n"


def exported(project: Project, name: str = "mine") -> Path:
    return project.folder / f"outputs/{name}/latest/artifacts/model/model.onnx"


def run(file: Path, **feed: NDArray[Any]) -> dict[str, NDArray[Any]]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def test_an_export_in_another_folder_has_the_same_bytes(make_project: Callable[[str], Project], store: Path) -> None:
    first, second = (a_module(make_project(name), store, more=WEIGHTED) for name in ("one", "quite/another"))

    for project in (first, second):
        made = action(project, "model", "recipe=mine", "fresh=[model]")
        assert made["status"] == "built", made

    stored = exported(first).read_bytes()
    assert stored == exported(second).read_bytes()
    assert str(first.folder).encode() not in stored
    assert b"mine.py" not in stored


def test_an_open_axis_takes_any_size_and_weights_are_those_of_the_file(project: Project, store: Path) -> None:
    a_module(project, store, more=WEIGHTED)
    assert action(project, "conversion", "recipe=mine")["status"] in ("built", "cached")
    images = np.random.default_rng(1).standard_normal((5, 1, 8, 8)).astype(np.float32)

    together = run(exported(project), image=images)["scores"]
    alone = np.concatenate([run(exported(project), image=image[None])["scores"] for image in images])

    kept = weights()
    patches = np.lib.stride_tricks.sliding_window_view(images[:, 0], (3, 3), axis=(1, 2))
    maps = np.einsum("nhwij,cij->nchw", patches, kept["conv.weight"][:, 0]) + kept["conv.bias"][None, :, None, None]
    expected = np.maximum(maps, 0).mean((2, 3)) @ kept["head.weight"].T + kept["head.bias"]
    np.testing.assert_allclose(alone, together, atol=1e-6)
    np.testing.assert_allclose(together, expected, atol=1e-5)


def test_an_edit_of_what_the_code_imports_exports_again_and_one_beside_it_does_not(
    project: Project, store: Path
) -> None:
    a_module(project, store, more=WEIGHTED)
    assert action(project, "model", "recipe=mine", "fresh=[model]")["status"] == "built"
    before = exported(project).read_bytes()

    project.write("net/README.md", "A small network, with words.\n")
    project.write("net/other.py", "import nothing\n")
    assert action(project, "model", "recipe=mine")["status"] == "cached"

    project.write("net/layers.py", _LAYERS.replace("relu", "tanh"))
    assert action(project, "model", "recipe=mine")["status"] == "built"
    assert exported(project).read_bytes() != before


def test_several_inputs_and_outputs_have_the_names_that_are_asked_for(project: Project, store: Path) -> None:
    """One output is called as the export calls another tensor, and inputs stand in another order than in the code."""
    inputs = "{mask: {shape: [batch, length], dtype: int64}, ids: {shape: [batch, length], dtype: int64}}"
    a_module(project, store, name="Pair", inputs=inputs, more="outputs: [sum, add]\nopset: 18\n")

    made = action(project, "model", "recipe=mine")

    assert made["status"] == "built", made
    assert made["facts"]["opset"] == 18
    ids, mask = np.arange(12).reshape(3, 4), np.arange(12).reshape(3, 4) % 2
    found = run(exported(project), ids=ids, mask=mask)
    session = onnxruntime.InferenceSession(exported(project), providers=["CPUExecutionProvider"])
    assert [port.name for port in session.get_inputs()] == ["mask", "ids"]
    np.testing.assert_array_equal(found["sum"], ids + mask)
    np.testing.assert_allclose(found["add"], ((ids + mask) * 2 + mask).mean(1))


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(project: Project, store: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (project.folder / "touched",))

    a_module(project, store, more="path: mine.pt\n")
    (project.folder / "mine.pt").write_bytes(pickle.dumps({"conv.weight": Evil()}))

    done = project.run("recipe=mine")

    assert done.returncode == 1
    assert "cannot be read without running code" in done.stdout
    assert "safetensors.torch.save_file" in done.stdout
    assert not (project.folder / "touched").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.arguments.width=16", "the weights do not fit Net: of another size: conv.bias is 8, not 16"),
        ("model.code=net/mine.py:number", "mine:number made int, not a module of PyTorch"),
        ("model.code=net/mine.py:fails", "mine:fails failed: ValueError: not today"),
        ("model.outputs=[scores,more]", "model.outputs names 2, and the exported model has 1"),
        ("model.outputs=[image]", "give two tensors the same name"),
        ("model.inputs.image.shape=[batch,2,8,8]", "Net fails on image [2, 2, 8, 8]"),
        ("~model.inputs", "model.inputs says nothing"),
        ("~model.code", "name what makes it: model.code=FILE.py:NAME"),
    ],
)
def test_what_is_wrong_with_a_module_is_said(project: Project, store: Path, setting: str, words: str) -> None:
    a_module(project, store, more=f"{WEIGHTED}arguments: {{width: 8}}\n")

    done = project.run("recipe=mine", setting)

    assert done.returncode in (1, 2)
    assert words in " ".join((done.stdout + done.stderr).split())


def test_an_axis_that_the_code_fixes_cannot_be_open(project: Project, store: Path) -> None:
    """torch.onnx fixes it without a word."""
    a_module(project, store, name="Four", inputs="{image: {shape: [batch, 8]}}", more="shapes: {image: [4, 8]}\n")

    done = project.run("recipe=mine")

    assert done.returncode == 1
    assert "the axis 'batch' of 'image' cannot be open: the module's code fixes it to 4" in done.stdout


def test_weights_made_from_a_trained_model_give_what_it_gives(project: Project, store: Path) -> None:
    """conf/assets/fashion_mobilenet: model.onnx was exported by TorchScript, this one by dynamo from safetensors."""
    project.write(
        "recipes/f.yaml", "# @package _global_\ndefaults: [override /model: fashion_from_torch, _self_]\nname: f\n"
    )
    exporting(project, store)
    assert action(project, "conversion", "recipe=f")["status"] in ("built", "cached")
    split = Split("t10k-images-idx3-ubyte.gz", portion=[0.0, 0.05])
    preprocess = Preprocess(scale=1 / 255, mean=[0.5], std=[0.5], layout=Layout.NCHW)
    data = Data("f", Reader.IDX, str(ROOT / "conf/assets/fashion_mnist"), splits={"test": split}, preprocess=preprocess)
    images = np.stack([np.asarray(sample.value) for sample in samples(data, "test")])

    found = run(exported(project, "f"), image=images)["logits"]
    known = run(ROOT / "conf/assets/fashion_mobilenet/model.onnx", image=images)["logits"]

    assert len(images) > 300
    np.testing.assert_allclose(found, known, atol=1e-4)
