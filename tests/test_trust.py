"""Recipes are data: whatever one tries, it names no code, no machine and no host."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import TrustError
from builder.recipe.compose import compose

ATTACKS = {
    "code by target": "model: {_target_: os.system}\n",
    "code in a list": "steps: {quantize: {exclude: {names: [{_target_: os.system}]}}}\n",
    "Hydra's callbacks": "hydra: {callbacks: {evil: {_target_: evil.Boom}}}\n",
    "Hydra's run folder": "hydra: {run: {dir: /tmp}}\n",
    "Hydra by a dotted key": '"hydra.run.dir": /tmp\n',
    "Hydra by the package header": "# @package hydra.run\ndir: /tmp\n",
    "Hydra by the defaults": "defaults:\n  - override /hydra/job_logging: default\n",
    "Hydra by a package in the defaults": "defaults:\n  - /data@hydra.callbacks.x: fashion_mnist\n",
    "the environment": "summary: ${oc.env:HOME}\n",
    "the environment, nested": "summary: ${oc.${name}:HOME}\n",
    "Hydra's values": "summary: ${hydra:runtime.cwd}\n",
    "a host": "model: {url: https://example.org/x.onnx}\n",
    "a module of the project": "model: {code: models.py}\n",
    "the machine's dataset": "data: {root: /etc}\n",
    "the store": "store: /tmp/x\n",
    "jobs": "jobs: 64\n",
    "offline": "offline: true\n",
    "the store by a package in the defaults": "defaults:\n  - /data@store: fashion_mnist\n",
    "a host by another recipe's package": "defaults:\n  - /recipe/other@model: x\n",
    "a package that starts anew": "defaults:\n  - /recipe/other@steps._global_.data: x\n",
    "the machine's dataset, quoted": "summary: ${data.root}\n",
    "a section from a step's options": "steps: {benchmark: {url: https://x}}\nmodel: ${steps.benchmark}\n",
    "the machine's dataset, relatively": "data: {origin: '${.root}'}\n",
    "a step made of the data": "steps: {compile: '${data}'}\n",
    "the machine's dataset, by way of a step": "model: {origin: '${a.b}'}\nsteps: {compile: '${data}'}\n",
    "gates from elsewhere": "gates: ${steps.compile}\n",
    "Hydra's values, plainly": "summary: ${hydra.runtime.cwd}\n",
    "the machine's values": "summary: ${jobs}\n",
    "a file outside the folders": "defaults:\n  - /model: ../../evil\n",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    return tmp_path


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_recipe_that_reaches_for_more_is_refused(folder: Path, attack: str) -> None:
    (folder / "recipes" / "evil.yaml").write_text(attack, encoding="utf-8")
    with pytest.raises(TrustError) as caught:
        compose(["recipe=evil"])

    assert "recipes/evil.yaml" in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_it_is_refused_when_inherited(folder: Path, attack: str) -> None:
    (folder / "recipes" / "evil.yaml").write_text(attack, encoding="utf-8")
    (folder / "recipes" / "child.yaml").write_text("defaults: [evil, _self_]\nname: child\n", encoding="utf-8")
    with pytest.raises(TrustError):
        compose(["recipe=child"])


def test_no_code_of_a_recipe_ran(folder: Path) -> None:
    (folder / "evil.py").write_text("open('ran', 'w')\nclass Boom: pass\n", encoding="utf-8")
    (folder / "recipes" / "evil.yaml").write_text(ATTACKS["Hydra's callbacks"], encoding="utf-8")
    with pytest.raises(TrustError):
        compose(["recipe=evil"])

    assert not (folder / "ran").exists()


def test_the_command_line_may_set_the_machine(folder: Path) -> None:
    made = compose(["recipe=jetson_int8", "store=/x", "jobs=3", "data.root=/d", "offline=true"])

    assert (made.machine.store, made.machine.jobs, made.machine.offline) == ("/x", 3, True)
    assert made.data is not None
    assert made.data.root == "/d"


def test_a_recipe_may_refer_to_its_own_values(folder: Path) -> None:
    body = "defaults:\n  - override /model: fashion_mobilenet\n  - _self_\nname: mine\nsummary: this is ${name}\n"
    (folder / "recipes" / "mine.yaml").write_text(body, encoding="utf-8")

    assert compose(["recipe=mine"]).summary == "this is mine"


def test_the_projects_conf_cannot_replace_the_root(folder: Path) -> None:
    (folder / "conf").mkdir()
    (folder / "conf" / "build.yaml").write_text("name: replaced\n", encoding="utf-8")

    assert compose(["recipe=jetson_int8"]).name == "jetson_int8"


def test_the_projects_conf_adds_models(folder: Path) -> None:
    (folder / "conf" / "model").mkdir(parents=True)
    (folder / "conf" / "model" / "mine.yaml").write_text("path: x.onnx\n", encoding="utf-8")

    assert compose(["model=mine", "steps=[simplify]"]).model.name == "mine"
