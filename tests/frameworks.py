"""Programs that run in a toolchain as its users would: to save a model, and to tell what its framework makes of it."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from exports import exporting
from numpy.typing import NDArray
from projects import Project

from builder.recipe.toolchains import find_toolchain
from builder.store.statcache import StatCache
from builder.toolchains.interpreter import find_interpreter

__all__ = ["ask", "model_of", "run_in"]


def run_in(store: Path, toolchain: str, script: str, folder: Path) -> None:
    """Run a program with the packages of a toolchain, the one that holds the package of its first requirement."""
    found = find_toolchain(toolchain)
    package = found.packages[0].partition("==")[0].removesuffix("-cpu")
    packages = next(kept for kept in (store / "folders").iterdir() if (kept / package).is_dir())
    with closing(StatCache()) as stats:
        python = find_interpreter(found.python, stats).path
    settings = {"KERAS_BACKEND": "tensorflow", "YOLO_OFFLINE": "true", "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(
        [str(python), "-S", "-B", "-c", script],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(packages), **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def model_of(project: Project, store: Path, text: str, *, steps: str = "[]") -> Project:
    """Write a model `mine` and a recipe of that name, in a project that uses a store."""
    project.write("conf/model/mine.yaml", f"name: mine\n{text}")
    recipe = f"# @package _global_\ndefaults:\n  - override /model: mine\n  - override /steps: {steps}\n  - _self_\n"
    project.write("recipes/mine.yaml", f"{recipe}name: mine\n")
    return exporting(project, store)


def ask(project: Project, **feed: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return what ONNX Runtime makes of inputs with the model that was delivered."""
    import onnxruntime

    file = project.folder / "outputs/mine/latest/artifacts/model/model.onnx"
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return {name: np.asarray(made) for name, made in zip(names, session.run(names, feed), strict=True)}
