"""What a build with nothing to do costs, pair by pair beside a bare `hydra.main` app with one config file.

.venv/bin/python -m pytest -m slow tests/benchmarks -s
"""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from projects import Project

pytestmark = pytest.mark.slow

PAIRS = 25
BARE_APP = """
import hydra

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def app(config):
    pass

app()
"""


def seconds(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


def test_a_build_with_nothing_to_do(project: Project, tmp_path: Path, benchmark: Any) -> None:
    bare = tmp_path / "bare"
    (bare / "conf").mkdir(parents=True)
    (bare / "conf" / "config.yaml").write_text("a: 1\n")
    (bare / "app.py").write_text(BARE_APP)
    environment = project.environment | {"PYTHONDONTWRITEBYTECODE": ""}
    ours = [sys.executable, "-m", "builder", "recipe=jetson_int8"]
    theirs = [sys.executable, "app.py"]
    assert project.run("recipe=jetson_int8").returncode == 0
    time.sleep(2.1)  # files younger than 2 s are hashed, not remembered
    assert "nothing to do" in project.run("recipe=jetson_int8").stdout
    pairs = []

    def pair() -> None:
        first = seconds(ours, project.folder, environment)
        pairs.append((first, seconds(theirs, bare, environment)))

    benchmark.pedantic(pair, rounds=PAIRS, warmup_rounds=2)
    ratios = sorted(our / their for our, their in pairs[2:])
    low, high = ratios[math.floor(PAIRS * 0.3)], ratios[math.ceil(PAIRS * 0.7) - 1]
    benchmark.extra_info["ratio"] = statistics.median(ratios)
    ours_ms, theirs_ms = (1000 * statistics.median(column) for column in zip(*pairs[2:], strict=True))
    print(f"\nno-op build {ours_ms:.0f} ms, bare hydra.main app {theirs_ms:.0f} ms")
    print(f"ratio, pair by pair: {statistics.median(ratios):.2f} [{low:.2f}, {high:.2f}] (bound: 1.5)")
