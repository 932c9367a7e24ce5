"""In the host's toolchain, what is installed is known by version and by its files, whoever installed it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from projects import ROOT, Project
from wheels import make_wheel

from builder.plan.toolchain import Installed
from builder.store.statcache import StatCache

USES = """
from dataclasses import dataclass
from builder.step import Job, Kind, Result, step

@dataclass
class Options:
    number: int = 1

@step(options=Options, rank=30, inputs={"model": Kind.ONNX}, outputs={"model": Kind.ONNX}, packages=("tiny",))
def uses(options: Options, job: Job) -> Result:
    import shutil
    import tiny
    shutil.copytree(job.inputs["model"], job.folder("model"), dirs_exist_ok=True)
    return Result({"tiny": tiny.answer()})
"""
RECIPE = """\
# @package _global_
defaults:
  - override /model: small
  - override /steps: [uses]
  - _self_
name: small
"""


def install(wheel: Path, target: Path) -> None:
    """Install a wheel into a folder."""
    shutil.rmtree(target, ignore_errors=True)
    run("uv", "pip", "install", "--python", sys.executable, *ALONE, "--target", str(target), str(wheel))


def install_by(installer: str, wheel: Path, environment: Path) -> Path:
    """Install a wheel into a new environment with pip or uv, and return where its packages lie."""
    run("uv", "venv", "--python", sys.executable, "--offline", "--no-config", str(environment))
    python = str(environment / "bin/python")
    if installer == "uv":
        run("uv", "pip", "install", "--python", python, *ALONE, "--compile-bytecode", str(wheel))
    else:
        run("pip", "--python", python, "install", "--no-index", "--disable-pip-version-check", str(wheel))
    return next(environment.glob("lib/python3*/site-packages"))


def run(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )
    if "No module named" in done.stderr:
        pytest.skip(f"{words[0]} is not installed in this environment, and the test installs a package with it")
    assert done.returncode == 0, done.stderr


ALONE = ("--offline", "--no-config", "--no-deps", "--no-cache")  # whatever this machine is set up for


def looked_up(place: Path, *packages: str) -> Installed:
    """Return what a new process finds of packages whose place is first on its search path."""
    code = f"""
import json, sys
from dataclasses import asdict
from pathlib import Path
from builder.plan.toolchain import Toolchain
from builder.store.statcache import StatCache
print(json.dumps(asdict(Toolchain(StatCache(Path({str(place.parent / "cache")!r}))).installed({packages!r}))))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{place}{os.pathsep}{ROOT}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return Installed(**json.loads(done.stdout))


@pytest.fixture
def uses(small: Project) -> Project:
    """A project with a recipe `small` whose step `uses` needs a package tiny of the host."""
    small.add_steps(uses=USES)
    small.write("recipes/small.yaml", RECIPE)
    install(make_wheel(small.folder / "wheels", "tiny"), small.folder / "packages")
    small.environment["PYTHONPATH"] += f"{os.pathsep}{small.folder / 'packages'}"
    return small


