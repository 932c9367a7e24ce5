"""What a cold build of a real recipe costs beside a script that calls the same functions (by_hand.py)."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import pytest
from projects import ROOT, Project

from benchmarks import by_hand
from benchmarks.side_by_side import pairs, seconds
from builder.engine.worker import ENVIRONMENT

pytestmark = pytest.mark.slow

OURS = [sys.executable, "-m", "builder", "recipe=cpu_int8", "steps=[simplify,quantize,evaluate]"]


def test_a_recipe(tmp_path: Path, benchmark: Any) -> None:
    numbers = itertools.count()
    environment = {**ENVIRONMENT, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": ""}

    def ours() -> float:
        project = Project(tmp_path / f"ours-{next(numbers)}")
        return seconds(OURS, project.folder, project.environment | {"PYTHONDONTWRITEBYTECODE": ""})

    def theirs() -> float:
        folder = tmp_path / f"theirs-{next(numbers)}"
        return seconds([sys.executable, by_hand.__file__, str(folder)], tmp_path, environment)

    what = "cold, `cpu_int8` without its benchmark"
    pairs(benchmark, what, ours, ("a script of the same functions", theirs), rounds=9, bound=1.05)
    assert made(tmp_path / "ours-0/outputs/cpu_int8/latest") == made(tmp_path / "theirs-1"), "the same work was done"


def made(folder: Path) -> dict[str, bytes]:
    """Return the models and the evaluation by the action that made them."""
    files = [*folder.rglob("model.onnx"), *folder.rglob("evaluation.json")]
    names = ("simplify", "quantize", "evaluate")
    return {name: file.read_bytes() for file in files for name in names if name in file.parts}
