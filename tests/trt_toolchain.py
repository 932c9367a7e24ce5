"""Programs that run in the toolchain tensorrt_rtx, with our modules beside it."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing
from pathlib import Path

from projects import ROOT

from builder.store.statcache import StatCache
from builder.toolchains.interpreter import find_interpreter

__all__ = ["find_rtx", "run_rtx"]


def find_rtx(store: Path) -> tuple[Path, Path]:
    """Return a Python, and the folder in a store in which it finds tensorrt_rtx."""
    packages = next(kept for kept in (store / "folders").iterdir() if (kept / "tensorrt_rtx_libs").is_dir())
    with closing(StatCache()) as stats:
        return find_interpreter("3.11", stats).path, packages


def run_rtx(store: Path, script: str, folder: Path, *words: str) -> str:
    """Run a program in a folder with the toolchain's own Python, and return what it wrote to stderr."""
    python, packages = find_rtx(store)
    done = subprocess.run(
        [str(python), "-s", "-S", "-B", "-c", script, *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stderr
