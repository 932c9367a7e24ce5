"""Kits for TensorRT-RTX: the engine is built at home; the device, here NVIDIA's stand-ins, runs and times it."""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from exports import exporting, toolchain_store
from kits import nvidia_standins, read_result
from projects import Project, small_model, write_small
from results import canonical_digest
from schemas import validator

from builder.device.trt_api import MODULES
from builder.runtimes.tensorrt import has_gpu

CARD = "NVIDIA GeForce RTX 4090, 8.9, 570.1"
_RECIPE = """\
# @package _global_
defaults:
  - override /model: small
  - override /target: rtx_4090
  - override /steps: [quantize, evaluate, {compile}, benchmark]
  - _self_
name: card
summary: a small network for a card
steps:
  quantize: {{style: tensorrt, calibration: {{samples: 16}}}}
  evaluate: {{samples: 5}}
  {compile}: {{parser: never}}
  benchmark: {{runs: 20, blocks: 2, confidence: 0.5, max_seconds: 5, warmup_runs: 5}}
gates: {{max_accuracy_drop: 1}}
"""
# A step of somebody else that makes an engine which the stand-in runs, as `compile` does with NVIDIA's own package.
_FORGE = '''\
"""Builds an engine for a stand-in."""

import json

from builder.compilers.options import Options
from builder.step import Job, Kind, Result, step


@step(options=Options, rank=80, inputs={"model": Kind.ONNX}, outputs={"engine": Kind.ENGINE})
def forge(options: Options, job: Job) -> Result:
    """Build an engine for a stand-in."""
    said = json.dumps({"core": -1}).encode()
    plan = b"vtrt" + said + b"\\0" + (job.inputs["model"] / "model.onnx").read_bytes()
    (job.folder("engine") / "engine.plan").write_bytes(plan)
    return Result({"tensorrt_rtx": "1.7.1.116"})
'''


