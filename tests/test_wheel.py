"""What is installed: conf/ and recipes/ travel in the wheel and work from any folder."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from projects import ROOT, Project


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, as `pip install` would lay it out."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_configurations_recipes_templates_and_schemas(installed: Path) -> None:
    for name in (
        "builder/_share/conf/build.yaml",
        "builder/_share/conf/assets/fashion_mobilenet/model.onnx",
        "builder/_share/recipes/jetson_int8.yaml",
        "builder/report/templates/page.html",
        "builder/report/schemas/manifest.schema.json",
        "builder/report/schemas/report.schema.json",
    ):
        assert (installed / name).is_file(), name


def test_a_built_in_recipe_works_from_the_wheel_in_any_folder(installed: Path, project: Project) -> None:
    project.environment["PYTHONPATH"] = str(installed)
    done = project.run("recipe=jetson_int8", "steps=[simplify,quantize,compile]", "~gates.max_accuracy_drop")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "waiting for jetson_orin: compile" in done.stdout
