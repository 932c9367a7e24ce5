"""What a build with nothing to do costs, beside a bare `hydra.main` app and other tools' builds with nothing to do.

.venv/bin/python -m pytest -m slow tests/benchmarks -s
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from projects import Project

from benchmarks.plans import Plan
from benchmarks.references import TOOLS
from benchmarks.side_by_side import alone, pairs, seconds

pytestmark = pytest.mark.slow

BARE_APP = """
import hydra

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def app(config):
    pass

app()
"""
YOUNG_S = 2.1  # files younger than 2 s are hashed, not remembered


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    folder = tmp_path / "bare"
    (folder / "conf").mkdir(parents=True)
    (folder / "conf" / "config.yaml").write_text("a: 1\n")
    (folder / "app.py").write_text(BARE_APP)
    return folder


def test_a_recipe_with_nothing_to_do(project: Project, bare: Path, benchmark: Any) -> None:
    environment = project.environment | {"PYTHONDONTWRITEBYTECODE": ""}
    ours = [sys.executable, "-m", "builder", "recipe=jetson_int8"]
    theirs = [sys.executable, "app.py"]
    assert project.run("recipe=jetson_int8").returncode == 0
    time.sleep(YOUNG_S)
    assert "nothing to do" in project.run("recipe=jetson_int8").stdout

    pairs(
        benchmark,
        "nothing to do, `jetson_int8`",
        lambda: seconds(ours, project.folder, environment),
        ("a bare `hydra.main` app", lambda: seconds(theirs, bare, environment)),
        rounds=25,
        warmup=2,
        bound=1.5,
    )


@pytest.fixture
def built(tmp_path: Path) -> Plan:
    plan = Plan(tmp_path / "ours")
    plan.build()
    time.sleep(YOUNG_S)
    assert plan.build()["cached"] == plan.actions
    return plan


def test_the_engine_with_nothing_to_do(built: Plan, benchmark: Any) -> None:
    what = f"nothing to do, {built.actions} actions: keys, look-ups, check of what is delivered"

    alone(benchmark, what, lambda: float(built.build()["seconds"]), rounds=25, bound="50 ms")


@pytest.mark.parametrize(("name", "rounds"), [("ninja", 25), ("doit", 25), ("DVC", 6)])
def test_a_process_with_nothing_to_do(built: Plan, name: str, rounds: int, tmp_path: Path, benchmark: Any) -> None:
    tool, folder = TOOLS[name], tmp_path / "theirs"
    command = tool.command()
    tool.prepare(folder, built.chains, built.length)
    subprocess.run(command, cwd=folder, env=tool.environment(folder), check=True, capture_output=True)

    pairs(
        benchmark,
        f"nothing to do, {built.actions} actions, whole process",
        lambda: seconds(built.command, built.folder, built.environment),
        (name, lambda: seconds(command, folder, tool.environment(folder))),
        rounds=rounds,
    )
