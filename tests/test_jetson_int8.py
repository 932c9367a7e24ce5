"""The recipe jetson_int8 to its end: built here, finished by another user of another Python over a real sshd.

Of the device only the call of TensorRT is another's: what stands in for trtexec compiles with TensorRT-RTX, and since
no engine runs without a GPU, answers with what ONNX Runtime makes of the same model.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from exports import toolchain_store
from kits import old_pythons
from projects import ROOT, Project
from readme import command
from results import read_manifest
from sshd import HOST, Server, ssh_server
from trt_toolchain import find_rtx
from trtexec_standin import parts

from builder.runtimes.tensorrt import has_gpu

pytestmark = pytest.mark.formats

DEVICE = platform.machine()  # what a device without a GPU is called
FINISHED = {"compile", "evaluate@tensorrt", "benchmark"}
# The least that has to differ from an Orin: this processor, and no GPU that could say its compute capability. The limit
# of 2 MiB is for TensorRT's engine, which is not TensorRT-RTX's of some 4 MiB. All else is the recipe's, but for how
# much is run: the stand-in takes half a second for each sample, so it gets 32 in the place of 256, and the evaluation
# at home as many in the place of 10,000.
WORDS = (
    "recipe=jetson_int8",
    f"target.arch={DEVICE}",
    "target.compute_capability=''",
    "gates.max_size_mib=8",
    "steps.evaluate.samples=32",
    "steps.benchmark.runs=100",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with the recipe as far as it goes here, and what that said in `said`."""
    if has_gpu():
        pytest.skip("this machine has an NVIDIA GPU, and the recipe's parts may not wait for a device")
    project = Project(tmp_path_factory.mktemp("jetson") / "project")
    toolchain_store(tmp_path_factory, "tensorrt_rtx", store=project.store)
    done = project.run(*WORDS)
    assert done.returncode == 0, done.stdout + done.stderr
    project.write("said", done.stdout)
    return project


@pytest.fixture
def waiting(built: Project, tmp_path: Path) -> Project:
    """The project, without the toolchain, which nothing needs a second time."""
    leave = shutil.ignore_patterns("folders")
    return Project(Path(shutil.copytree(built.folder, tmp_path / "project", symlinks=True, ignore=leave)))


@contextlib.contextmanager
def device(built: Project, version: str) -> Iterator[Server]:
    """Yield a server with an old Python, whose trtexec compiles with TensorRT-RTX."""
    python = next((found for found in old_pythons() if found.endswith(version)), "")
    if not python:
        pytest.skip(f"there is no Python {version} here, neither from pyenv nor on PATH")
    interpreter, packages = find_rtx(built.store)
    settings = {"TRTEXEC_RTX": str(interpreter), "TRTEXEC_RTX_PATH": os.pathsep.join([str(packages), str(ROOT)])}
    with ssh_server(python, (interpreter.resolve().parents[1], packages), **settings) as server:
        yield server


def latest(project: Project) -> Path:
    return (project.folder / "outputs" / "jetson_int8" / "latest").resolve()


def by_hand(project: Project, words: str) -> subprocess.CompletedProcess[str]:
    """Run what a user types in the project's folder."""
    typed = words.replace("user@jetson", HOST).replace("python -m builder", f'"{sys.executable}" -m builder')
    return subprocess.run(
        ["sh", "-euc", typed], cwd=project.folder, env=project.environment, capture_output=True, text=True, check=False
    )


def check_completed(project: Project, before: dict[str, Any], version: str) -> None:
    """Hold a build that a device has finished against the one that waited for it."""
    folder, manifest = latest(project), read_manifest(latest(project))
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    page = (folder / "report.html").read_text(encoding="utf-8")
    actions = {action["name"]: action for action in manifest["actions"]}
    model, engine = parts((folder / "artifacts/compile/engine.plan").read_bytes())

    assert manifest["status"] == "built"
    assert json.loads((folder / "manifest.deferred.json").read_text(encoding="utf-8")) == before
    assert {name for name, action in actions.items() if action["status"] == "deferred"} == set()
    assert {name for name, action in actions.items() if action["device"] == DEVICE} == FINISHED
    assert model == (folder / "artifacts/quantize/model.onnx").read_bytes()
    assert len(engine) > len(model)  # TensorRT-RTX compiled it
    drop, size = manifest["gates"]
    assert (drop["status"], drop["measured_on"]) == ("passed", DEVICE)
    assert (size["status"], size["value"]) == ("passed", pytest.approx(actions["compile"]["facts"]["bytes"] / 2**20))
    [there] = manifest["devices"]
    assert there["host"]["python"].startswith(f"{version}.")
    assert manifest["host"]["python"] == platform.python_version()
    assert {"evaluate", "evaluate@tensorrt"} <= {*report["evaluations"]}
    assert {"benchmark", "benchmark@host"} <= {*report["measurements"]}
    assert report["headline"]["latency"]["on_target"]
    assert report["evaluations"]["evaluate@tensorrt"]["samples"] == 32
    assert report["verdict"] == "Built for jetson_orin; all 2 gates passed"
    assert f"TensorRT {there['tensorrt']}" in page
    assert f"host.python {there['host']['python']}" in page
    assert f"python {manifest['host']['python']}" in page


def check_at_home(project: Project) -> None:
    """Build again at home, and see that nothing waits or runs."""
    done = project.run(*WORDS, "strict=true")
    [there] = read_manifest(latest(project))["devices"]

    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing to do" in done.stdout
    for name in FINISHED:
        [line] = [line for line in done.stdout.splitlines() if line.split()[:2] == ["cached", name]]
        assert f"{'built' if name == 'compile' else 'measured'} on {DEVICE}, {there['taken_at'][:10]}" in line


def test_without_a_gpu_all_is_built_but_what_waits_for_the_device(built: Project, waiting: Project) -> None:
    said = (built.folder / "said").read_text()
    parser = json.loads((latest(built) / "measurements/parser/parser.json").read_text(encoding="utf-8"))
    again, strict = waiting.run(*WORDS), waiting.run(*WORDS, "strict=true")
    actions = read_manifest(latest(built))["actions"]

    assert {action["name"] for action in actions if action["status"] == "deferred"} == FINISHED
    assert {node["verdict"] for node in parser["nodes"]} == {"taken"}
    assert f"{len(parser['nodes'])} of {len(parser['nodes'])} nodes taken by TensorRT-RTX" in said
    assert "kit.tar   copy it to jetson_orin and run there" in said
    assert (again.returncode, strict.returncode) == (0, 3)
    assert "nothing to do" in again.stdout


def test_the_words_of_the_readme_complete_the_build(built: Project, waiting: Project) -> None:
    before, words = read_manifest(latest(waiting)), command("command: to the device and back")
    with device(built, "3.8") as server:
        server.admit(waiting)
        done = by_hand(waiting, words)
        assert done.returncode == 0, done.stdout + done.stderr
        again = by_hand(waiting, words.splitlines()[1])  # resumes
        [result] = server.home.glob("*.result.tar")
        assert result.stat().st_uid == server.number

    assert "nothing to do: 'jetson_int8' is finished on this device" in again.stderr
    check_completed(waiting, before, "3.8")
    check_at_home(waiting)


def test_one_command_completes_the_build(built: Project, waiting: Project) -> None:
    before = read_manifest(latest(waiting))
    with device(built, "3.10") as server:
        server.admit(waiting)
        done = waiting.run(*WORDS, f"target.host={HOST}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert [work.stat().st_uid for work in server.work] == [server.number]

    check_completed(waiting, before, "3.10")
    check_at_home(waiting)
