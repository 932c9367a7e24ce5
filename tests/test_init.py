"""`init`: a stranger's model and data become recipes that build, and what cannot is said before anything is written."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from builder.__main__ import run
from builder.errors import UsageError
from builder.init.arguments import name_of
from builder.init.files import write
from builder.recipe.compose import compose
from builder.recipe.schema import Recipe
from builder.specs import Layout, Reader, Task

LEVELS = (30, 90, 150, 210)  # the brightness of each class
WRITTEN = ("conf/model/{}.yaml", "conf/data/{}.yaml", "recipes/{}.yaml", "recipes/{}_jetson.yaml")


def brightness_model(
    path: Path,
    shape: Sequence[int | str],
    *,
    dtype: int = TensorProto.FLOAT,
    nhwc: bool = False,
    classes: int = 4,
    last: str = "Identity",
) -> Path:
    """Write a network that scores how near an image's brightness, from -1 to 1 (uint8: 0 to 255), is to each level."""
    channels = shape[3] if nhwc else shape[1]
    assert isinstance(channels, int)
    raw = dtype == TensorProto.UINT8
    levels = np.resize(np.array(LEVELS, np.float32), classes)
    levels = levels if raw else levels / 127.5 - 1
    initializers = [
        numpy_helper.from_array(np.full((8, channels, 1, 1), 1 / channels, np.float32), "w1"),
        numpy_helper.from_array(np.tile(2 * levels / 8, (8, 1)).astype(np.float32), "w2"),
        numpy_helper.from_array((-(levels**2)).astype(np.float32), "b2"),
    ]
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["turned"], perm=[0, 3, 1, 2] if nhwc else [0, 1, 2, 3]),
        helper.make_node("Conv", ["turned", "w1"], ["c"], "conv"),
        helper.make_node("GlobalAveragePool", ["c"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["s"], "classifier"),
        helper.make_node(last, ["s"], ["scores"], "last"),
    ]
    inputs = [helper.make_tensor_value_info("image", dtype, shape)]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [shape[0], classes])]
    return save(path, nodes, inputs, outputs, initializers)


def save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], initializers: list[Any]) -> Path:
    graph = helper.make_graph(nodes, "toy", inputs, outputs, initializers)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def image(level: int, seed: int, size: tuple[int, int], channels: int = 1) -> Image.Image:
    noise = np.random.default_rng(seed).integers(-20, 21, (*size, channels))
    pixels = (level + noise).astype(np.uint8)
    return Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)


def image_folder(
    folder: Path,
    names: Sequence[str] = ("a", "b", "c", "d"),
    *,
    each: int = 10,
    size: tuple[int, int] = (8, 8),
    channels: int = 1,
) -> Path:
    """Write images of each level into a folder of its own, or with no names all into one."""
    for index in range(each * (len(names) or 1)):
        group = index % (len(names) or len(LEVELS))
        place = folder / names[group] if names else folder
        place.mkdir(parents=True, exist_ok=True)
        image(LEVELS[group % 4], index, size, channels).save(place / f"{index}.png")
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(model: Path, data: Path, name: str, *words: str) -> Recipe:
    """Run init, and return the recipe that it wrote."""
    assert run(["init", "--model", str(model), "--data", str(data), *words]) == 0
    return compose([f"recipe={name}"])


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def options(recipe: Recipe, step: str) -> Any:
    return next(use.options for use in recipe.steps if use.step == step)


def gates(recipe: Recipe) -> dict[str, float]:
    return {gate.name: gate.limit for gate in recipe.gates}


def test_a_strangers_model_and_images_build_for_host_and_jetson(project: Any) -> None:
    brightness_model(project.folder / "Models" / "My Net (v2).onnx", ["batch", 1, 8, 8])
    image_folder(project.folder / "images")

    done = project.run("init", "--model", "Models/My Net (v2).onnx", "--data", "images")

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("  python -m builder recipe=my_net_v2\n  python -m builder recipe=my_net_v2_jetson\n")
    assert all(f"wrote     {path.format('my_net_v2')}" in done.stdout for path in WRITTEN)
    for name, status in (("my_net_v2", "built"), ("my_net_v2_jetson", "deferred")):
        assert project.run("plan", f"recipe={name}").returncode == 0
        parser = ["steps.compile.parser=never"] if name.endswith("jetson") else []
        build = project.run(f"recipe={name}", "~steps.benchmark", *parser)
        assert build.returncode == 0, build.stdout + build.stderr
        assert build.stdout.splitlines()[-1].startswith(status)
        assert re.search(r"passed +gate +max_accuracy_drop", build.stdout)
        assert "top1 1.0000 -> 1.0000" in build.stdout


