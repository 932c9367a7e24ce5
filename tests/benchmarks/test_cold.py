"""What 200 trivial actions cost when nothing is there: ours hashed, synced and committed one by one."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from benchmarks.plans import Plan
from benchmarks.references import TOOLS
from benchmarks.side_by_side import alone, pairs, seconds

pytestmark = pytest.mark.slow


def test_an_action(tmp_path: Path, benchmark: Any) -> None:
    numbers = itertools.count()

    def each() -> float:
        plan = Plan(tmp_path / f"{next(numbers)}")
        return float(plan.build()["seconds"]) / plan.actions

    alone(benchmark, "cold, 200 trivial actions with fsync, each", each, rounds=8, bound="15 ms")


@pytest.mark.parametrize(("name", "rounds"), [("ninja", 6), ("doit", 6), ("DVC", 1)])  # DVC takes a minute
def test_a_process(name: str, rounds: int, tmp_path: Path, benchmark: Any) -> None:
    tool, numbers = TOOLS[name], itertools.count()
    command = tool.command()

    def ours() -> float:
        plan = Plan(tmp_path / f"ours-{next(numbers)}")
        return seconds(plan.command, plan.folder, plan.environment)

    def theirs() -> float:
        folder = tmp_path / f"theirs-{next(numbers)}"
        tool.prepare(folder, 10, 20)
        return seconds(command, folder, tool.environment(folder))

    warmup = 1 if rounds > 1 else 0
    pairs(benchmark, "cold, 200 trivial actions, whole process", ours, (name, theirs), rounds=rounds, warmup=warmup)
