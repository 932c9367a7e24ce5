"""YOLO networks of Ultralytics, with weights from a seed or from safetensors, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from exports import action, exporting, toolchain_store
from frameworks import ask, model_of, run_in
from projects import ROOT, Project

pytestmark = pytest.mark.formats

_SMALL = """\
format: ultralytics
arguments: {network: yolo11n, classes: 3}
inputs: {images: {shape: %s}}
outputs: [output0]
"""
# What a user does who has trained one: weights other than those from the seed, and what Ultralytics makes of an image.
_SAVE = """
import numpy as np, torch
from safetensors.torch import save_file
from ultralytics.nn.tasks import DetectionModel

torch.manual_seed(7)
network = DetectionModel("yolo11n.yaml", nc=3, verbose=False).eval().float()
torch.save({"model": network}, "best.pt")
save_file(network.state_dict(), "best.safetensors")
image = torch.rand(2, 3, 96, 64)
with torch.no_grad():
    np.savez("told.npz", images=image.numpy(), output0=network(image)[0].numpy())
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toolchain_store(tmp_path_factory, "ultralytics")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Path:
    folder = tmp_path_factory.mktemp("yolo")
    run_in(store, "ultralytics", _SAVE, folder)
    return folder


def model(project: Project, store: Path, shape: str = "[1, 3, 96, 64]", more: str = "") -> Project:
    return model_of(project, store, _SMALL % shape + more)


@pytest.mark.parametrize("shape", ["[batch, 3, 96, 64]", "[batch, 3, height, width]"])
def test_trained_weights_give_what_ultralytics_makes_of_an_image(
    project: Project, store: Path, trained: Path, shape: str
) -> None:
    model(project, store, shape, f"path: {trained}/best.safetensors\nshapes: {{images: [2, 3, 96, 64]}}\n")

    made = action(project, "conversion", "recipe=mine")

    assert made["status"] in ("built", "cached"), made
    with np.load(trained / "told.npz") as told:
        found = ask(project, images=told["images"])["output0"]
        np.testing.assert_allclose(found, told["output0"], atol=1e-3)  # boxes are in pixels
        np.testing.assert_allclose(found[:, 4:], told["output0"][:, 4:], atol=1e-5)


def test_an_export_has_the_same_bytes_in_another_folder_and_says_what_its_runtime_reads(
    make_project: Callable[[str], Project], store: Path
) -> None:
    projects = [model(make_project(name), store) for name in ("one", "quite/another")]
    files = []
    for project in projects:
        assert action(project, "model", "recipe=mine", "fresh=[model]")["status"] == "built"
        files.append(project.folder / "outputs/mine/latest/artifacts/model/model.onnx")

    assert files[0].read_bytes() == files[1].read_bytes()
    told = {entry.key: entry.value for entry in onnx.load(str(files[0])).metadata_props}
    assert told == {"imgsz": "[96, 64]", "names": "{0: '0', 1: '1', 2: '2'}", "stride": "32", "task": "detect"}


def test_a_pickle_is_refused_with_the_way_out(project: Project, store: Path, trained: Path) -> None:
    model(project, store, more=f"path: {trained}/best.pt\n")

    done = project.run("recipe=mine")

    assert done.returncode == 1
    assert ".pt of Ultralytics is a pickle of the whole network: reading one runs the code in it" in done.stdout
    assert "safetensors.torch.save_file(YOLO('best.pt').model.float().state_dict()" in done.stdout


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.arguments.network=yolo99q", "has no network 'yolo99q'"),
        ("model.arguments.network=../yolo11n", "it names no network of Ultralytics"),
        ("+model.arguments.depth=3", "there is no 'depth'"),
        ("model.arguments.classes=80", "the weights do not fit DetectionModel: of another size"),
    ],
)
def test_what_is_wrong_is_said(project: Project, store: Path, trained: Path, setting: str, words: str) -> None:
    model(project, store, more=f"path: {trained}/best.safetensors\n")

    done = project.run("recipe=mine", setting)

    assert done.returncode == 1, done.stderr
    assert words in " ".join(done.stdout.split())


def test_the_recipe_keeps_its_gates(project: Project, store: Path) -> None:
    exporting(project, store)

    evaluated = action(project, "evaluate", "recipe=yolo11n_int8", "~steps.benchmark")

    assert evaluated["status"] in ("built", "cached"), evaluated
    manifest = json.loads((project.folder / "outputs/yolo11n_int8/latest/manifest.json").read_text(encoding="utf-8"))
    assert {gate["status"] for gate in manifest["gates"]} == {"passed"}


def test_nothing_of_agpl_is_in_the_core() -> None:
    named = [
        path for path in (ROOT / "builder").rglob("*.py") if "import ultralytics" in path.read_text(encoding="utf-8")
    ]

    assert named == []
    assert "ultralytics" not in (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.")[0]