def test_the_scaling_with_which_the_float_model_is_right_is_chosen(folder: Path) -> None:
    recipe = made(brightness_model(folder / "net.onnx", ["n", 1, 8, 8]), image_folder(folder / "images"), "net")

    assert recipe.data is not None
    assert recipe.data.preprocess.mean == recipe.data.preprocess.std == [0.5]
    assert recipe.data.preprocess.scale == 1 / 255
    assert "100.0 %  pixels from -1 to 1" in (folder / "conf/data/net.yaml").read_text()


def test_class_folders_become_the_classes_and_an_accuracy_gate(folder: Path) -> None:
    names = ("a: b", "${oc.env:HOME}", "no", "10")
    images = image_folder(folder / "images", names)
    recipe = made(brightness_model(folder / "net.onnx", ["n", 1, 8, 8]), images, "net")

    assert recipe.data is not None
    assert recipe.data.classes == sorted(names)
    assert recipe.model.task is Task.CLASSIFICATION
    assert gates(recipe) == {"max_accuracy_drop": 0.01}
    assert 1 <= options(recipe, "quantize").calibration.samples < 40


def test_numbered_folders_say_which_score_they_are(folder: Path) -> None:
    images = image_folder(folder / "images", ("0", "10"))
    recipe = made(brightness_model(folder / "net.onnx", ["n", 1, 8, 8], classes=12), images, "net")

    assert recipe.data is not None
    assert recipe.data.classes == [str(index) for index in range(12)]


def test_more_or_fewer_class_folders_than_scores_are_compared_with_nothing(folder: Path) -> None:
    images = image_folder(folder / "images")
    for classes in (3, 5):
        model = brightness_model(folder / f"net{classes}.onnx", ["n", 1, 8, 8], classes=classes)
        recipe = made(model, images, f"net{classes}")

        assert recipe.model.task is Task.NONE
        assert gates(recipe) == {"min_snr_db": 10}


def test_one_probability_and_two_class_folders_are_a_binary_task(folder: Path) -> None:
    images = image_folder(folder / "images", ("dark", "bright"), each=20)
    model = brightness_model(folder / "net.onnx", ["n", 1, 8, 8], classes=1, last="Sigmoid")  # of being dark
    recipe = made(model, images, "net")

    assert recipe.data is not None
    assert (recipe.model.task, recipe.data.classes) == (Task.BINARY, ["bright", "dark"])
    assert "100.0 %  pixels from -1 to 1" in (folder / "conf/data/net.yaml").read_text()
    assert gates(recipe) == {"max_accuracy_drop": 0.01}


def test_unlabelled_images_are_judged_by_agreement(folder: Path) -> None:
    images = image_folder(folder / "images", (), each=40)
    recipe = made(brightness_model(folder / "net.onnx", ["n", 1, 8, 8]), images, "net")

    assert recipe.data is not None
    assert recipe.data.classes == []
    assert gates(recipe) == {"min_agreement": 0.95}
    assert "Without labels to compare with, it cannot be tried out" in (folder / "conf/data/net.yaml").read_text()


@pytest.mark.parametrize(
    ("shape", "layout", "channels"),
    [(["n", 8, 8, 3], Layout.NHWC, 3), (["n", 8, 8, 1], Layout.NHWC, 1), ([4, 3, 8, 8], Layout.NCHW, 3)],
)
def test_the_layout_and_the_channels_are_those_of_the_input(
    folder: Path, shape: list[int | str], layout: Layout, channels: int
) -> None:
    model = brightness_model(folder / "net.onnx", shape, nhwc=layout is Layout.NHWC)
    recipe = made(model, image_folder(folder / "images", channels=3), "net")

    assert recipe.data is not None
    preprocess = recipe.data.preprocess
    assert (preprocess.layout, preprocess.channels, preprocess.resize) == (layout, channels, None)


