"""Projects with a toolchain of tiny wheels, and a step that runs in it."""

from __future__ import annotations

import sys
from pathlib import Path

from projects import Project, write_small
from wheels import make_wheel

__all__ = ["PYTHON", "add_toolchain", "add_user", "kept_folders", "locked_project"]

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
# A step that tells what it sees of the interpreter it runs in.
_USER = '''\
"""A step of somebody else that runs in a toolchain."""

from dataclasses import dataclass
from pathlib import Path

from builder.step import Job, Kind, Result, step


@dataclass
class Options:
    number: int = 1


@step(options=Options, rank=30, inputs={"model": Kind.ONNX}, outputs={"model": Kind.ONNX}, toolchain="tiny")
def asks(options: Options, job: Job) -> Result:
    import importlib
    import shutil
    import sys

    from builder.step import silent

    shutil.copytree(job.inputs["model"], job.folder("model"), dirs_exist_ok=True)
    seen = {}
    for name in ("tiny", "other", "hydra", "numpy", "onnx", "rich"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            seen[name] = "absent"
        else:
            seen[name] = module.answer() if hasattr(module, "answer") else module.__file__
    return Result({
        **seen,
        "python": "%d.%d" % sys.version_info[:2],
        "site": "site" in sys.modules,
        "path": " ".join(sys.path),
        "flags": f"{sys.flags.no_user_site} {sys.flags.no_site} {sys.flags.safe_path}",
    })
'''
_RECIPE = """\
# @package _global_
defaults:
  - override /model: small
  - override /steps: [asks]
  - _self_
name: small
"""


def add_toolchain(project: Project, *packages: str, python: str = PYTHON, name: str = "tiny") -> Path:
    """Describe a toolchain, and let pip's configuration name the project's folder of wheels; return that folder."""
    links = project.folder.parent / "wheels"
    links.mkdir(exist_ok=True)
    named = ", ".join(packages or ("tiny",))
    project.write(f"conf/toolchain/{name}.yaml", f'python: "{python}"\npackages: [{named}]\nsummary: a tiny one\n')
    project.write(".config/pip/pip.conf", f"[global]\nno-index = yes\nfind-links = {links}\n")
    return links


def add_user(project: Project) -> None:
    """Add a model and a recipe `small` whose only step runs in the toolchain `tiny`."""
    write_small(project)
    project.add_steps(asks=_USER)
    project.write("recipes/small.yaml", _RECIPE)


def locked_project(project: Project, *, user: bool = True) -> Project:
    """Return a project with a toolchain `tiny` of the package tiny 1.0, locked, and with a step that runs in it."""
    make_wheel(add_toolchain(project), "tiny")
    if user:
        add_user(project)
    locked = project.run("toolchain", "lock", "tiny")
    assert locked.returncode == 0, locked.stderr
    return project


def kept_folders(project: Project) -> list[Path]:
    folder = project.store / "folders"
    return sorted(folder.iterdir()) if folder.is_dir() else []