def manifest(project: Project) -> dict[str, Any]:
    done = project.run("recipe=small", "output=json")
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _named(name: str, manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(action for action in manifest["actions"] if action["name"] == name)
    return found


def test_a_package_with_the_same_version_and_other_files_runs_the_action_again(uses: Project) -> None:
    before = manifest(uses)
    wheel = make_wheel(uses.folder / "wheels", "tiny", files={"tiny/more.py": "MORE = 1\n"})
    install(wheel, uses.folder / "packages")
    planned = uses.run("plan", "recipe=small")
    after = manifest(uses)
    builds = sorted((uses.folder / "outputs/small").glob("2*"))
    compared = uses.run("diff", *(str(build.relative_to(uses.folder)) for build in builds))

    assert re.search(r"run +uses .*<- tiny 1\.0 was installed anew with other files\n", planned.stdout), planned.stdout
    uses_before, uses_after = (_named("uses", each) for each in (before, after))
    assert uses_after["status"] == "built"
    assert uses_before["toolchain"] == uses_after["toolchain"]
    assert uses_after["toolchain"]["tiny"] == "1.0"
    assert "tiny 1.0 was installed anew with other files" in compared.stdout


def test_another_version_is_told_as_such_and_not_twice(uses: Project) -> None:
    manifest(uses)
    install(make_wheel(uses.folder / "wheels", "tiny", "1.1"), uses.folder / "packages")
    planned = uses.run("plan", "recipe=small")

    assert re.search(r"run +uses .*<- tiny 1\.0 -> 1\.1\n", planned.stdout), planned.stdout


def test_a_step_of_another_toolchain_has_in_its_key_here_whatever_holds_what_it_imports(uses: Project) -> None:
    path = uses.environment["PYTHONPATH"]
    uses.write("conf/toolchain/elsewhere.yaml", 'python: "3.11"\npackages: [tiny]\n')
    uses.add_steps(uses=USES.replace('packages=("tiny",)', 'toolchain="elsewhere"'))
    uses.environment["PYTHONPATH"] = path
    uses.write("recipes/small.yaml", f"{RECIPE}steps: {{uses: {{toolchain: host}}}}\n")
    files = {"tiny/__init__.py": "def answer():\n    return 1\n"}
    install(make_wheel(uses.folder / "wheels", "tiny_cpu", files=files), uses.folder / "packages")
    ran_with = _named("uses", manifest(uses))["toolchain"]
    install(make_wheel(uses.folder / "wheels", "tiny_cpu", "1.1", files=files), uses.folder / "packages")
    planned = uses.run("plan", "recipe=small")

    assert (ran_with["tiny"], ran_with["tiny-cpu"]) == ("absent", "1.0")
    assert "builder" not in ran_with
    assert re.search(r"run +uses .*<- tiny-cpu 1\.0 -> 1\.1\n", planned.stdout), planned.stdout


def test_the_same_wheel_installed_again_changes_nothing(uses: Project) -> None:
    manifest(uses)
    install(next((uses.folder / "wheels").iterdir()), uses.folder / "packages")

    assert "nothing to do" in uses.run("recipe=small").stdout


def test_pip_and_uv_install_the_same_package(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path / "wheels",
        "tiny",
        files={
            "tiny/a b,c.py": "COMMA = 1\n",
            "tiny-1.0.data/scripts/tinier": "#!python\nprint(1)\n",
            "tiny-1.0.dist-info/entry_points.txt": "[console_scripts]\ntiny = tiny:answer\n",
            "tiny-1.0.dist-info/licenses/LICENSE": "free\n",
        },
    )
    sites = [install_by(installer, wheel, tmp_path / installer / "environment") for installer in ("pip", "uv")]
    by_pip, by_uv = (looked_up(site, "tiny") for site in sites)
    records = [sorted((site / "tiny-1.0.dist-info/RECORD").read_text().splitlines()) for site in sites]

    assert by_pip == by_uv
    assert set(by_pip.records) == {"tiny"}
    assert records[0] != records[1]


def test_what_is_developed_in_place_has_a_version_and_no_files_of_its_own(tmp_path: Path) -> None:
    info = tmp_path / "site/tiny-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    (info / "RECORD").write_text("__editable__.tiny-1.0.pth,sha256=abc,3\ntiny-1.0.dist-info/METADATA,sha256=def,3\n")
    for text in ('{"dir_info": {"editable": true}, "url": "file:///x"}', '{"url":"x","dir_info":{"editable":true}}'):
        (info / "direct_url.json").write_text(text)
        found = looked_up(tmp_path / "site", "tiny")
        assert (found.versions["tiny"], found.records) == ("1.0", {})


def test_a_package_without_a_record_has_a_version_alone(tmp_path: Path) -> None:
    info = tmp_path / "site/tiny-1.0.egg-info"
    info.mkdir(parents=True)
    (info / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    found = looked_up(tmp_path / "site", "tiny", "nowhere-at-all")

    assert (found.versions["tiny"], found.versions["nowhere-at-all"], found.records) == ("1.0", "absent", {})


def test_a_record_that_is_written_over_in_place_is_seen(tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(make_wheel(tmp_path / "wheels", "tiny"), site)
    for path in (site, *site.rglob("*")):
        os.utime(path, (1, 1))
    record = site / "tiny-1.0.dist-info/RECORD"
    before = looked_up(site, "tiny")
    record.write_text(record.read_text().replace("tiny/__init__.py,sha256=", "tiny/__init__.py,sha256=0"))
    os.utime(record, (1, 1))

    assert looked_up(site, "tiny").records != before.records


def test_every_package_of_ours_is_known_by_its_files(tmp_path: Path) -> None:
    from builder.plan.toolchain import Toolchain

    stats = StatCache(tmp_path)
    found = Toolchain(stats).installed(("onnx", "onnxruntime", "numpy"))
    stats.close()

    assert found.versions.keys() - found.records.keys() == {"python"}
