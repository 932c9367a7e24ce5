"""Models of Keras, saved by Keras itself or built by a project's code, and what comes out of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from exports import action, exporting, toolchain_store
from frameworks import ask, model_of, run_in
from projects import Project

pytestmark = pytest.mark.formats

_SAVE = """
import keras, numpy as np
from keras import layers as L

keras.utils.set_random_seed(3)
image, facts = keras.Input((8, 8, 3), name="image"), keras.Input((4,), name="facts")
x = L.BatchNormalization()(L.Conv2D(8, 3, strides=2, padding="same", activation="swish")(image))
x = L.Concatenate()([L.Flatten()(x), L.Dense(4, activation="gelu")(facts)])
outputs = {"score": L.Dense(5, activation="softmax", name="a")(x), "box": L.Dense(4, name="b")(x)}
model = keras.Model({"image": image, "facts": facts}, outputs)
model.save("two.keras")
draw = np.random.default_rng(0)
feed = {"image": draw.standard_normal((7, 8, 8, 3), np.float32), "facts": draw.standard_normal((7, 4), np.float32)}
np.savez("told.npz", **feed, **{name: np.asarray(made) for name, made in model(feed, training=False).items()})

turns = keras.Sequential([keras.Input((12, 5)), L.Bidirectional(L.LSTM(4)), L.LayerNormalization(), L.Dense(2)])
turns.save("turns.keras")
tokens = keras.Input((6, 16))
attended = L.LayerNormalization()(tokens + L.MultiHeadAttention(2, 8)(tokens, tokens))
keras.Model(tokens, L.Dense(3)(attended)).save("attention.keras")

keras.Sequential([keras.Input((4,)), L.Lambda(lambda x: x * 2), L.Dense(2)]).save("lambda.keras")
keras.Sequential([keras.Input((4,)), L.Dense(2)]).save("old.h5")


@keras.saving.register_keras_serializable("mine")
class Thrice(L.Layer):
    def call(self, x):
        return x * 3


own = keras.Sequential([keras.Input((4,), name="numbers"), Thrice(), L.Dense(2, name="sums")])
own.save("own.keras")
own.save_weights("own.weights.h5")
np.savez("own.npz", numbers=np.eye(4, dtype=np.float32), sums=np.asarray(own(np.eye(4, dtype=np.float32))))
"""
_CODE = """
import keras
from keras import layers


class Thrice(layers.Layer):
    def call(self, x):
        return x * 3


def own(width=2):
    return keras.Sequential([keras.Input((4,), name="numbers"), Thrice(), layers.Dense(width, name="sums")])


def words(width=2):
    return "no model"
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toolchain_store(tmp_path_factory, "tensorflow")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Path:
    """A folder of models that Keras saved, and of what it made of some inputs."""
    folder = tmp_path_factory.mktemp("keras")
    run_in(store, "tensorflow", _SAVE, folder)
    return folder


def model(project: Project, store: Path, file: Path, more: str = "") -> Project:
    return model_of(project, store, f"format: keras\npath: {file}\n{more}")


def test_several_inputs_and_outputs_keep_their_names_and_what_keras_makes_of_them(
    project: Project, store: Path, saved: Path
) -> None:
    model(project, store, saved / "two.keras")

    made = action(project, "conversion", "recipe=mine")

    assert made["status"] in ("built", "cached")
    with np.load(saved / "told.npz") as told:
        found = ask(project, image=told["image"], facts=told["facts"])
        assert set(found) == {"score", "box"}
        for name, value in found.items():
            np.testing.assert_allclose(value, told[name], atol=1e-5)


@pytest.mark.parametrize("name", ["turns", "attention"])
def test_recurrent_layers_and_attention_come_out_right(project: Project, store: Path, saved: Path, name: str) -> None:
    model(project, store, saved / f"{name}.keras")

    made = action(project, "conversion", "recipe=mine")

    assert made["status"] in ("built", "cached"), made
    assert float(made["facts"]["difference"].split()[0]) < 1e-5


