"""The README is true: its links lead somewhere, and its day-one section works as written, from a wheel."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from projects import ROOT
from readme import README, command


def test_every_local_link_leads_to_a_file() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_recipe_it_names_is_there() -> None:
    named = set(re.findall(r"recipe=([a-z0-9_]+)", README)) - {"mine", "mine_jetson"}

    assert {name for name in named if not (ROOT / "recipes" / f"{name}.yaml").is_file()} == set()


def test_the_recipe_it_shows_is_the_one_that_is_built_in() -> None:
    assert command("recipe: jetson_int8") == (ROOT / "recipes/jetson_int8.yaml").read_text(encoding="utf-8")


def write_stranger(folder: Path) -> None:
    """Write what a stranger brings: a network for 24 x 24 colour images, and a folder of such images by class."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from PIL import Image

    random = np.random.default_rng(3)
    arrays = {"w": (16, 3, 3, 3), "b": (16,), "v": (16, 4), "c": (4,)}
    weights = [
        numpy_helper.from_array((random.standard_normal(shape) * 0.2).astype(np.float32), name)
        for name, shape in arrays.items()
    ]
    nodes = [
        helper.make_node("Conv", ["pixels", "w", "b"], ["x"], "first", strides=[2, 2]),
        helper.make_node("Relu", ["x"], ["y"], "second"),
        helper.make_node("GlobalAveragePool", ["y"], ["z"], "third"),
        helper.make_node("Flatten", ["z"], ["f"], "fourth"),
        helper.make_node("Gemm", ["f", "v", "c"], ["classes"], "fifth"),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 24, 24])
    classes = helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph(nodes, "stranger", [pixels], [classes], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8), folder / "mine.onnx")
    for label, name in enumerate(("bird", "boat", "cat", "tree")):
        (folder / "images" / name).mkdir(parents=True)
        for index in range(30):
            tint = np.roll(np.array([200, 60, 20, 120])[:3], label)
            array = np.clip(random.normal(tint, 40, (24, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(array).save(folder / "images" / name / f"{index}.png")


@pytest.mark.slow
def test_day_one_works_as_written_in_an_empty_folder_with_a_wheel(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    write_stranger(folder)
    lines = [line for line in command("command: day one").splitlines() if line and not line.startswith("#")]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)], cwd=folder, capture_output=True, text=True, check=False
    )

    assert len(lines) <= 5
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("mine", "mine_jetson"):
        assert (folder / "outputs" / name / "latest" / "artifacts" / "quantize" / "model.onnx").is_file()
    assert "waiting for jetson_orin: compile" in done.stdout
