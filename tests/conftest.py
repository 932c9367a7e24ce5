from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from projects import Project, write_small
from results import deferred_build

settings.register_profile("builder", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are noisy
settings.load_profile("builder")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[[str], Project]:
    return lambda name: Project(tmp_path / name)


@pytest.fixture
def small(project: Project) -> Project:
    """A project with a small model, its data, and a recipe `small` that simplifies, quantizes and evaluates it."""
    write_small(project)
    return project


@pytest.fixture(scope="session")
def deferred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose recipe for a Jetson was built as far as this machine can: to be read and copied only."""
    project = write_small(Project(tmp_path_factory.mktemp("deferred") / "project"))
    deferred_build(project)
    return project.folder


@pytest.fixture
def waiting(deferred: Path, tmp_path: Path) -> Project:
    """A project whose build waits for a Jetson."""
    return Project(Path(shutil.copytree(deferred, tmp_path / "project", symlinks=True)))
