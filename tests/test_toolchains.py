"""What runs in a toolchain sees its packages and nothing of ours; what it is made of is in the key."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from projects import ROOT, Project
from toolchains import PYTHON, add_toolchain, add_user, kept_folders, locked_project
from wheels import make_wheel

from builder.engine.pool import Place
from builder.errors import ToolchainError
from builder.store.statcache import StatCache
from builder.toolchains.interpreter import find_interpreter

OTHERS = [version for version in ("3.11", "3.12", "3.13") if version != PYTHON]


@pytest.fixture
def tiny(project: Project) -> Project:
    """A project with a locked toolchain `tiny` and a recipe `small` whose step `asks` runs in it."""
    return locked_project(project)


def built(project: Project, *words: str, **environment: str) -> dict[str, Any]:
    """Build, see that it ended well, and return its manifest."""
    done = project.run("recipe=small", *words, "output=json", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    manifest: dict[str, Any] = json.loads(done.stdout)
    return manifest


def action(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in manifest["actions"] if each["name"] == name)
    return found


def statuses(manifest: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["status"] for each in manifest["actions"]}


def relock(project: Project, version: str) -> None:
    """Let a new version of tiny appear, and lock that one."""
    make_wheel(project.folder.parent / "wheels", "tiny", version)
    assert project.run("toolchain", "lock", "tiny").returncode == 0


def test_a_step_runs_with_the_packages_of_its_toolchain_and_with_nothing_of_ours(tiny: Project) -> None:
    at_home = tiny.write(f".local/lib/python{PYTHON}/site-packages/other.py", "def answer(): return 'at home'")
    manifest = built(tiny, PYTHONUSERBASE=str(tiny.folder / ".local"))
    facts = action(manifest, "asks")["facts"]

    assert facts["tiny"] == "tiny 1.0"
    assert {facts[name] for name in ("other", "hydra", "numpy", "onnx", "rich")} == {"absent"}, at_home
    assert facts["site"] is False
    assert facts["flags"] == "1 1 True"
    places = facts["path"].split()
    assert [place for place in places if "site-packages" in place or str(ROOT) in place] == []
    assert places[-1] == str(kept_folders(tiny)[0])


def test_a_package_that_imports_by_a_path_of_its_own_is_no_project_code(project: Project) -> None:
    inner = "import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\nimport inner\n\n\ndef answer():\n"
    files = {"tiny/__init__.py": f"{inner}    return inner.WORD\n", "tiny/inner.py": "WORD = 'found'\n"}
    make_wheel(add_toolchain(project), "tiny", files=files)
    add_user(project)
    assert project.run("toolchain", "lock", "tiny").returncode == 0

    built = project.run("recipe=small", "output=json")

    assert built.returncode == 0, built.stderr
    asks = next(action for action in json.loads(built.stdout)["actions"] if action["name"] == "asks")
    assert asks["facts"]["tiny"] == "found"
    assert project.store.is_relative_to(project.folder), "as cv2 does, in a store that lies in the project"


def test_the_manifest_says_what_an_action_ran_with(tiny: Project) -> None:
    tools = action(built(tiny), "asks")["toolchain"]

    assert tools["tiny"] == "1.0"
    assert tools["python"].startswith(f"{PYTHON}.")
    assert re.fullmatch("[0-9a-f]{64}", tools["lock"])
    assert "numpy" not in tools


def test_a_toolchain_is_put_together_only_when_something_will_run_in_it(tiny: Project) -> None:
    first, second = built(tiny), built(tiny)
    third = built(tiny, "steps.asks.number=2")

    assert statuses(first) == {"model": "built", "toolchain.tiny": "built", "asks": "built"}
    assert statuses(second) == {"model": "cached", "asks": "cached"}
    assert statuses(third) == {"model": "cached", "toolchain.tiny": "cached", "asks": "built"}


def test_after_a_build_in_a_toolchain_there_is_nothing_to_do(tiny: Project) -> None:
    built(tiny)
    again = tiny.run("recipe=small")

    assert "nothing to do: small is as it was" in again.stdout
    assert len([*(tiny.folder / "outputs/small").glob("2*")]) == 1


def test_a_toolchain_that_fresh_names_is_put_together_again(tiny: Project) -> None:
    built(tiny)
    planned = tiny.run("plan", "recipe=small", "fresh=toolchain.tiny")
    again = built(tiny, "fresh=toolchain.tiny")
    both = built(tiny, "fresh=[toolchain.tiny,asks]")

    assert re.search(r"run +toolchain\.tiny +.*<- fresh= asks for it", planned.stdout), planned.stdout
    assert statuses(again) == {"model": "cached", "toolchain.tiny": "built", "asks": "cached"}
    assert statuses(both) == {"model": "cached", "toolchain.tiny": "built", "asks": "built"}


def test_another_lock_runs_the_action_again_and_the_plan_says_why(tiny: Project) -> None:
    before = tiny.run("plan", "recipe=small")
    built(tiny)
    relock(tiny, "1.1")
    planned = tiny.run("plan", "recipe=small")
    manifest = built(tiny)

    assert re.search(r"run +toolchain\.tiny +\w+ +<- first build", before.stdout)
    assert re.search(r"run +toolchain\.tiny .*lock \w{12} -> \w{12}, tiny 1\.0 -> 1\.1", planned.stdout), planned.stdout
    assert re.search(r"run +asks .*tiny 1\.0 -> 1\.1", planned.stdout)
    assert action(manifest, "asks")["facts"]["tiny"] == "tiny 1.1"
    assert len(kept_folders(tiny)) == 2


def test_the_plan_shows_a_toolchain_that_is_there_when_something_will_run_in_it(tiny: Project) -> None:
    built(tiny)

    assert "toolchain.tiny" not in tiny.run("plan", "recipe=small").stdout
    assert re.search(r"cached +toolchain\.tiny", tiny.run("plan", "recipe=small", "steps.asks.number=2").stdout)


def test_two_projects_share_a_toolchain_and_what_was_made_in_it(make_project: Callable[[str], Project]) -> None:
    one, other = locked_project(make_project("one")), locked_project(make_project("other"))
    store = {"BUILDER_STORE": str(one.folder.parent / "store")}
    built(one, **store)
    same, different = built(other, **store), built(other, "steps.asks.number=2", **store)

    assert statuses(same) == {"model": "cached", "asks": "cached"}
    assert statuses(different) == {"model": "cached", "toolchain.tiny": "cached", "asks": "built"}


def test_the_same_lock_makes_the_same_bytes_wherever_and_whenever(make_project: Callable[[str], Project]) -> None:
    one, other = locked_project(make_project("one")), locked_project(make_project("other"))
    files = {"tiny/sets.py": "NAMES = {'a', 'b', 'c'}\nis_one = lambda x: x in {'d', 'e', 'f', 'g'}\n"}
    for project in (one, other):
        make_wheel(project.folder.parent / "wheels", "tiny", "2.0", files=files)
        assert project.run("toolchain", "lock", "tiny").returncode == 0
        assert project.run("toolchain", "build", "tiny").returncode == 0

    assert [path.name for path in kept_folders(one)] == [path.name for path in kept_folders(other)]
    assert [*kept_folders(one)[0].rglob("__pycache__/*.pyc")]


def test_verify_runs_again_in_the_toolchain_what_ran_in_it(tiny: Project) -> None:
    built(tiny)
    verified = tiny.run("verify", "recipe=small")

    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert re.search(r"equal +asks", verified.stdout)
    assert "equal  small: 2 equal, 1 not judged" in verified.stdout


def test_diff_names_the_package_that_another_lock_brought(tiny: Project) -> None:
    built(tiny)
    relock(tiny, "1.1")
    built(tiny)
    builds = sorted((tiny.folder / "outputs/small").glob("2*"))
    compared = tiny.run("diff", *(str(build.relative_to(tiny.folder)) for build in builds))

    assert len(builds) == 2
    assert "tiny 1.0 -> 1.1" in compared.stdout, compared.stdout + compared.stderr
    assert "Traceback" not in compared.stderr


def test_a_sweep_puts_a_toolchain_together_once(tiny: Project) -> None:
    swept = tiny.run("-m", "recipe=small", "steps.asks.number=1,2,3")

    assert swept.returncode == 0, swept.stdout + swept.stderr
    assert len(re.findall(r"built +\d/toolchain\.tiny", swept.stdout)) == 1, swept.stdout
    assert len(re.findall(r"built +\d/asks", swept.stdout)) == 3
    assert len(kept_folders(tiny)) == 1


def test_a_failed_toolchain_is_told_once_and_skips_what_would_have_run_in_it(tiny: Project) -> None:
    (tiny.folder.parent / "wheels/tiny-1.0-py3-none-any.whl").unlink()
    failed = tiny.run("recipe=small")

    assert failed.returncode == 1
    assert failed.stdout.count("tiny was not found") == 2  # the reason, and uv's own line in the log
    assert re.search(r"skipped +asks +toolchain\.tiny failed", failed.stdout)
    assert kept_folders(tiny) == []


def test_what_is_cached_needs_no_toolchain_that_failed_for_another(tiny: Project) -> None:
    tiny.write(
        "recipes/small.yaml",
        """\
