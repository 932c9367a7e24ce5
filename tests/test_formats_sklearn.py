"""Estimators of scikit-learn, exported in their toolchain: from code and from files, compared with their source."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from exports import action, exporting, toolchain_store
from projects import ROOT, Project

pytestmark = pytest.mark.formats

_CODE = """\
import joblib
import pickle
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
import skops.io

from parts import NAMES


class Own(LogisticRegression):
    pass


def ridge(features, labels, alpha=1.0):
    return Ridge(alpha=alpha).fit(features, labels.astype(float))

def named(features, labels):
    return LogisticRegression(max_iter=30).fit(features, [NAMES[label] for label in labels])

def forest(features, labels):
    return make_pipeline(StandardScaler(), RandomForestClassifier(50, random_state=0)).fit(features, labels)

def clusters(features, labels):
    return KMeans(5, n_init=1, random_state=0).fit(features)

def parts(features, labels):
    return PCA(4, svd_solver="full").fit(features)

def margins(features, labels):
    return SVC().fit(features[:300], labels[:300])

def without_zero(features, labels):
    return LogisticRegression(max_iter=30).fit(features[labels > 0], labels[labels > 0])

def number(features, labels):
    return 3

def fails(features, labels):
    raise ValueError("not today")

def files(features, labels, folder):
    fitted = LogisticRegression(max_iter=30).fit(features, labels)
    skops.io.dump(fitted, folder + "/mine.skops")
    skops.io.dump(LogisticRegression(max_iter=5).fit(features[:, :9], labels), folder + "/narrow.skops")
    skops.io.dump(Own(max_iter=5).fit(features, labels), folder + "/own.skops")
    joblib.dump(fitted, folder + "/mine.joblib")
    for name in ("mine.pkl", "mine.pickle"):
        with open(folder + "/" + name, "wb") as file:
            pickle.dump(fitted, file)
    return fitted
