"""Models of timm by name, in their toolchain."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from exports import action, exporting, toolchain_store
from frameworks import run_in
from projects import Project
from servers import serving

from builder.errors import ModelError
from builder.formats.timm import timm
from builder.specs import Model
from builder.step import Job

formats = pytest.mark.formats

_MODEL = """\
name: mine
format: timm
arguments: {model: test_resnet, pretrained: false}
inputs: {image: {shape: [batch, 3, 64, 64]}}
outputs: [logits]
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toolchain_store(tmp_path_factory, "timm")


def a_model(project: Project, store: Path) -> Project:
    project.write("conf/model/mine.yaml", _MODEL)
    project.write("recipes/mine.yaml", "# @package _global_\ndefaults: [override /model: mine, _self_]\nname: mine\n")
    return exporting(project, store)


@pytest.mark.parametrize("name", ["checkpoint_path", "cache_dir", "pretrained_cfg", "pretrained_cfg_overlay"])
def test_weights_that_no_digest_names_are_refused(name: str, tmp_path: Path) -> None:
    arguments = {"model": "test_resnet", "pretrained": False, name: "weights.pth"}
    job = Job({}, tmp_path / "out", Model("x", format="timm", arguments=arguments))

    with pytest.raises(ModelError, match=rf"^model\.arguments\.{name}: ") as refused:
        timm.run(None, job)
    assert "model.url and model.sha256" in str(refused.value.hint)


@formats
def test_random_weights_are_the_same_in_every_folder(make_project: Callable[[str], Project], store: Path) -> None:
    projects = [a_model(make_project(name), store) for name in ("here", "else/where")]

    made = [action(project, "model", "recipe=mine", "fresh=[model]") for project in projects]

    assert [each["status"] for each in made] == ["built", "built"]
    assert made[0]["facts"]["weights"] == "random"
    assert made[0]["outputs"]["model"]["sha256"] == made[1]["outputs"]["model"]["sha256"]


_SAVE = """
import safetensors.torch, timm, torch
torch.manual_seed(7)
safetensors.torch.save_file(timm.create_model("test_resnet").state_dict(), "model.safetensors")
"""


@formats
def test_a_name_alone_is_fetched_from_the_hub_that_timm_names(project: Project, store: Path) -> None:
    """A hub on this machine, with weights that timm made: the export holds those, and its lock holds them fast."""
    hub = project.folder / "hub/timm/test_resnet.r160_in1k/resolve/main"
    hub.mkdir(parents=True)
    run_in(store, "timm", _SAVE, hub)
    a_model(project, store)
    named = ("recipe=mine", "~model.arguments.pretrained")
    with serving(project.folder / "hub") as port:
        project.environment["HF_ENDPOINT"] = f"http://127.0.0.1:{port}"
        weights = action(project, "weights", *named, "fresh=[weights]")
        locked = project.run("lock", *named)
    kept = project.run(*named, "locked=true", "offline=true")
    fetched = action(project, "model", *named, "offline=true")
    filed = action(project, "model", *named, f"model.path={hub}/model.safetensors")

    assert weights["facts"]["sha256"] == hashlib.sha256((hub / "model.safetensors").read_bytes()).hexdigest()
    assert locked.returncode == 0, locked.stdout + locked.stderr
    assert kept.returncode == 0, kept.stdout + kept.stderr
    assert "weights" not in fetched["facts"]
    assert fetched["outputs"] == filed["outputs"]


@formats
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["model.arguments.model=test_resnett"], "has no model 'test_resnett' hint: did you mean 'test_resnet'?"),
        (
            ["~model.arguments.pretrained", "model.arguments.model=test_vit", "offline=true"],
            "/timm/test_vit.r160_in1k/resolve/main/model.safetensors and model.sha256",
        ),
        (["+model.arguments.depth=3"], "cannot make test_resnet: TypeError"),
        (
            ["model.url=https://localhost:1/model.safetensors", f"model.sha256={'0' * 64}", "offline=true"],
            "is not in the store, and offline=true forbids fetching it",
        ),
        (["model.url=https://localhost:1/model.safetensors", f"model.sha256={'0' * 64}"], "check the network"),
    ],
)
def test_what_is_wrong_with_a_name_or_its_weights_is_said(
    project: Project, store: Path, settings: list[str], words: str
) -> None:
    done = a_model(project, store).run("recipe=mine", *settings)

    assert done.returncode == 1
    assert words in " ".join(done.stdout.split())
