"""Builds in real toolchains: one store for all tests of a run, since putting a toolchain together takes a minute."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from projects import ROOT, Project

__all__ = ["action", "exporting", "toolchain_store"]

_MISSING = ("there is no Python", "check the network", "cannot be had here")


def toolchain_store(factory: pytest.TempPathFactory, *names: str, store: Path | None = None) -> Path:
    """Return a store that holds toolchains, if none is given one for all; BUILDER_TEST_STORE's outlives the tests.

    Skips the test where a toolchain cannot be had: no network, or no such Python.
    """
    store = store or Path(os.environ.get("BUILDER_TEST_STORE") or factory.getbasetemp() / "toolchains")
    for name in names:
        done = subprocess.run(
            [sys.executable, "-m", "builder", "toolchain", "build", name, f"store={store}"],
            cwd=factory.mktemp("user"),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        if any(sign in done.stderr for sign in _MISSING):
            pytest.skip(f"toolchain {name} cannot be put together here: {done.stderr.strip()[-300:]}")
        assert done.returncode == 0, done.stderr
    return store


def exporting(project: Project, store: Path) -> Project:
    """Return a project that uses a store."""
    project.environment["BUILDER_STORE"] = str(store)
    return project


def action(project: Project, name: str, *words: str) -> dict[str, Any]:
    """Build, and return what the manifest says of an action."""
    done = project.run(*words, "output=json")
    found = [each for each in json.loads(done.stdout)["actions"] if each["name"] == name] if done.stdout else []
    assert found, done.stderr
    entry: dict[str, Any] = found[0]
    return entry
