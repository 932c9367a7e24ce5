"""Where an interpreter of a given version is on this machine. None is ever fetched."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from builder.errors import ToolchainError
from builder.store.statcache import StatCache, file_state

__all__ = ["Interpreter", "find_interpreter"]

_NOTE = "interpreter.v2"
# The program itself, where a link or a virtual environment leads to one; no debug or free-threaded build.
_ASK = """import os, sys
if sys.implementation.name == 'cpython' and not sys.abiflags:
    print('%d.%d.%d' % sys.version_info[:3], os.path.realpath(sys._base_executable))"""
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
        found = _known(place, stats)
        if found and found.version.startswith(f"{python}."):
            return found
    raise ToolchainError(
        f"there is no Python {python} on this machine: looked on PATH and where pyenv and uv keep theirs",
        f"install it, for example: uv python install {python}, or pyenv install {python}",
    )


def _places(python: str) -> Iterator[Path]:
    """Yield where one may be; scripts come last, since what pyenv and others put on PATH asks where it is called."""
    on_path = [Path(folder) / f"python{python}" for folder in os.get_exec_path()]
    yield from (place for place in on_path if not _is_script(place))
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    managed = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python")
    for below, pattern in ((pyenv, f"{python}.*"), (managed, f"cpython-{python}.*")):
        for kept in sorted(below.glob(pattern), key=_newest_first):
            yield kept / "bin" / f"python{python}"
    yield from filter(_is_script, on_path)


def _newest_first(kept: Path) -> list[int]:
    return [-int(number) for number in re.findall(r"\d+", kept.name)]


def _is_script(place: Path) -> bool:
    with suppress(OSError), place.open("rb") as file:
        return file.read(2) == b"#!"
    return False


def _known(place: Path, stats: StatCache) -> Interpreter | None:
    """Return what a program says it is; only of one that is the interpreter itself, the answer is remembered."""
    try:
        real = place.resolve(strict=True)
        state = [str(real), *file_state(real)]
    except OSError:
        return None
    known = stats.note(_NOTE, str(place))
    if known is not None and known["state"] == state:
        return Interpreter(real, known["version"])
    found = _ask(place)
    if found and found.path == real:
        stats.remember(_NOTE, {str(place): {"state": state, "version": found.version}})
    return found


def _ask(place: Path) -> Interpreter | None:
    import subprocess

    try:
        done = subprocess.run(
            [str(place), "-I", "-S", "-c", _ASK], capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version, _, path = done.stdout.rstrip("\n").partition(" ")
    return Interpreter(Path(path), version) if done.returncode == 0 and path else None