# @package _global_
defaults: [override /model: small, _self_]
name: small
steps:
  asks: {step: asks, inputs: {model: model}}
  first: {step: simplify, inputs: {model: model}}
  second: {step: simplify, inputs: {model: first}}
  later: {step: asks, inputs: {model: second}}
""",
    )
    built(tiny)
    shutil.rmtree(kept_folders(tiny)[0])
    (tiny.folder.parent / "wheels/tiny-1.0-py3-none-any.whl").unlink()
    words = ("fresh=[first,second]", "+steps.asks.number=2", "jobs=1", "output=json")
    done = tiny.run("recipe=small", *words)
    assert done.stdout, done.stderr
    found = statuses(json.loads(done.stdout))  # `later` comes after the toolchain failed

    assert (found["toolchain.tiny"], found["asks"], found["later"]) == ("failed", "skipped", "cached")


def test_a_general_limit_stops_no_toolchain_and_each_is_counted_when_it_is_needed(tiny: Project) -> None:
    tiny.write("recipes/small.yaml", (tiny.folder / "recipes/small.yaml").read_text() + "limits: {memory_mib: 1}\n")
    done = tiny.run("recipe=small", "++limits.model.memory_mib=9999", "++limits.asks.memory_mib=9999", "output=jsonl")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    totals = [event["total"] for event in events if event.get("kind") == "planned"]
    ended = [event for event in events if event.get("kind") == "finished"]

    assert done.returncode == 0, done.stdout
    assert totals == [2, 3]
    assert len(ended) == 3


@pytest.mark.parametrize("python", OTHERS)
def test_an_action_runs_on_the_python_that_its_toolchain_names(python: str, project: Project, tmp_path: Path) -> None:
    stats = StatCache(tmp_path / "cache")
    try:
        there = find_interpreter(python, stats)
    except ToolchainError as missing:
        pytest.skip(f"{missing.message}, and the test needs a second one")
    finally:
        stats.close()
    make_wheel(add_toolchain(project, python=python), "tiny")
    add_user(project)
    project.environment["PYENV_ROOT"] = str(there.path.parents[3])
    assert project.run("toolchain", "lock", "tiny").returncode == 0
    asked = action(built(project), "asks")

    assert asked["facts"]["python"] == python
    assert asked["facts"]["tiny"] == "tiny 1.0"
    assert asked["toolchain"]["python"] == there.version


def test_an_interpreter_is_asked_once_and_again_when_it_is_another(tmp_path: Path, monkeypatch: Any) -> None:
    wrong = tmp_path / "bin/python3.99"
    wrong.parent.mkdir()
    asked = tmp_path / "asked"
    wrong.write_text(f"#!/bin/sh\necho >> {asked}\necho 3.99.1 {wrong}\n")
    wrong.chmod(0o755)
    monkeypatch.setenv("PATH", str(wrong.parent))
    stats = StatCache(tmp_path / "cache")
    found = [find_interpreter("3.99", stats) for _ in range(3)]
    wrong.write_text(f"#!/bin/sh\necho 3.99.2 {wrong}\n")
    later = find_interpreter("3.99", stats)
    stats.close()

    assert {each.version for each in found} == {"3.99.1"}
    assert asked.read_text() == "\n"
    assert later.version == "3.99.2"


def test_a_script_that_leads_elsewhere_is_followed_and_not_remembered(tmp_path: Path, monkeypatch: Any) -> None:
    shim, says = tmp_path / "shims/python3.99", tmp_path / "says"
    shim.parent.mkdir()
    shim.write_text(f"#!/bin/sh\ncat {says}\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:/usr/bin:/bin")
    stats = StatCache(tmp_path / "cache")
    found = []
    for version in ("3.99.1", "3.99.2"):
        says.write_text(f"{version} /opt/{version}/python\n")
        found.append(find_interpreter("3.99", stats))
    stats.close()

    assert [(each.version, str(each.path)) for each in found] == [
        ("3.99.1", "/opt/3.99.1/python"),
        ("3.99.2", "/opt/3.99.2/python"),
    ]


def test_a_worker_in_a_toolchain_imports_neither_sitecustomize_nor_what_lies_beside_our_package(tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/sitecustomize.py").write_text(f"open({str(tmp_path / 'touched')!r}, 'w')")
    (tmp_path / "packages/hook.pth").write_text(f"import sys; open({str(tmp_path / 'touched')!r}, 'w')")
    words = Place(sys.executable, str(tmp_path / "packages")).words()
    code = "import runpy, sys; sys.argv = sys.argv[1:]; m = runpy.run_path(sys.argv[0]); "
    code += "import json; m['_look_in'](json.loads(sys.argv[1])); import importlib.util as u; "
    code += "print([u.find_spec(n) is not None for n in ('builder.step', 'tests', 'conf', 'projects')])"
    asked = subprocess.run(
        [*words[:5], "-c", code, *words[5:]], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert asked.stdout == "[True, False, False, False]\n", asked.stderr
    assert not (tmp_path / "touched").exists()
