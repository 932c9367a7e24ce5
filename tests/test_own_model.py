"""A project's own model: the files and commands of the README, in a folder of their own."""

from __future__ import annotations

import json
import re
import shlex
import struct
from pathlib import Path

import pytest
from exports import action, exporting, toolchain_store
from projects import ROOT, Project

README = (ROOT / "README.md").read_text(encoding="utf-8")
COLOURS = {"blue": (40, 60, 200), "green": (40, 190, 60), "red": (210, 50, 40)}


def readme_files() -> dict[str, str]:
    """Return what the README says that the project holds: path -> text."""
    return dict(re.findall(r"<!-- file: (\S+) -->\n```\w*\n(.*?)```", README, re.DOTALL))


def readme_commands() -> list[list[str]]:
    found = re.search(r"<!-- command: own model -->\n```\w*\n(.*?)```", README, re.DOTALL)
    assert found
    return [shlex.split(line) for line in found[1].splitlines()]


def write_weights(path: Path) -> None:
    """Write weights in the form of safetensors that tell colours apart: each block hands on the means of the three."""
    import numpy as np

    random = np.random.default_rng(5)
    shapes = {"blocks.0.0": (8, 3, 3, 3), "blocks.1.0": (16, 8, 3, 3), "head": (3, 16)}
    arrays = {}
    for name, shape in shapes.items():
        weight = random.normal(0, 0.02, shape)
        for channel in range(3):
            row = 2 - channel if name == "head" else channel  # classes by name: blue, green, red
            weight[row, channel] = 4.0 if name == "head" else 1 / 9
        arrays[f"{name}.weight"] = weight.astype(np.float32)
        arrays[f"{name}.bias"] = np.zeros(shape[0], np.float32)
    header, end = {}, 0
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(array.tobytes() for array in arrays.values()))


def write_images(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(6)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for index in range(40):
            pixels = np.clip(random.normal(colour, 50, (36, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")


@pytest.fixture
def mine(project: Project) -> Project:
    for path, text in readme_files().items():
        project.write(path, text)
    write_weights(project.folder / "weights.safetensors")
    write_images(project.folder / "images")
    return project


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toolchain_store(tmp_path_factory, "torch")


def test_an_edit_of_a_layer_would_export_again_and_one_of_a_readme_would_not(mine: Project) -> None:
    def keys() -> dict[str, str]:
        done = mine.run("plan", "recipe=mine", "output=json")
        assert done.returncode == 0, done.stderr
        return {each["name"]: each["key"] for each in json.loads(done.stdout)["actions"] if each.get("key")}

    offline = mine.run("recipe=mine", "offline=true")  # brings the weights, and lacks the toolchain
    assert "toolchain torch is not in the store, and offline=true forbids" in offline.stdout + offline.stderr
    first = keys()
    mine.write("README.md", "about it\n")
    idle = keys()
    mine.write("layers.py", readme_files()["layers.py"].replace("nn.ReLU()", "nn.ReLU6()"))
    edited = keys()

    assert idle == first
    assert {name for name in first if first[name] != edited[name]} == {"model"}


def test_a_recipe_may_not_name_the_code(mine: Project) -> None:
    mine.write("recipes/mine.yaml", readme_files()["recipes/mine.yaml"] + "model: {code: 'mymodel.py:Net'}\n")
    done = mine.run("plan", "recipe=mine")

    assert done.returncode == 2
    assert "'model.code' names code, so a recipe cannot set it" in done.stderr


@pytest.mark.formats
def test_the_files_and_commands_of_the_readme_work_as_written(mine: Project, store: Path) -> None:
    import onnx

    exporting(mine, store)
    for python, module, name, *words in readme_commands():
        assert [python, module, name] == ["python", "-m", "builder"]
        done = mine.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    built = {name: mine.folder / "outputs" / name / "latest" for name in ("mine", "mine_jetson")}
    manifests = {name: json.loads((folder / "manifest.json").read_text()) for name, folder in built.items()}

    for folder in built.values():
        nodes = onnx.load(str(folder / "artifacts/quantize/model.onnx")).graph.node
        assert "QuantizeLinear" in {node.op_type for node in nodes}
    assert manifests["mine"]["status"] == "built"
    assert manifests["mine_jetson"]["status"] == "deferred"
    assert {gate["status"] for gate in manifests["mine"]["gates"]} == {"passed"}
    top1 = next(each for each in manifests["mine"]["actions"] if each["name"] == "evaluate")["facts"]["top1"]
    assert top1.startswith("1.0000 -> 1.0000"), top1


@pytest.mark.formats
def test_an_edit_of_a_layer_exports_again_and_one_of_a_readme_does_not(mine: Project, store: Path) -> None:
    exporting(mine, store)
    words = ("recipe=mine", "~steps.benchmark", "~steps.quantize", "gates.min_agreement=null")
    first = action(mine, "model", *words)
    mine.write("README.md", "about it\n")
    idle = action(mine, "model", *words)
    mine.write("layers.py", readme_files()["layers.py"].replace("nn.ReLU()", "nn.ReLU6()"))
    edited = action(mine, "model", *words)

    assert idle["status"] == "cached"
    assert (edited["status"], edited["reason"]) == ("built", "code changed: layers")
    assert edited["outputs"]["model"]["sha256"] != first["outputs"]["model"]["sha256"]
