"""What a sweep takes beside the time of its distinct actions, measurements among them, which have the machine alone."""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from projects import Project

from benchmarks.side_by_side import pairs, seconds

pytestmark = pytest.mark.slow

CHOICES = ("steps.quantize.calibration.method=minmax,entropy,percentile", "steps.quantize.per_channel=true,false")
SWEEP = [sys.executable, "-m", "builder", "-m", "recipe=cpu_int8", *CHOICES]
JOBS = 6


def test_a_sweep(tmp_path: Path, benchmark: Any) -> None:
    numbers, waiting = itertools.count(), []

    def swept() -> float:
        project = Project(tmp_path / f"sweep-{next(numbers)}")
        took = seconds(SWEEP, project.folder, project.environment | {"PYTHONDONTWRITEBYTECODE": ""})
        waiting.append(distinct_seconds(project.folder))
        return took

    def distinct() -> float:
        return waiting.pop()

    what = f"cold, a sweep of {JOBS} jobs of `cpu_int8`"
    pairs(benchmark, what, swept, ("its distinct actions", distinct), rounds=1, warmup=0, bound=1.15)


def distinct_seconds(folder: Path) -> float:
    """Return what the distinct actions of a sweep took together, each of which was built once."""
    (found,) = (folder / "outputs/sweeps").iterdir()
    actions = [a for file in found.glob("*/manifest.json") for a in json.loads(file.read_text())["actions"]]
    built = [action for action in actions if action["status"] == "built"]

    assert len(actions) == JOBS * 5
    assert Counter(action["step"] for action in built) == {
        **dict.fromkeys(("source", "simplify"), 1),
        **dict.fromkeys(("quantize", "evaluate", "benchmark"), JOBS),
    }
    assert {action["key"] for action in actions} == {action["key"] for action in built}
    return sum(action["seconds"] or 0 for action in built)
