"""Hands measured samples to pytest-benchmark, so that its statistics, its JSON and its `compare` are the real ones.

The samples were taken before, block by block; here pytest-benchmark times a function that moves a clock by each of
them. This module is both sides: `replay` starts it as a program, which runs pytest, and there the module is the plugin
with the clock, the timed function and the hooks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.child import command
from builder.errors import StepError
from builder.measure.subject import die_with

__all__ = ["Replayed", "clock", "latency", "replay"]

_SAMPLES = "samples.json"
_TEST = "from builder.measure.replay import latency as test_latency\n"


@dataclass(frozen=True)
class Replayed:
    """One subject's samples in ms, in run order, and what its entry says beside them."""

    samples_ms: Sequence[float]
    extra_info: Mapping[str, Any]


def replay(subjects: Mapping[str, Replayed], host: Mapping[str, Any], destination: Path) -> None:
    """Write pytest-benchmark's JSON of these samples, an entry `test_latency[name]` for each; raise StepError."""
    document = {
        "parent": os.getpid(),
        "host": dict(host),
        "subjects": {
            name: {"samples_ms": list(subject.samples_ms), "extra_info": dict(subject.extra_info)}
            for name, subject in subjects.items()
        },
    }
    with tempfile.TemporaryDirectory(prefix="replay-") as folder:
        root = Path(folder).resolve()
        (root / _SAMPLES).write_text(json.dumps(document), encoding="utf-8")
        (root / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (root / "test_latency.py").write_text(_TEST, encoding="utf-8")
        done = subprocess.run(
            _command(root, destination.resolve()),
            cwd=root,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode or not destination.is_file():
        said = " ".join(done.stdout.decode(errors="replace").split())[-300:]
        raise StepError(f"benchmark: pytest-benchmark took no samples (exit code {done.returncode})", said)


def _command(root: Path, destination: Path) -> list[str]:
    """Return pytest's command line: pytest-benchmark and this module as plugins, and no others."""
    return command(
        *(__file__, "--quiet"),
        *("-c", str(root / "pytest.ini"), f"--rootdir={root}"),
        *("-p", "no:cacheprovider", "-p", "pytest_benchmark.plugin", "-p", "builder.measure.replay"),
        "--benchmark-timer=builder.measure.replay.clock",
        f"--benchmark-json={destination}",
        "test_latency.py",
    )


def _environment() -> dict[str, str]:
    return {
        "LC_ALL": "C.UTF-8",
        "PATH": os.devnull,  # pytest-benchmark asks git and hg about the folder it runs in
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "TZ": "UTC",
    }


_now: list[float] = [0.0]


def clock() -> float:
    """Return the time of a clock that only the replayed samples move: pytest-benchmark's timer."""
    return _now[0]


def latency(benchmark: Any, subject: str, request: Any) -> None:
    """Have pytest-benchmark time the replayed runs of one subject."""
    entry = _document(request.config)["subjects"][subject]
    samples = iter(entry["samples_ms"])

    def set_back() -> None:  # so that no sample is rounded by being added to a long time
        _now[0] = 0.0

    def run() -> None:
        _now[0] = next(samples) / 1e3

    benchmark.extra_info.update(entry["extra_info"])
    benchmark.pedantic(run, setup=set_back, rounds=len(entry["samples_ms"]), iterations=1)


def pytest_configure(config: Any) -> None:
    """End with the process that asked."""
    die_with(_document(config)["parent"])


def pytest_generate_tests(metafunc: Any) -> None:
    """Make one test for each subject."""
    metafunc.parametrize("subject", list(_document(metafunc.config)["subjects"]))


def pytest_benchmark_generate_machine_info(config: Any) -> dict[str, Any]:
    """Return our host facts; pytest-benchmark's own would hold the host's name."""
    host: dict[str, Any] = _document(config)["host"]
    return host


def pytest_benchmark_generate_commit_info() -> dict[str, Any]:
    """Return nothing: what was measured is an artifact, and no commit of the folder it lies in."""
    return {}


def _document(config: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((config.rootpath / _SAMPLES).read_text(encoding="utf-8"))
    return document


if __name__ == "__main__":
    import pytest

    sys.exit(pytest.main(sys.argv[1:]))
