"""A program of ours in a process of its own finds what the process finds that starts it, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from builder.child import command

SAYS = """\
import json, sys
import builder
print(json.dumps({"path": sys.path, "words": sys.argv[1:], "site": "site" in sys.modules, "name": __name__}))
"""
# What a worker in a toolchain is: no site-packages, and our package known though its folder is on no path.
ASKS = """\
import __future__, json, subprocess, sys
own = list(sys.path)
sys.path[:] = [{root!r}]
import builder
sys.path[:] = [*own, {packages!r}]
from builder.child import command
print(json.dumps(sys.path), flush=True)
subprocess.run(command({program!r}, "one", "two words"), check=True)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "says.py"
    file.write_text(SAYS, encoding="utf-8")
    return file


def test_it_looks_where_this_process_looks_and_not_beside_itself(program: Path, tmp_path: Path) -> None:
    done = subprocess.run(command(program, "a word"), cwd=tmp_path, stdout=subprocess.PIPE, check=True, env={})
    said = json.loads(done.stdout)

    assert said["path"] == sys.path
    assert said["words"] == ["a word"]
    assert said["name"] == "__main__"


def test_in_a_toolchain_it_sees_the_toolchains_packages_alone(program: Path, tmp_path: Path) -> None:
    root, packages = str(Path(__file__).resolve().parents[1]), str(tmp_path / "packages")
    code = ASKS.format(root=root, packages=packages, program=str(program))
    done = subprocess.run([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE, text=True, check=True, env={})
    ours, theirs = map(json.loads, done.stdout.splitlines())

    assert theirs["path"] == ours
    assert theirs["path"][-1] == packages
    assert root not in theirs["path"]
    assert theirs["words"] == ["one", "two words"]
    assert not theirs["site"]