def test_an_input_of_bytes_gets_them_unscaled(folder: Path) -> None:
    model = brightness_model(folder / "net.onnx", ["n", 8, 8, 1], dtype=TensorProto.UINT8, nhwc=True)
    recipe = made(model, image_folder(folder / "images"), "net")

    assert recipe.data is not None
    preprocess = recipe.data.preprocess
    assert (preprocess.scale, preprocess.mean, preprocess.std, preprocess.dtype) == (1.0, [], [], "uint8")


def test_other_sizes_are_brought_to_the_inputs(folder: Path) -> None:
    for name, size, resize, crop in (
        ("same", (16, 16), None, None),
        ("larger", (32, 32), [16, 16], None),
        ("oblong", (20, 40), [18], [16, 16]),
    ):
        model = brightness_model(folder / f"{name}.onnx", ["n", 1, 16, 16])
        recipe = made(model, image_folder(folder / f"{name}_images", size=size), name)

        assert recipe.data is not None
        assert (recipe.data.preprocess.resize, recipe.data.preprocess.crop) == (resize, crop)


def test_an_open_height_and_width_are_those_of_most_images(folder: Path) -> None:
    images = image_folder(folder / "images", size=(12, 20))
    image(30, 99, (9, 9)).save(images / "a" / "odd.png")
    recipe = made(brightness_model(folder / "net.onnx", ["n", 1, "h", "w"]), images, "net")

    assert recipe.data is not None
    assert recipe.data.preprocess.resize == [12, 20]
    assert recipe.model.shapes == {"image": [1, 1, 12, 20]}


def test_parts_that_are_there_already_are_used(folder: Path) -> None:
    image_folder(folder / "data" / "train")
    image_folder(folder / "data" / "val", each=3)
    recipe = made(brightness_model(folder / "net.onnx", ["n", 1, 8, 8]), folder / "data", "net")

    assert recipe.data is not None
    assert {name: split.path for name, split in recipe.data.splits.items()} == {"calibration": "train", "test": "val"}
    assert options(recipe, "quantize").calibration.samples == 40


