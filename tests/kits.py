"""Kits of a small model, and devices that finish them: an old Python, and a program that stands in for trtexec."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from projects import Project, write_small

__all__ = [
    "RECIPE",
    "Device",
    "build_kit",
    "nvidia_library",
    "nvidia_standins",
    "old_pythons",
    "read_result",
    "standin",
]

STANDIN = Path(__file__).with_name("trtexec_standin.py")
RECIPE = """\
# @package _global_
defaults:
  - override /model: small
  - override /target: desk
  - override /steps: [quantize, evaluate, compile, benchmark]
  - _self_
name: kitted
summary: a small network for a device
steps:
  quantize: {style: tensorrt, calibration: {samples: 16}}
  evaluate: {samples: 5}
  compile: {parser: never}
  benchmark: {runs: 20, blocks: 2, confidence: 0.5, max_seconds: 5, warmup_runs: 5}
gates: {max_accuracy_drop: 1}
"""
TARGET = """\
name: desk
summary: a device with TensorRT, of this machine's own architecture
arch: {arch}
accelerator: cuda
runtime: tensorrt
runtime_versions: "{versions}"
compute_capability: "{capability}"
precisions: [fp32, fp16, int8]
"""


def build_kit(
    project: Project, *words: str, arch: str = "", versions: str = ">=10.3,<12", capability: str = ""
) -> Path:
    """Build the recipe `kitted` as far as it goes here, and return the folder of its kit."""
    write_small(project)
    text = TARGET.format(arch=arch or platform.machine(), versions=versions, capability=capability)
    project.write("conf/target/desk.yaml", text)
    project.write("recipes/kitted.yaml", RECIPE)
    done = project.run("recipe=kitted", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return project.folder / "outputs" / "kitted" / "latest" / "kit"


def standin(folder: Path) -> Path:
    """Put the stand-in for trtexec into a folder, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "trtexec"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STANDIN}" "$@"\n')
    program.chmod(0o755)
    return folder


def nvidia_standins(folder: Path) -> Path:
    """Put what stands in for NVIDIA's driver library and for its two packages into a folder, and return it."""
    nvidia_library(folder, "libcuda")
    for name in ("tensorrt", "tensorrt_rtx"):
        (folder / f"{name}.py").write_text(Path(__file__).with_name("nvidia").joinpath("stand_in.py").read_text())
    return folder


def nvidia_library(folder: Path, name: str) -> Path:
    """Put what stands in for a library of NVIDIA's driver into a folder, and return it."""
    library, source = folder / f"{name}.so.1", Path(__file__).with_name("nvidia") / f"{name}.c"
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no C compiler here, and the stand-in for the driver is C")
    return library


def old_pythons() -> list[str]:
    """Return the Pythons of JetPack that this machine has: 3.8 and 3.10, from Debian, pyenv or PATH."""
    found = []
    for version in ("3.8", "3.10"):
        near = [*Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}")]
        named = shutil.which(f"python{version}") if not near else str(near[0])
        if named and subprocess.run([named, "-c", ""], capture_output=True, check=False).returncode == 0:
            found.append(named)
    return found


class Device:
    """A place with a kit, an old Python and trtexec: what a Jetson is to us."""

    def __init__(self, folder: Path, kit: Path, *, python: str = "") -> None:
        self.folder = folder
        self.kit = folder / "kit"
        shutil.copytree(kit, self.kit)
        self.log = folder / "trtexec.log"
        self.python = python or (old_pythons() or [sys.executable])[0]
        self.programs = standin(folder / "bin")

    def environment(self, **more: str) -> dict[str, str]:
        path = os.pathsep.join([str(self.programs), "/usr/bin", "/bin"])
        return {"PATH": path, "HOME": str(self.folder), "TRTEXEC_LOG": str(self.log), "LC_ALL": "C.UTF-8", **more}

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.python, str(self.kit / "resume.pyz"), *words],
            cwd=self.folder,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def resume(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the kit's program to its end."""
        process = self.start(*words, **environment)
        output, errors = process.communicate(timeout=300)
        return subprocess.CompletedProcess(words, process.returncode, output, errors)

    @property
    def calls(self) -> list[str]:
        """The command lines that trtexec got."""
        return self.log.read_text().splitlines() if self.log.exists() else []


def read_result(file: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return a result's document, and its files by path."""
    with tarfile.open(file) as tar:
        members = {member.name: tar.extractfile(member) for member in tar}
        contents = {name: opened.read() for name, opened in members.items() if opened}
    return json.loads(contents["result.json"]), contents