class Card:
    """A server with a GeForce card and its own Python, and a kit."""

    def __init__(self, folder: Path, kit: Path, nvidia: Path) -> None:
        self.folder = folder
        self.kit = Path(shutil.copytree(kit, folder / "kit"))
        self._nvidia = nvidia
        self.says(CARD)

    def says(self, gpu: str) -> None:
        """Let the driver's program name another GPU."""
        program = self.folder / "bin/nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho '{gpu}'\n")
        program.chmod(0o755)

    def resume(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        paths = {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "LD_LIBRARY_PATH": str(self._nvidia)}
        return subprocess.run(
            [sys.executable, "-B", str(self.kit / "resume.pyz"), *words],
            cwd=self.folder,
            env={"PYTHONPATH": str(self._nvidia), "ORT_DISABLE_TELEMETRY": "1", **paths, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def result(self) -> Path:
        return self.folder / "card-nvidia-geforce-rtx-4090.result.tar"


@pytest.fixture(scope="module")
def nvidia(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvidia_standins(tmp_path_factory.mktemp("nvidia"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose recipe makes an engine for a card."""
    project = write_small(Project(tmp_path_factory.mktemp("home") / "project"))
    project.add_steps(forge=_FORGE)
    project.write("recipes/card.yaml", _RECIPE.format(compile="forge"))
    return project


@pytest.fixture(scope="module")
def built(home: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What was built at home, copied, and what the build said: in `said`."""
    done = home.run("recipe=card")
    assert done.returncode == 0, done.stdout + done.stderr
    kept = shutil.copytree(home.folder / "outputs/card/latest", tmp_path_factory.mktemp("built") / "card")
    (kept / "said").write_text(done.stdout)
    return Path(kept)


@pytest.fixture
def card(built: Path, nvidia: Path, tmp_path: Path) -> Card:
    return Card(tmp_path, built / "kit", nvidia)


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def latest(project: Project) -> dict[str, Any]:
    return manifest(project.folder / "outputs/card/latest")


def test_a_kit_carries_the_engine_that_was_built_at_home_and_the_version_that_loads_it(built: Path) -> None:
    said, kit = manifest(built), built / "kit"
    document = json.loads((kit / "kit.json").read_text())
    made = next(action for action in said["actions"] if action["name"] == "forge")["outputs"]["engine"]["path"]

    assert (kit / "engine/engine.plan").read_bytes() == (built / made / "engine.plan").read_bytes()
    assert [action["name"] for action in document["device_actions"]] == ["benchmark"]
    assert document["engine"]["version"] == "1.7.1.116"
    assert document["target"]["runtime_versions"] == "==1.7.1.116"
    assert said["kit"]["install"] == "python3 -m pip install tensorrt_rtx==1.7.1.116"
    assert said["kit"]["install"] in (kit / "COMMANDS.md").read_text()


def test_the_build_says_how_the_device_gets_the_runtime(built: Path) -> None:
    words = "python3 -m pip install tensorrt_rtx==1.7.1.116 && tar xf kit.tar && sh kit/resume.sh"

    assert words in (built / "said").read_text()
    validator().validate(json.loads((built / "report.json").read_text()))


def test_a_device_times_the_engine_and_the_import_completes_the_build(home: Project, card: Card) -> None:
    done = card.resume()
    assert (done.returncode, done.stdout) == (0, f"{card.result}\n"), done.stderr
    document, files = read_result(card.result)
    subjects = json.loads(files["benchmark/times/times.json"])["subjects"]
    assert [(each["runtime"], each["runtime_version"]) for each in subjects] == [("tensorrt_rtx", "1.7.1.116")] * 2
    assert [len(each["blocks_ns"]) for each in subjects] == [2, 2]
    assert document["device"]["compute_capability"] == "8.9"

    imported = home.run("resume", "--import", str(card.result))

    assert imported.returncode == 0, imported.stdout + imported.stderr
    assert (latest(home)["status"], latest(home)["kit"]) == ("built", None)


def test_a_result_of_another_version_than_the_engines_is_refused(home: Project, card: Card) -> None:
    assert card.resume().returncode == 0
    document, files = read_result(card.result)
    document["device"]["tensorrt_rtx"] = "1.7.2.1"
    del document["digest"]
    files["result.json"] = json.dumps({**document, "digest": canonical_digest(document)}).encode()
    with tarfile.open(card.result, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))

    imported = home.run("resume", "--import", str(card.result))

    assert imported.returncode == 2, imported.stdout
    assert (
        "with tensorrt_rtx ==1.7.1.116; the result is of NVIDIA GeForce RTX 4090, which has 1.7.2.1" in imported.stderr
    )


def test_the_baseline_is_built_there_for_the_same_compute_capability(card: Card) -> None:
    done = card.resume()

    assert done.returncode == 0, done.stderr
    plan = next(card.folder.glob("work/*/*/baseline/engine/engine.plan")).read_bytes()
    assert json.loads(plan[4:].partition(b"\0")[0])["capability"] == "SM89"


def test_an_engine_that_computes_something_else_is_not_timed(card: Card) -> None:
    done = card.resume(STAND_IN_FACTOR="1.5")

    failed = read_result(card.result)[0]["actions"]["benchmark"]
    assert (done.returncode, failed["status"]) == (1, "failed")
    assert "the engine computes something else" in failed["error"]


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        ("NVIDIA GeForce RTX 4090, 8.6, 570.1", "of compute capability 8.9; this machine has 8.6"),
        ("NVIDIA GeForce RTX 4080, 8.9, 570.1", "a NVIDIA GeForce RTX 4090; this machine is NVIDIA GeForce RTX 4080"),
    ],
)
def test_another_card_is_refused(card: Card, gpu: str, words: str) -> None:
    card.says(gpu)

    done = card.resume()

    assert (done.returncode, words in done.stderr) == (3, True), done.stderr


def test_another_version_is_refused_and_the_hint_installs_the_right_one(card: Card) -> None:
    done = card.resume(STAND_IN_VERSION="1.6.0.40")

    assert done.returncode == 3
    assert "with tensorrt_rtx ==1.7.1.116; this machine has 1.6.0.40" in done.stderr
    assert "python3 -m pip install tensorrt_rtx==1.7.1.116" in done.stderr


def test_a_device_without_the_package_is_told_how_to_install_it(card: Card, tmp_path: Path) -> None:
    done = card.resume(PYTHONPATH=str(tmp_path))

    assert done.returncode == 3
    assert "tensorrt_rtx is not here" in done.stderr
    assert "python3 -m pip install tensorrt_rtx==1.7.1.116" in done.stderr


@pytest.fixture
def real(
    make_project: Callable[[str], Project], tmp_path_factory: pytest.TempPathFactory, nvidia: Path, tmp_path: Path
) -> tuple[Project, Card, Path]:
    """A project that builds with NVIDIA's own package, a card with its kit, and where that package lies."""
    store = toolchain_store(tmp_path_factory, "tensorrt_rtx")
    project = write_small(exporting(make_project("real"), store))
    small_model(project.folder / "models/small.onnx", seed=secrets.randbelow(1 << 30))  # of which no device has sent
    project.write("recipes/card.yaml", _RECIPE.format(compile="compile"))
    done = project.run("recipe=card")
    assert done.returncode == 0, done.stdout + done.stderr
    packages = next(kept for kept in (store / "folders").iterdir() if (kept / "tensorrt_rtx_libs").is_dir())
    return project, Card(tmp_path / "card", project.folder / "outputs/card/latest/kit", nvidia), packages


@pytest.mark.formats
def test_a_recipe_with_a_real_engine_is_finished_there_and_completed_at_home(
    real: tuple[Project, Card, Path],
) -> None:
    project, card, _ = real
    names = [action["name"] for action in json.loads((card.kit / "kit.json").read_text())["device_actions"]]
    assert names == ["evaluate@tensorrt_rtx", "benchmark"]
    assert (card.kit / "engine/engine.plan").stat().st_size > 100_000

    done = card.resume(STAND_IN_MODEL=str(card.kit / "model/model.onnx"))
    assert done.returncode == 0, done.stderr
    imported = project.run("resume", "--import", str(card.result))

    assert imported.returncode == 0, imported.stdout + imported.stderr
    actions = {action["name"]: action for action in latest(project)["actions"]}
    assert {actions[name]["status"] for name in (*names, "compile")} == {"cached"}
    assert "NVIDIA GeForce RTX 4090" in str(actions["evaluate@tensorrt_rtx"]["device"])


@pytest.mark.formats
def test_the_real_package_goes_as_far_as_the_driver(real: tuple[Project, Card, Path]) -> None:
    if has_gpu():
        pytest.skip("this machine has an NVIDIA GPU: what the package does there is another test's")
    _, card, packages = real
    assert (packages / MODULES["tensorrt_rtx"][1]).is_dir()

    done = card.resume(PYTHONPATH=str(packages), LD_LIBRARY_PATH=os.environ.get("LD_LIBRARY_PATH", ""))

    assert "tensorrt_rtx 1.7.1.116 by python" in done.stderr
    actions = read_result(card.result)[0]["actions"]
    assert done.returncode == 1
    assert all("there is no NVIDIA driver here" in each["error"] for each in actions.values())