@pytest.mark.parametrize("name", ["two", "turns"])
def test_an_export_has_the_same_bytes_in_another_folder_and_after_another_one(
    make_project: Callable[[str], Project], store: Path, saved: Path, name: str
) -> None:
    """tf2onnx numbers names from one counter, and a worker makes one export after another."""
    one, two = (model(make_project(place), store, saved / f"{name}.keras") for place in ("one", "quite/another"))
    exports = "outputs/mine/latest/artifacts/model/model.onnx"

    assert action(one, "model", "recipe=mine", "model.opset=17", "fresh=[model]")["status"] == "built"
    swept = two.run("recipe=mine", "-m", "model.opset=16,17", "fresh=[model]", "jobs=1", "output=json")

    assert swept.returncode == 0, swept.stderr
    first = (one.folder / exports).read_bytes()
    others = {file.read_bytes() for file in (two.folder / "outputs").rglob("artifacts/model/model.onnx")}
    assert len(others) == 2
    assert first in others
    assert str(saved).encode() not in first


def test_a_model_of_the_projects_own_code_takes_its_weights_from_a_file(
    project: Project, store: Path, saved: Path
) -> None:
    project.write("net.py", _CODE)
    model(project, store, saved / "own.weights.h5", "code: net.py:own\n")

    made = action(project, "conversion", "recipe=mine")

    assert made["status"] in ("built", "cached"), made
    with np.load(saved / "own.npz") as told:
        np.testing.assert_allclose(ask(project, numbers=told["numbers"])["sums"], told["sums"], atol=1e-6)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("lambda.keras", "the file holds a 'Lambda', whose code is not Keras's own, and a model file may run none"),
        ("own.keras", "the file holds a 'Thrice', whose code is not Keras's own"),
        ("old.h5", "lies in a .keras file, not in .h5"),
        ("told.npz", "lies in a .keras file, not in .npz"),
        ("renamed.keras", "it holds no config.json"),
    ],
)
def test_a_file_that_would_run_code_or_is_no_model_is_refused_with_the_way_out(
    project: Project, store: Path, saved: Path, file: str, words: str
) -> None:
    (saved / "renamed.keras").write_bytes((saved / "told.npz").read_bytes())
    model(project, store, saved / file)

    done = project.run("recipe=mine")

    assert done.returncode == 1
    assert words in done.stdout
    assert "model.code=FILE.py:NAME" in done.stdout or "model.save('model.keras')" in done.stdout


def test_code_in_a_file_that_says_it_is_of_keras_does_not_run(project: Project, store: Path, saved: Path) -> None:
    """A file made by hand, whose layer names a class of the standard library."""
    import zipfile

    evil = saved / "evil.keras"
    with zipfile.ZipFile(saved / "own.keras") as whole, zipfile.ZipFile(evil, "w") as archive:
        for name in whole.namelist():
            text = whole.read(name)
            if name == "config.json":
                config = json.loads(text)
                layer = {"module": "subprocess", "class_name": "Popen", "registered_name": None}
                config["config"]["layers"][1] = {**layer, "config": {"args": ["touch", f"{project.folder}/touched"]}}
                text = json.dumps(config).encode()
            archive.writestr(name, text)
    model(project, store, evil)

    done = project.run("recipe=mine")

    assert done.returncode == 1
    assert "the file holds a 'Popen'" in done.stdout
    assert not (project.folder / "touched").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.code=net.py:words", "net:words made str, not a model of Keras"),
        ("model.arguments.width=3", "the weights do not fit net:own"),
        ("model.inputs.numbers.shape=[batch,5]", "the model fails on numbers [2, 5]"),
    ],
)
def test_what_is_wrong_with_a_model_is_said(
    project: Project, store: Path, saved: Path, setting: str, words: str
) -> None:
    project.write("net.py", _CODE)
    more = "code: net.py:own\narguments: {width: 2}\ninputs: {numbers: {shape: [batch, 4]}}\n"
    model(project, store, saved / "own.weights.h5", more)

    done = project.run("recipe=mine", setting)

    assert done.returncode == 1
    assert words in " ".join(done.stdout.split())


def test_the_recipe_keeps_its_gates(project: Project, store: Path) -> None:
    exporting(project, store)

    evaluated = action(project, "evaluate", "recipe=keras_int8", "~steps.benchmark")

    assert evaluated["status"] in ("built", "cached"), evaluated
    manifest = json.loads((project.folder / "outputs/keras_int8/latest/manifest.json").read_text(encoding="utf-8"))
    assert {gate["status"] for gate in manifest["gates"]} == {"passed"}