def test_a_table_of_paths_and_words_is_read(folder: Path) -> None:
    images = image_folder(folder / "images")
    rows = [(str(path.relative_to(images)), path.parent.name) for path in sorted(images.rglob("*.png"))]
    with (images / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label"), *rows])
    recipe = made(brightness_model(folder / "net.onnx", ["n", 1, 8, 8]), images, "net")

    assert recipe.data is not None
    assert (recipe.data.reader, recipe.data.classes) == (Reader.CSV, ["a", "b", "c", "d"])
    assert gates(recipe) == {"max_accuracy_drop": 0.01}


def test_arrays_that_fit_go_in_as_they_are(folder: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((30, 1, 8, 8)).astype(np.float32)
    np.savez(folder / "data.npz", samples=rows, labels=np.arange(30) % 4)
    recipe = made(brightness_model(folder / "net.onnx", ["n", 1, 8, 8]), folder / "data.npz", "net")

    assert recipe.data is not None
    assert (recipe.data.reader, recipe.data.preprocess.scale) == (Reader.NPZ, 1.0)
    assert recipe.data.preprocess.layout is Layout.AS_READ


def test_state_is_paired_and_what_is_not_known_is_left_to_fill_in(folder: Path, capsys: Any) -> None:
    def info(name: str, kind: int, shape: list[int | str]) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    nodes = [
        helper.make_node("Mul", ["x", "gain"], ["scaled"]),
        helper.make_node("Add", ["scaled", "state"], ["y"]),
        helper.make_node("Identity", ["y"], ["stateN"]),
    ]
    shape: list[int | str] = [1, 1, 8, 8]
    inputs = [info("x", TensorProto.FLOAT, shape), info("state", TensorProto.FLOAT, shape)]
    outputs = [info("y", TensorProto.FLOAT, shape), info("stateN", TensorProto.FLOAT, shape)]
    model = save(folder / "net.onnx", nodes, [*inputs, info("gain", TensorProto.FLOAT, [])], outputs, [])
    recipe = made(model, image_folder(folder / "images"), "net")

    assert recipe.data is not None
    assert recipe.model.state == {"state": "stateN"}
    assert recipe.data.input == "x"
    assert "fill in   conf/model/net.yaml: what gain gets" in capsys.readouterr().out
    assert "this takes them out of their order" in (folder / "conf/data/net.yaml").read_text()
    assert "#   gain: 0  # float32[]" in (folder / "conf/model/net.yaml").read_text()


def test_the_jetson_recipe_only_adds_what_differs(folder: Path) -> None:
    recipe = made(brightness_model(folder / "net.onnx", ["n", 1, 8, 8]), image_folder(folder / "images"), "net")
    jetson = compose(["recipe=net_jetson"])

    assert [use.name for use in recipe.steps] == ["simplify", "quantize", "evaluate", "benchmark"]
    assert {use.name for use in jetson.steps} - {use.name for use in recipe.steps} == {"compile"}
    assert options(jetson, "quantize").style.value == "tensorrt"
    assert options(jetson, "quantize").calibration == options(recipe, "quantize").calibration
    assert gates(jetson) == gates(recipe)


def test_few_samples_are_said_to_be_few(folder: Path, capsys: Any) -> None:
    images = image_folder(folder / "images", each=1)
    recipe = made(brightness_model(folder / "net.onnx", ["n", 1, 8, 8]), images, "net")

    assert recipe.data is not None
    assert options(recipe, "quantize").calibration.samples in {1, 2, 3}
    assert "THESE ARE FEW" in (folder / "conf/data/net.yaml").read_text()
    assert "which says little" in capsys.readouterr().out


def test_nothing_is_written_over_without_force(folder: Path, capsys: Any) -> None:
    model, images = brightness_model(folder / "net.onnx", ["n", 1, 8, 8]), image_folder(folder / "images")
    (folder / "recipes").mkdir()
    (folder / "recipes" / "net.yaml").write_text("mine")
    before = files(folder)
    words = ["init", "--model", str(model), "--data", str(images)]

    assert run(words) == 2
    assert "recipes/net.yaml is there already; nothing was written" in capsys.readouterr().err
    assert (files(folder), (folder / "recipes" / "net.yaml").read_text()) == (before, "mine")
    assert run([*words, "--force"]) == 0
    assert (folder / "recipes" / "net.yaml").read_text() != "mine"
    assert files(folder) == before | {path.format("net") for path in WRITTEN}


def test_a_folder_that_cannot_be_made_leaves_nothing_behind(folder: Path, capsys: Any) -> None:
    model, images = brightness_model(folder / "net.onnx", ["n", 1, 8, 8]), image_folder(folder / "images")
    (folder / "recipes").write_text("a file in the way")
    before = files(folder)

    assert run(["init", "--model", str(model), "--data", str(images)]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert files(folder) == before
    assert not (folder / "conf").exists()


def test_where_the_second_file_cannot_take_its_place_the_first_gets_its_content_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "a" / "old.yaml", tmp_path / "b" / "new.yaml"
    old.parent.mkdir()
    old.write_text("old")
    replace = Path.replace
    done: list[Path] = []

    def full(self: Path, target: Path) -> Path:
        if len(done) == 2:
            raise OSError(28, "No space left on device")
        done.append(target)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UsageError, match=r"cannot write .*last.yaml: No space left on device"):
        write({old: "changed", new: "made", tmp_path / "last.yaml": "made"})

    assert done == [old, new]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [old]
    assert old.read_text() == "old"
    assert not new.parent.exists()


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("--data images", "--model is missing", "--model my.onnx --data ./images"),
        ("--model net.onnx", "--data is missing", "--model my.onnx --data ./images"),
        ("--model nte.onnx --data images", "there is no file nte.onnx", "did you mean 'net.onnx'?"),
        ("--model images --data images", "images is a folder", "FILE.onnx"),
        ("--modle net.onnx --data images", "there is no option '--modle'", "did you mean '--model'?"),
        ("net.onnx images", "nothing says what 'net.onnx' is", "--model my.onnx"),
        ("--model net.onnx --data images --name Net", "got 'Net'", "--name net"),
        ("--model net.onnx --data images --name 1e5", "'1e5' means something else", "--name model_1e5"),
        ("--model net.onnx --data images --name jetson_int8", "'jetson_int8' is built in", "--name my_jetson_int8"),
        ("--model net.onnx --data", "expected one argument", "--data ./images"),
    ],
)
def test_a_wrong_command_line_is_said_so(folder: Path, capsys: Any, words: str, message: str, hint: str) -> None:
    (folder / "net.onnx").touch()
    (folder / "images").mkdir()

    assert run(["init", *words.split()]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert f"hint: {hint}" in said or hint in said.partition("hint: ")[2]
    assert files(folder) == {"net.onnx"}


def test_help_is_help(project: Any) -> None:
    done = project.run("init", "--help")

    assert done.returncode == 0
    assert done.stdout.startswith("usage: python -m builder init")
    assert "--force" in done.stdout


@pytest.mark.parametrize("how", ["text", "truncated", "empty", "quantized", "four channels", "rejected"])
def test_a_file_that_is_no_float_model_of_images_is_refused(folder: Path, capsys: Any, how: str) -> None:
    model = brightness_model(folder / "net.onnx", ["n", 4 if how == "four channels" else 1, 8, 8])
    if how == "text":
        model.write_text("import torch\n" * 99)
    elif how == "truncated":
        model.write_bytes(model.read_bytes()[:200])
    elif how == "empty":
        model.write_bytes(b"")
    elif how in {"quantized", "rejected"}:
        loaded = onnx.load(str(model))
        loaded.graph.node.add(op_type="QuantizeLinear" if how == "quantized" else "Nonsense", input=["p"], output=["q"])
        onnx.save(loaded, str(model))
    images = image_folder(folder / "images")
    before = files(folder)

    assert run(["init", "--model", str(model), "--data", str(images)]) == 1
    said = capsys.readouterr().err
    assert {"quantized": "quantized already", "four channels": "no axis of it is", "rejected": "rejects"}.get(
        how, "net.onnx"
    ) in said
    assert files(folder) == before


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("imagse", "there is no imagse"),
        ("empty", "empty is empty"),
        ("damaged", "cannot be read as an image"),
        ("notes", "is no image"),
        ("notes/notes.txt", "nothing says how"),
        ("images/a/0.png", "is one image"),
        ("sound", "holds recordings"),
        ("alike", "cannot be divided"),
        ("wide.npz", "takes float32[?, 1, 8, 8]"),
    ],
)
def test_data_that_cannot_be_used_is_refused(folder: Path, capsys: Any, data: str, message: str) -> None:
    model = brightness_model(folder / "net.onnx", ["n", 1, 8, 8])
    image_folder(folder / "images")
    for name in ("empty", "damaged", "notes", "sound", "alike"):
        (folder / name).mkdir()
    (folder / "damaged" / "a.png").write_bytes(b"\x89PNG\r\n")
    (folder / "notes" / "notes.txt").touch()
    (folder / "sound" / "a.wav").touch()
    for name in ("1.png", "2.png"):
        image(30, 1, (8, 8)).save(folder / "alike" / name)
    np.savez(folder / "wide.npz", samples=np.zeros((9, 5), np.float32))
    before = files(folder)

    assert run(["init", "--model", str(model), "--data", data]) == 1
    assert message in capsys.readouterr().err
    assert files(folder) == before


