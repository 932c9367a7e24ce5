"""Trees of XGBoost, exported in their toolchain: from code and from files, compared with their source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from exports import action, exporting, toolchain_store
from projects import Project

pytestmark = pytest.mark.formats

_CODE = """\
import pickle
import xgboost


def files(features, labels, folder):
    fitted = xgboost.XGBClassifier(n_estimators=5, max_depth=3).fit(features, labels)
    fitted.save_model(folder + "/mine.ubj")
    fitted.save_model(folder + "/mine.json")
    names = ["pixel" + str(index) for index in range(64)]
    data = xgboost.DMatrix(features, labels, feature_names=names)
    xgboost.train({"objective": "multi:softmax", "num_class": 10}, data, 5).save_model(folder + "/softmax.ubj")
    with open(folder + "/mine.pkl", "wb") as file:
        pickle.dump(fitted, file)
    return fitted

def regressor(features, labels):
    return xgboost.XGBRegressor(n_estimators=10).fit(features, labels)

def odd(features, labels):
    return xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(features, labels % 2), 5)

def forest(features, labels):
    return xgboost.XGBRFClassifier(n_estimators=5).fit(features, labels)

def ranker(features, labels):
    return xgboost.XGBRanker(n_estimators=5).fit(features[:1300], labels[:1300], group=[100] * 13)

def number(features, labels):
    return 3
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toolchain_store(tmp_path_factory, "sklearn")


@pytest.fixture
def mine(project: Project, store: Path) -> Project:
    project.write("mine.py", _CODE)
    project.write("conf/model/mine.yaml", "name: mine\nformat: xgboost\ntask: none\n")
    return exporting(project, store)


def build(*words: str) -> tuple[str, ...]:
    return ("name=mine", "model=mine", "data=digits", *words)


def test_boosted_trees_keep_their_labels_and_their_accuracy(project: Project, store: Path) -> None:
    done = exporting(project, store).run("recipe=digits_xgboost")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "labels 474 of 474 equal" in done.stdout
    assert "top1 0.97" in done.stdout


def test_two_exports_in_two_folders_have_the_same_bytes(make_project: Callable[[str], Project], store: Path) -> None:
    one, other = (
        action(exporting(make_project(name), store), "model", "recipe=digits_xgboost", "fresh=model")
        for name in ("here", "elsewhere/deep")
    )

    assert (one["status"], other["status"]) == ("built", "built")
    assert one["outputs"]["model"]["sha256"] == other["outputs"]["model"]["sha256"]


def test_files_of_xgboost_are_read_and_a_pickle_is_not(mine: Project) -> None:
    action(mine, "model", *build("model.code=mine.py:files", f"+model.arguments.folder={mine.folder}", "fresh=model"))
    mine.write("empty.json", "{}")
    for file in ("mine.ubj", "mine.json", "softmax.ubj"):
        done = mine.run(*build(f"model.path={file}", "model.task=classification", "+steps@steps.evaluate=evaluate"))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "labels 474 of 474 equal" in done.stdout
    for file, words in {"mine.pkl": "not in .pkl", "empty.json": "the file holds no model of XGBoost"}.items():
        done = mine.run(*build(f"model.path={file}"))
        assert done.returncode == 1
        assert words in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["regressor", "odd"])
def test_the_export_computes_what_the_trees_do(mine: Project, name: str) -> None:
    done = mine.run(*build(f"model.code=mine.py:{name}", "+steps@steps.evaluate=evaluate"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "max_conversion_difference: the exported model differs from XGBoost" in done.stdout


def test_a_forest_that_is_converted_wrongly_does_not_get_through(mine: Project) -> None:
    done = mine.run(*build("model.code=mine.py:forest"))

    assert done.returncode == 1
    assert "no forests, no vectors" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (build("model.code=mine.py:number"), "returned int, not a model of XGBoost"),
        (build("model.code=mine.py:ranker"), "cannot convert XGBRanker"),
        (build("model.code=mine.py:odd", "+model.inputs.x={shape: [batch, 64], dtype: float64}"), "in float32"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_sentence(mine: Project, words: tuple[str, ...], message: str) -> None:
    done = mine.run(*words)

    assert done.returncode == 1
    assert message in done.stdout + done.stderr
