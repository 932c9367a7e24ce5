"""Models of TensorFlow Lite, converted by TensorFlow itself, float and quantized."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from exports import action, exporting, toolchain_store
from frameworks import ask, model_of, run_in
from projects import ROOT, Project

pytestmark = pytest.mark.formats

_SAVE = """
import keras, numpy as np, tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers as L

keras.utils.set_random_seed(3)
net = keras.Sequential([keras.Input((8, 8, 3), name="image"), L.Conv2D(8, 3, padding="same"), L.ReLU(6.0),
                        L.DepthwiseConv2D(3), L.GlobalAveragePooling2D(), L.Dense(4)])
draw = np.random.default_rng(0)
images = draw.standard_normal((32, 8, 8, 3), np.float32)


def save(name, **settings):
    converter = tf.lite.TFLiteConverter.from_keras_model(net)
    for key, value in settings.items():
        setattr(converter, key, value)
    open(name + ".tflite", "wb").write(converter.convert())


save("float")
save("int8", optimizations=[tf.lite.Optimize.DEFAULT], representative_dataset=lambda: [[i[None]] for i in images])

lite = Interpreter("float.tflite", num_threads=1)
lite.resize_tensor_input(0, [5, 8, 8, 3])
lite.allocate_tensors()
lite.set_tensor(lite.get_input_details()[0]["index"], images[:5])
lite.invoke()
np.savez("told.npz", image=images[:5], output0=lite.get_tensor(lite.get_output_details()[0]["index"]))

flex = tf.lite.TFLiteConverter.from_concrete_functions([
    tf.function(lambda x: tf.linalg.det(x)).get_concrete_function(tf.TensorSpec([3, 3], tf.float32))])
flex.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
open("flex.tflite", "wb").write(flex.convert())
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toolchain_store(tmp_path_factory, "tensorflow")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Path:
    folder = tmp_path_factory.mktemp("tflite")
    run_in(store, "tensorflow", _SAVE, folder)
    return folder


def model(project: Project, store: Path, file: Path, more: str = "") -> Project:
    return model_of(project, store, f"format: tflite\npath: {file}\n{more}")


def test_outputs_are_those_of_litert_for_any_batch(project: Project, store: Path, saved: Path) -> None:
    model(project, store, saved / "float.tflite")

    made = action(project, "conversion", "recipe=mine")

    assert made["status"] in ("built", "cached"), made
    with np.load(saved / "told.npz") as told:
        np.testing.assert_allclose(ask(project, image=told["image"])["output0"], told["output0"], atol=1e-5)
        assert ask(project, image=told["image"][:1])["output0"].shape == (1, 4)


def test_a_quantized_file_becomes_qdq_that_agrees_with_litert(project: Project, store: Path, saved: Path) -> None:
    """Both round to int8 at every layer, in other places: a limit that fits takes the place of the one for floats."""
    import onnx

    model(project, store, saved / "int8.tflite")

    made = action(project, "conversion", "recipe=mine", "gates.max_conversion_difference=0.05")

    assert made["status"] in ("built", "cached"), made
    assert float(made["facts"]["difference"].split()[0]) < 0.05
    graph = onnx.load(str(project.folder / "outputs/mine/latest/artifacts/model/model.onnx")).graph
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in graph.node}


def test_names_and_shapes_can_be_chosen(project: Project, store: Path, saved: Path) -> None:
    model(project, store, saved / "float.tflite", "inputs: {photo: {shape: [3, 8, 8, 3]}}\noutputs: [scores]\n")

    assert action(project, "conversion", "recipe=mine")["status"] in ("built", "cached")
    assert ask(project, photo=np.zeros((3, 8, 8, 3), np.float32))["scores"].shape == (3, 4)


def test_an_export_has_the_same_bytes_in_another_folder_and_after_another_one(
    make_project: Callable[[str], Project], store: Path, saved: Path
) -> None:
    one, two = (model(make_project(name), store, saved / "float.tflite") for name in ("one", "quite/another"))

    assert action(one, "model", "recipe=mine", "model.opset=17", "fresh=[model]")["status"] == "built"
    swept = two.run("recipe=mine", "-m", "model.opset=16,17", "fresh=[model]", "jobs=1", "output=json")

    assert swept.returncode == 0, swept.stderr
    first = (one.folder / "outputs/mine/latest/artifacts/model/model.onnx").read_bytes()
    others = {file.read_bytes() for file in (two.folder / "outputs").rglob("artifacts/model/model.onnx")}
    assert len(others) == 2
    assert first in others
    assert str(saved).encode() not in first


@pytest.mark.parametrize(
    ("file", "words"),
    [("told.npz", "is no model of TensorFlow Lite"), ("flex.tflite", "TFLITE_BUILTINS")],
)
def test_what_litert_cannot_run_is_refused(project: Project, store: Path, saved: Path, file: str, words: str) -> None:
    model(project, store, saved / file)

    done = project.run("recipe=mine")

    assert done.returncode == 1
    assert words in done.stdout


def test_the_recipe_keeps_its_gates(project: Project, store: Path) -> None:
    exporting(project, store)

    evaluated = action(project, "evaluate", "recipe=tflite_import", "~steps.benchmark")

    assert evaluated["status"] in ("built", "cached"), evaluated
    manifest = json.loads((project.folder / "outputs/tflite_import/latest/manifest.json").read_text(encoding="utf-8"))
    assert {gate["status"] for gate in manifest["gates"]} == {"passed"}
    assert (ROOT / "conf/assets/keras_digits/digits.tflite").stat().st_size < 100_000