"""
_PARTS = "NAMES = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine']\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toolchain_store(tmp_path_factory, "sklearn")


@pytest.fixture
def mine(project: Project, store: Path) -> Project:
    return write_mine(exporting(project, store))


def write_mine(project: Project) -> Project:
    project.write("mine.py", _CODE)
    project.write("parts.py", _PARTS)
    project.write("conf/model/mine.yaml", "name: mine\nformat: sklearn\ntask: none\n")
    return project


def build(*words: str) -> tuple[str, ...]:
    return ("name=mine", "model=mine", "data=digits", *words)


def test_a_pipeline_with_a_pca_keeps_its_labels_and_its_accuracy(project: Project, store: Path) -> None:
    done = exporting(project, store).run("recipe=digits_pca")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "labels 474 of 474 equal" in done.stdout
    assert "StandardScaler, PCA, LogisticRegression" in done.stdout
    assert "top1 0.9536" in done.stdout


def test_two_exports_in_two_folders_have_the_same_bytes(make_project: Callable[[str], Project], store: Path) -> None:
    one, other = (
        action(exporting(make_project(name), store), "model", "recipe=digits_pca", "fresh=model")
        for name in ("here", "elsewhere/deep")
    )

    assert (one["status"], other["status"]) == ("built", "built")
    assert one["outputs"]["model"]["sha256"] == other["outputs"]["model"]["sha256"]
    assert one["outputs"]["samples"]["sha256"] == other["outputs"]["samples"]["sha256"]


def test_an_edit_of_what_the_code_imports_exports_again_and_one_of_a_readme_does_not(mine: Project) -> None:
    words = build("model.code=mine.py:named")
    first = action(mine, "model", *words)
    mine.write("README.md", "about it\n")
    idle = action(mine, "model", *words)
    mine.write("parts.py", _PARTS.replace("nine", "neuf"))
    edited = action(mine, "model", *words)

    assert idle["status"] == "cached"
    assert edited["status"] == "built"
    assert first["outputs"]["model"]["sha256"] != edited["outputs"]["model"]["sha256"]
    assert "parts" in edited["reason"]


@pytest.mark.parametrize("name", ["ridge", "named", "clusters", "parts", "margins"])
def test_the_export_computes_what_the_estimator_does(mine: Project, name: str) -> None:
    done = mine.run(
        *build(f"model.code=mine.py:{name}", "+steps@steps.simplify=simplify", "+steps@steps.evaluate=evaluate")
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "difference" in done.stdout
    assert name in ("ridge", "parts") or "labels 474 of 474 equal" in done.stdout


def test_names_types_and_opset_are_those_of_the_recipe(mine: Project) -> None:
    import onnx

    done = mine.run(
        *build("model.code=mine.py:ridge", "+model.inputs.pixels={shape: [batch, 64], dtype: float64}"),
        *("model.outputs=[guess]", "model.opset=15", "data.preprocess.dtype=float64", "+model.arguments.alpha=2.0"),
        "+steps@steps.evaluate=evaluate",
    )
    model = onnx.load(str(mine.folder / "outputs/mine/latest/artifacts/model/model.onnx"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert ([port.name for port in model.graph.input], [port.name for port in model.graph.output]) == (
        ["pixels"],
        ["guess"],
    )
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.DOUBLE
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == 15


def test_images_go_in_as_they_are_stored(mine: Project) -> None:
    import numpy as np

    with np.load(ROOT / "conf/assets/digits/digits.npz") as arrays:
        images, labels = arrays["samples"].reshape(-1, 8, 8), arrays["labels"]
    np.savez(mine.folder / "images.npz", samples=images, labels=labels)
    mine.write(
        "conf/data/images.yaml",
        "name: images\nreader: npz\nroot: .\nsplits:\n"
        "  train: {path: images.npz, portion: [0, 0.7]}\n  test: {path: images.npz, portion: [0.7, 1]}\n",
    )
    done = mine.run(
        *("name=mine", "model=mine", "data=images", "model.code=mine.py:margins", "model.task=classification"),
        "+steps@steps.evaluate=evaluate",
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "top1" in done.stdout


def test_trees_behind_a_scaler_break_the_gate_and_the_message_says_what_to_do(mine: Project) -> None:
    words = build("model.code=mine.py:forest", "model.task=classification")
    refused, allowed = mine.run(*words), mine.run(*words, "gates.max_conversion_difference=0.1")

    assert (refused.returncode, allowed.returncode) == (1, 0)
    assert "leave out the scaling, or allow for it with gates.max_conversion_difference" in refused.stdout
    assert "leave out the scaling" not in allowed.stdout


def test_a_file_of_skops_is_read_and_a_pickle_is_not(mine: Project) -> None:
    action(mine, "model", *build("model.code=mine.py:files", f"+model.arguments.folder={mine.folder}", "fresh=model"))
    read = mine.run(*build("model.path=mine.skops", "model.task=classification", "+steps@steps.evaluate=evaluate"))
    shutil.copy(mine.folder / "mine.pkl", mine.folder / "renamed.skops")

    assert read.returncode == 0, read.stdout + read.stderr
    assert "labels 474 of 474 equal" in read.stdout
    for file, words in {
        "mine.pkl": "reading a pickle runs the code in it",
        "mine.pickle": "not in .pickle",
        "mine.joblib": "not in .joblib",
        "renamed.skops": "the file cannot be read as one of skops",
        "own.skops": "types that are not scikit-learn's own: ",
        "narrow.skops": "a sample has 64 numbers, the model takes 9",
    }.items():
        done = mine.run(*build(f"model.path={file}"))
        assert done.returncode == 1
        assert words in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (build(), "is read from a file or fitted by code, got neither"),
        (build("model.code=mine.py:number"), "returned int, which is no estimator"),
        (build("model.code=mine.py:fails"), "mine:fails failed: ValueError: not today"),
        (build("model.code=mine.py:without_zero", "model.task=classification"), "the model scores the classes 1, 2, 3"),
        (build("model.code=mine.py:ridge", "model.outputs=[a, b]"), "model.outputs names 2"),
        (build("model.code=mine.py:ridge", "+model.inputs.x={shape: [batch, 63]}"), "expected the shape [batch, 64]"),
        (build("model.code=mine.py:ridge", "model.opset=99"), "cannot convert Ridge"),
        (("name=mine", "model=mine", "model.code=mine.py:ridge"), "needs data with 'train' and 'test'"),
    ],
)  # fmt: skip
def test_what_cannot_be_exported_is_said_in_one_sentence(mine: Project, words: tuple[str, ...], message: str) -> None:
    done = mine.run(*words)

    assert done.returncode == 1
    assert message in done.stdout + done.stderr
