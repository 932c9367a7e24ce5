"""The same plan for other tools: chains of copies, each chain from a file of 1 KB."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.store.statcache import cache_folder

__all__ = ["TOOLS", "Tool"]

Link = tuple[str, str]  # the file that is copied, and the copy
EXTRA = "install what benchmarks need: pip install -e '.[bench]'"
DVC = "dvc>=3.67,<4"


@dataclass(frozen=True)
class Tool:
    """Another build tool: how its files are written and how it is called; `command` skips the test without it."""

    name: str
    write: Callable[[Path, list[Link]], None]
    command: Callable[[], list[str]]

    def prepare(self, folder: Path, count: int, length: int) -> None:
        """Write the plan and its source files into a new folder."""
        folder.mkdir(parents=True)
        for chain in range(count):
            (folder / f"{chain}.txt").write_bytes((f"{chain}.txt".encode() * 1024)[:1024])
        self.write(folder, list(_links(count, length)))

    def environment(self, folder: Path) -> dict[str, str]:
        """Return what the tool sees: a home of its own, and nothing that lets it report home."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(folder / ".site"),
        }


def _links(count: int, length: int) -> Iterator[Link]:
    for chain in range(count):
        for link in range(length):
            yield f"c{chain}-{link - 1}.out" if link else f"{chain}.txt", f"c{chain}-{link}.out"


def _write_ninja(folder: Path, links: list[Link]) -> None:
    rules = "".join(f"build {made}: copy {taken}\n" for taken, made in links)
    (folder / "build.ninja").write_text(f"rule copy\n  command = cp $in $out\n{rules}")


def _write_doit(folder: Path, links: list[Link]) -> None:
    (folder / "dodo.py").write_text(
        f"LINKS = {links!r}\n"
        "DOIT_CONFIG = {'action_string_formatting': 'new'}\n"
        "def task_copy():\n"
        "    for taken, made in LINKS:\n"
        "        yield {'name': made, 'actions': [f'cp {taken} {made}'], 'file_dep': [taken], 'targets': [made]}\n"
    )


def _write_dvc(folder: Path, links: list[Link]) -> None:
    stages = "".join(
        f"  {made.removesuffix('.out')}:\n    cmd: cp {taken} {made}\n    deps: [{taken}]\n    outs: [{made}]\n"
        for taken, made in links
    )
    (folder / "dvc.yaml").write_text(f"stages:\n{stages}")
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\n  no_scm = true\n  analytics = false\n  check_update = false\n")


def _ninja() -> list[str]:
    return [_program("ninja", f"{EXTRA}, or ninja-build of your system")]


def _doit() -> list[str]:
    return [_program("doit", EXTRA), "run"]


def _program(name: str, advice: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: {advice}")
    return found


def _dvc() -> list[str]:
    """Return DVC's command, from a virtual environment of its own that is made once, in the user's cache folder."""
    folder = cache_folder() / "benchmarks" / "dvc"
    program = folder / "bin" / "dvc"
    if not program.exists():
        for words in (
            [sys.executable, "-m", "venv", "--clear", folder],
            [folder / "bin" / "pip", "install", "-q", DVC],
        ):
            done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
            if done.returncode:
                shutil.rmtree(folder, ignore_errors=True)
                pytest.skip(f"DVC cannot be installed into {folder}: {done.stderr.strip().splitlines()[-1:]}")
    return [str(program), "repro"]


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("ninja", _write_ninja, _ninja),
        Tool("doit", _write_doit, _doit),
        Tool("DVC", _write_dvc, _dvc),
    )
}
