"""Weights that a framework knows by name: fetched where nobody named a file, trusted once, held fast by the lock."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import Project, small_model
from servers import serving

from builder.errors import SourceError
from builder.sources.model import bring_weights
from builder.specs import Model
from builder.step import Job

_PATH = "shelf/small/resolve/main/model.safetensors"
_KNOWN = f"https://hub.invalid/{_PATH}"
# A format of somebody else whose register has an address for each name; what it calls weights is the network itself.
_FORMAT = f'''\
"""A shelf of networks."""

from __future__ import annotations

import json
from dataclasses import dataclass

from builder.step import Job, Kind, Result, exporter, step

PACKAGES = ("onnx", "onnxruntime")


def where(model):
    return address if model.arguments.get("pretrained", True) else None


@step(name="shelf_address", options=type(None), rank=0, inputs={{}}, outputs={{"address": Kind.ADDRESS}},
      model_facts=("arguments",))
def address(_options, job: Job) -> Result:
    url = "{_KNOWN}".replace("small", job.model.arguments["model"])
    (job.folder("address") / "address.json").write_text(json.dumps({{"url": url}}))
    return Result({{"url": url}})


@exporter(toolchain="host", packages=PACKAGES, address=where)
def shelf(_options, job: Job) -> Result:
    import onnx

    from builder.runtimes.onnxruntime import Session
    from builder.sources.exported import write_exported
    from builder.sources.samples import feeds_of, write_samples

    model = onnx.load(job.inputs["weights"] / "weights.safetensors")
    facts = write_exported(job, model)
    session = Session(job.folder("model") / "model.onnx")
    origin, feeds = feeds_of(job, job.model.inputs)
    made = [dict(scores=session.run(feed)[0]) for feed in feeds]
    write_samples(job, "a shelf 1.0", origin, feeds, made)
    return Result(facts)
'''
_MODEL = """\
name: small
format: shelf
arguments: {model: small}
inputs: {image: {shape: [batch, 1, 8, 8]}}
outputs: [scores]
"""
_RECIPE = "# @package _global_\ndefaults: [override /model: small, _self_]\nname: small\n"


@pytest.fixture
def named(project: Project) -> Project:
    """A project whose model is a name, and a folder `hub` with the file that the name stands for."""
    project.add_steps(shelf=_FORMAT)
    points = project.folder / "site/extra-1.0.dist-info/entry_points.txt"
    points.write_text(points.read_text().replace("builder.steps", "builder.formats"))
    project.write("conf/model/small.yaml", _MODEL)
    project.write("recipes/small.yaml", _RECIPE)
    small_model(project.folder / "hub" / _PATH)
    return project


@pytest.fixture
def online(named: Project) -> Iterator[Project]:
    """The same, with a hub that serves the folder, and sends to another address as hubs do."""
    stored = "/stored/0123"
    shutil.copytree(named.folder / "hub", named.folder / "hub/stored/0123")
    with serving(named.folder / "hub", moved={f"/{_PATH}": f"{stored}/{_PATH}"}) as port:
        named.environment["HF_ENDPOINT"] = f"http://127.0.0.1:{port}/"
        yield named


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def served(project: Project) -> Path:
    return project.folder / "hub/stored/0123" / _PATH


def test_a_name_alone_builds_and_the_digest_of_what_came_is_told(online: Project) -> None:
    done = online.run("recipe=small", "output=json")
    document = json.loads(done.stdout)
    actions = {each["name"]: each for each in document["actions"]}

    assert done.returncode == 0, done.stderr
    assert list(actions) == ["address", "weights", "model", "conversion"]
    assert actions["address"]["facts"]["url"] == _KNOWN
    assert actions["weights"]["facts"]["sha256"] == sha256(served(online))
    assert {each["status"] for each in actions.values()} == {"built"}


def test_what_was_fetched_once_is_trusted_and_needs_no_network_again(online: Project) -> None:
    assert online.run("recipe=small").returncode == 0
    small_model(served(online), seed=5)
    online.environment["HF_ENDPOINT"] = "http://127.0.0.1:1"
    again = online.run("recipe=small", "offline=true", "model.outputs=[others]", "output=json")
    found = {each["name"]: each["status"] for each in json.loads(again.stdout)["actions"]}

    assert (found["address"], found["weights"], found["model"]) == ("cached", "cached", "built")


def test_a_lock_holds_what_was_fetched_and_refuses_another_file(online: Project) -> None:
    locked = online.run("lock", "recipe=small")
    kept = online.run("recipe=small", "locked=true")
    small_model(served(online), seed=5)
    shutil.rmtree(online.store)
    drifted = online.run("recipe=small", "locked=true")

    assert locked.returncode == 0, locked.stdout + locked.stderr
    assert kept.returncode == 0, kept.stdout + kept.stderr
    assert drifted.returncode == 1
    told = " ".join(drifted.stdout.split())
    assert "weights is not what recipes/locks/small.lock.yaml says: weights: expected" in told
    assert "skipped model" in told


def test_a_declared_digest_is_checked(online: Project) -> None:
    good = online.run("recipe=small", f"model.sha256={sha256(served(online))}")
    other = online.run("recipe=small", f"model.sha256={'0' * 64}")

    assert good.returncode == 0, good.stdout
    assert other.returncode == 1
    assert "is not the file that was declared: expected sha256 0000" in " ".join(other.stdout.split())


def test_a_file_that_is_named_is_taken_instead(online: Project) -> None:
    small_model(online.folder / "own.safetensors")
    done = online.run("recipe=small", "model.path=own.safetensors", "output=json")

    assert [each["name"] for each in json.loads(done.stdout)["actions"]] == ["weights", "model", "conversion"]


def test_verify_fetches_again_what_no_digest_was_declared_for(online: Project) -> None:
    first = online.run("verify", "recipe=small")
    small_model(served(online), seed=5)
    other = online.run("verify", "recipe=small")

    assert first.returncode == 0, first.stdout
    assert other.returncode == 1
    assert "weights.safetensors" in other.stdout


@pytest.mark.parametrize(
    ("words", "endpoint", "says"),
    [
        (["offline=true"], "", f"{_KNOWN} is not in the store, and offline=true forbids fetching it"),
        ([], "http://127.0.0.1:1", f"cannot fetch http://127.0.0.1:1/{_PATH}: "),
        ([], "http://hub.invalid", "nothing is fetched from http://hub.invalid"),
        ([], "file://", "nothing is fetched from file://"),
        ([], "https://bob:secret@hub.invalid", "HF_ENDPOINT holds a user or password"),
    ],
)
def test_what_cannot_be_fetched_is_one_error_that_says_what_to_write(
    named: Project, words: list[str], endpoint: str, says: str
) -> None:
    done = named.run("recipe=small", *words, HF_ENDPOINT=endpoint)
    told = " ".join(done.stdout.split())

    assert done.returncode == 1
    assert says in told
    assert "secret" not in done.stdout + done.stderr
    assert (f"set model.url={_KNOWN} and model.sha256, or model.path" in told) == (
        "fetch" in says and "nothing" not in says
    )


def fetch(folder: Path, port: int) -> Path:
    """Fetch as the action does, and return the file."""
    (folder / "address").mkdir()
    (folder / "address/address.json").write_text(json.dumps({"url": _KNOWN}))
    local = {"offline": False, "environment": {"HF_ENDPOINT": f"http://127.0.0.1:{port}"}}
    bring_weights(Job({"address": folder / "address"}, folder / "output", Model("small"), local=local))
    return folder / "output/weights/weights.safetensors"


def test_a_redirect_to_an_address_that_is_not_safe_is_refused(tmp_path: Path) -> None:
    with (
        serving(tmp_path, moved={f"/{_PATH}": f"http://hub.invalid/{_PATH}"}) as port,
        pytest.raises(SourceError, match="nothing is fetched from http://hub.invalid"),
    ):
        fetch(tmp_path, port)


def test_a_file_that_comes_only_in_part_is_refused(tmp_path: Path) -> None:
    small_model(tmp_path / _PATH)
    with (
        serving(tmp_path, cut=7) as port,
        pytest.raises(SourceError, match=r"only [0-9,]+ of [0-9,]+ bytes came"),
    ):
        fetch(tmp_path, port)
    assert not (tmp_path / "output/weights/weights.safetensors").exists()
