"""A slip in `model.code` is found before anything runs, by reading the file; nothing of it is run."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import Project

from builder.recipe.own_code import check_code

_CODE = """\
from pathlib import Path
from pathlib import PurePath as Pure

Path("it_ran").touch()
if True:
    class Net: ...
else:
    Other = None
first, (second, *rest) = 1, (2, 3)
annotated: int = 1
for index in range(3):
    pass


def make():
    global made
    inner = made = 1
"""


@pytest.fixture
def mine(project: Project) -> Project:
    project.write("net/mine.py", _CODE)
    project.write("net/broken.py", "import os\n\n\nclass Net(\n")
    project.write("net/my-net.py", "Net = 1\n")
    project.write("conf/model/mine.yaml", "name: mine\nformat: torch\ncode: net/mine.py:Net\n")
    project.write("recipes/mine.yaml", "# @package _global_\ndefaults: [override /model: mine, _self_]\nname: mine\n")
    return project


@pytest.mark.parametrize(
    ("code", "says", "hint"),
    [
        ("net/mien.py:Net", "there is no file net/mien.py", "did you mean 'net/mine.py'?"),
        ("nowhere/mine.py:Net", "there is no file nowhere/mine.py", "looked at "),
        ("net/mine.py:Nut", "net/mine.py holds no 'Nut'", "did you mean 'Net'?"),
        ("net/mine.py:zz", "net/mine.py holds no 'zz'", "there is: Net, Other, Path, Pure, annotated, first, index, "),
        ("net/mine.py:inner", "net/mine.py holds no 'inner'", "did you mean 'index'?"),
        ("net/broken.py:Net", "net/broken.py:4 is no Python: '(' was never closed", "nothing was run"),
        ("net/my-net.py:Net", "net/my-net.py cannot be imported", "mymodel.py"),
    ],
)
@pytest.mark.parametrize("verb", [(), ("plan",)], ids=["build", "plan"])
def test_a_slip_is_told_with_its_place_before_anything_runs(
    mine: Project, verb: tuple[str, ...], code: str, says: str, hint: str
) -> None:
    mine.write("conf/model/mine.yaml", f"name: mine\nformat: torch\ncode: {code}\n")
    done = mine.run(*verb, "recipe=mine")

    told = " ".join(done.stderr.split())
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"conf/model/mine.yaml:3: model.code: {says}" in told
    assert hint in told
    assert not (mine.folder / "outputs").exists()
    assert not (mine.folder / "it_ran").exists()


def test_a_slip_on_the_command_line_is_told_there(mine: Project) -> None:
    done = mine.run("plan", "recipe=mine", "model.code=net/mine.py:Nut")

    assert "on the command line (model.code=net/mine.py:Nut): model.code: net/mine.py holds no 'Nut'" in done.stderr


@pytest.mark.parametrize(
    "name", ["Net", "Other", "Path", "Pure", "first", "rest", "annotated", "index", "make", "made"]
)
def test_every_name_that_a_module_binds_is_taken(mine: Project, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(mine.folder)

    check_code(f"net/mine.py:{name}", "host")


@pytest.mark.parametrize(
    "text",
    [
        "from elsewhere import *\n",
        "def __getattr__(name):\n    return 1\n",
        "globals()['Net'] = 1\n",
        "exec('Net = 1')\n",
        "import sys\nsetattr(sys.modules[__name__], 'Net', 1)\n",
    ],
)
def test_names_that_nobody_can_see_are_not_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.py").write_text(text)

    check_code(f"{tmp_path}/mine.py:Net", "host")


def test_what_a_newer_python_may_be_able_to_read_is_left_to_it(mine: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    mine.write("conf/toolchain/newer.yaml", 'python: "3.99"\npackages: [torch]\nsummary: not made yet\n')
    monkeypatch.chdir(mine.folder)

    check_code("net/broken.py:Net", "newer")


def test_a_warning_about_the_code_is_kept_for_when_it_runs(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("Net = '\\d'\n")

    check_code(f"{tmp_path}/mine.py:Net", "host")
