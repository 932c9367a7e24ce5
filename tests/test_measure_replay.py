"""Measured samples in pytest-benchmark's own form."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builder.errors import StepError
from builder.measure.replay import Replayed, replay

SAMPLES = {"baseline": [2.0, 2.5, 2.125, 3.1], "candidate": [1.0, 1.3, 1.1, 0.123457]}
HOST = {"processor": "a processor", "cores": 2}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay")
    (folder / "conftest.py").write_text("raise RuntimeError('a stranger conftest')\n", encoding="utf-8")
    path = folder / "pytest-benchmark.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_ADDOPTS", "--no-such-option")
        patch.setenv("PYTEST_PLUGINS", "no_such_plugin")
        patch.chdir(folder)
        replay({name: Replayed(values, {"name": name}) for name, values in SAMPLES.items()}, HOST, path)
    return path


def entries(path: Path) -> dict[str, Any]:
    return {entry["name"]: entry for entry in json.loads(path.read_bytes())["benchmarks"]}


def test_every_sample_is_kept_to_the_last_digit_in_run_order(written: Path) -> None:
    for name, samples in SAMPLES.items():
        entry = entries(written)[f"test_latency[{name}]"]
        assert entry["stats"]["data"] == [sample / 1e3 for sample in samples]
        assert entry["stats"]["rounds"] == len(samples)
        assert entry["stats"]["min"] == min(samples) / 1e3
        assert entry["extra_info"] == {"name": name}


def test_the_document_holds_our_host_facts_and_no_commit(written: Path) -> None:
    document = json.loads(written.read_bytes())
    assert document["machine_info"] == HOST
    assert document["commit_info"] == {}


def test_pytest_benchmark_compare_opens_it(written: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest_benchmark", "compare", str(written), "--columns=min,median,rounds"]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True)
    assert "test_latency[baseline]" in done.stdout
    assert "test_latency[candidate]" in done.stdout


def test_no_samples_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "pytest-benchmark.json"
    with pytest.raises(StepError, match="took no samples"):
        replay({"candidate": Replayed([], {})}, HOST, path)
    assert not path.exists()
