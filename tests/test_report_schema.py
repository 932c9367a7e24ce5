"""The published schema of report.json: what builds of every kind write follows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import ValidationError
from projects import Project, write_small
from schemas import validator
from test_conversion import compared, exported

SHORT = ["+steps=benchmark", "steps.benchmark.runs=20", "steps.benchmark.blocks=6", "steps.benchmark.max_seconds=2"]
BUILDS = {
    "built": [],
    "measured": [*SHORT, "steps.benchmark.warmup_runs=1", "+gates.max_latency_ms.p50=1000"],
    "unmeasured": ["+gates.max_latency_ms.p50=5", "~steps.quantize"],
    "failed": ["steps.quantize.exclude.patterns=['heads/*']"],
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The reports of a recipe that is built in several ways: to be read only."""
    project = write_small(Project(tmp_path_factory.mktemp("reports") / "project"))
    found: dict[str, dict[str, Any]] = {}
    for name, words in BUILDS.items():
        done = project.run("recipe=small", f"name={name}", *words)
        assert done.returncode in (0, 1), done.stderr
        (path,) = (project.folder / "outputs" / name).glob("2*/report.json")
        found[name] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("name", BUILDS)
def test_the_report_of_a_build_follows_the_schema(reports: dict[str, dict[str, Any]], name: str) -> None:
    assert reports[name]["manifest"]["status"] == ("failed" if name in ("unmeasured", "failed") else "built")
    validator().validate(reports[name])


def test_the_report_of_a_build_that_waits_for_its_target_follows_the_schema(deferred: Path) -> None:
    report = json.loads((deferred / "outputs/small_jetson/latest/report.json").read_text())

    assert report["manifest"]["kit"]
    validator().validate(report)


@pytest.mark.parametrize("labels", [False, True])
def test_the_report_of_a_converted_model_follows_the_schema(
    reports: dict[str, dict[str, Any]], tmp_path: Path, labels: bool
) -> None:
    scores: dict[str, Any] = {"scores": np.array([["a", "b", "c"]] * 6)} if labels else {}
    conversion = compared(exported(tmp_path, remedy="try again", **scores))
    validator().validate({**reports["built"], "conversion": conversion})

    with pytest.raises(ValidationError):
        validator().validate({**reports["built"], "conversion": {**conversion, "difference": None}})


@pytest.mark.parametrize("wrong", [{"schema": 2}, {"more": 1}, {"verdict": None}, {"headline": {}}])
def test_the_schema_refuses_what_is_wrong(reports: dict[str, dict[str, Any]], wrong: dict[str, Any]) -> None:
    assert not validator().is_valid(reports["built"] | wrong)
