"""Where an interpreter of a given version is on this machine. None is ever fetched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.errors import ToolchainError
from builder.store.statcache import StatCache, file_state

__all__ = ["Interpreter", "find_interpreter"]

_NOTE = "interpreter.v1"
_ASK = "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.implementation.name)"
_TIMEOUT_S = 20


@dataclass(frozen=True)
class Interpreter:
    """A Python program and its full version."""

    path: Path
    version: str


def find_interpreter(python: str, stats: StatCache) -> Interpreter:
    """Return a CPython of a version such as '3.11', remembered while its file is as it was.

    The one that runs this program comes first, then those on PATH, then what pyenv and uv keep (the newest first).
    Raises ToolchainError.
    """
    own = Path(getattr(sys, "_base_executable", sys.executable))
    if python == f"{sys.version_info.major}.{sys.version_info.minor}":
        return Interpreter(own, ".".join(map(str, sys.version_info[:3])))
    for place in _places(python):
        version = _version(place, stats)
        if version.startswith(f"{python}."):
            return Interpreter(place, version)
    raise ToolchainError(
        f"there is no Python {python} on this machine: looked on PATH and where pyenv and uv keep theirs",
        f"install it, for example: uv python install {python}, or pyenv install {python}",
    )


def _places(python: str) -> Iterator[Path]:
    for folder in os.get_exec_path():
        yield Path(folder) / f"python{python}"
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    managed = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python")
    for below, pattern in ((pyenv, f"{python}.*"), (managed, f"cpython-{python}.*")):
        for kept in sorted(below.glob(pattern), key=_newest_first):
            yield kept / "bin" / f"python{python}"


def _newest_first(kept: Path) -> list[int]:
    return [-int(number) for number in re.findall(r"\d+", kept.name)]


def _version(place: Path, stats: StatCache) -> str:
    """Return the version that a program says it has; '' where there is none, or it is no CPython."""
    try:
        real = place.resolve(strict=True)
        state = list(file_state(real))
    except OSError:
        return ""
    known = stats.note(_NOTE, str(place))
    if known is None or known["state"] != [str(real), *state]:
        known = {"state": [str(real), *state], "version": _ask(place)}
        stats.remember(_NOTE, {str(place): known})
    return str(known["version"])


def _ask(place: Path) -> str:
    try:
        done = subprocess.run(
            [str(place), "-I", "-S", "-c", _ASK], capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    version, _, name = done.stdout.strip().partition(" ")
    return version if done.returncode == 0 and name == "cpython" else ""