def test_names_of_tensors_cannot_leave_their_comment(folder: Path) -> None:
    model = brightness_model(folder / "net.onnx", ["n", 1, 8, 8])
    loaded = onnx.load(str(model))
    evil = "scores\ntask: none\nurl: https://example.org"
    loaded.graph.output[0].name = loaded.graph.node[-1].output[0] = evil
    onnx.save(loaded, str(model))
    recipe = made(model, image_folder(folder / "images"), "net")

    assert (recipe.model.task, recipe.model.url) == (Task.CLASSIFICATION, None)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("MobileNet V2 (int8).onnx", "mobilenet_v2_int8"),
        ("_best.onnx", "best"),
        ("日本.onnx", "model"),
        ("2024.onnx", "model_2024"),
        ("null.onnx", "model_null"),
        ("yolo11n-cls.onnx", "yolo11n-cls"),
    ],
)
def test_a_name_is_made_of_the_files(file: str, name: str) -> None:
    assert name_of(Path(file)) == name


def test_paths_outside_the_folder_stay_absolute(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    model = brightness_model(elsewhere / "net.onnx", ["n", 1, 8, 8])
    images = image_folder(folder / "images")
    recipe = made(Path(os.path.relpath(model)), images, "net")

    assert recipe.data is not None
    assert (recipe.model.path, recipe.data.root) == (str(model), "images")
