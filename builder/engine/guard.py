"""What a step touched against what its key holds: a file or module outside it could make a stale result.

Seen are files that Python opens (audit hooks, PEP 578) in the project, beside its own code or in a package of ours, and
modules that it loads. What native code and other processes read is not seen.

The packages of a toolchain can only be read, also by root, whom no mode of a folder stops: a library that caches beside
itself goes elsewhere, as it does where it was installed by somebody else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from os.path import abspath, isdir, join, realpath  # the hook runs at every open
from typing import Any

from builder.engine.imports import Imports, UndeclaredError
from builder.modules import find_top

__all__ = ["guarded"]

_watching: list[Watch] = []


@contextmanager
def guarded(imports: Imports, request: Mapping[str, Any]) -> Iterator[None]:
    """Raise UndeclaredError for the step's author if it read a file or loaded a module that its key lacks."""
    top = request["module"].partition(".")[0]
    imports.admit(request["modules"], top, request["project"], request["places"])
    watch = Watch(request, [*_package_folders("builder"), *_package_folders(top)])
    if not _watching:
        sys.addaudithook(_hook)
    _watching[:] = [watch]
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # noqa: BLE001  what it comes from may be known better
        failure = error
    for refused in imports.refused:
        raise refused from failure
    for path in sorted(watch.found - imports.files):
        shown = path.removeprefix(f"{request['project']}/")
        raise UndeclaredError(
            f"{request['step']} read {shown}, which is no input of it: an edit there would go unnoticed",
            "declare it as data or as external data of the model, put it into a module, or hand it over in an option",
        ) from failure
    if failure is not None:
        raise failure


class Watch:
    """Files that are read in the project or in a package of ours, but for those that an action may read."""

    def __init__(self, request: Mapping[str, Any], packages: Sequence[str]) -> None:
        self._project = _inside([request["project"], *request["places"].values()])
        self._packages = _inside(packages)
        self._folders = _inside(request["readable"])
        self._files = frozenset(request["files"])
        self._tools = _inside({sys.prefix, sys.base_prefix, *sys.path} - {request["project"], ""})
        self._kept = _inside(filter(None, [request["packages"]]))
        self.found: set[str] = set()

    def refusal(self, path: object, flags: int) -> PermissionError | None:
        """Return what to raise for what is about to be written into the packages of a toolchain, else None."""
        if not self._kept or not isinstance(path, str | bytes | os.PathLike) or not _writes(flags):
            return None
        full = _full(path)
        kept = full.startswith(self._kept)
        return PermissionError(errno.EACCES, os.strerror(errno.EACCES), full) if kept else None

    def see(self, path: object, flags: int) -> None:
        """Take a note of what is about to be read, unless the action may read it."""
        if not isinstance(path, str | bytes | os.PathLike) or _only_writes(flags):
            return
        full = _full(path)
        if not self._may_read(full) and not isdir(full):  # noqa: PTH112  text
            self.found.add(full)

    def _may_read(self, full: str) -> bool:
        if full in self._files or full.startswith(self._folders):
            return True
        if full.startswith(self._packages):
            return False
        if full.startswith(self._tools):
            return True
        real = realpath(full)
        if full.startswith(self._project):
            return real in self._real_files or real.startswith(self._folders)
        return real == full or self._may_read(real)

    @cached_property
    def _real_files(self) -> frozenset[str]:
        return frozenset(map(realpath, self._files))


def _full(path: str | bytes | os.PathLike[Any]) -> str:
    return abspath(os.fsdecode(path))  # noqa: PTH100  a link keeps its name


def _writes(flags: int) -> bool:
    return flags & os.O_ACCMODE != os.O_RDONLY or bool(flags & (os.O_CREAT | os.O_TRUNC))


def _only_writes(flags: int) -> bool:
    return flags & os.O_ACCMODE == os.O_WRONLY or bool(flags & (os.O_TRUNC | os.O_EXCL))


def _inside(folders: Iterable[str]) -> tuple[str, ...]:
    """Return what the path of a file in one of the folders begins with, by whatever name the folder is called."""
    names = {name for folder in folders for name in (abspath(folder), realpath(folder))}  # noqa: PTH100  both names
    return tuple(join(name, "") for name in names)  # noqa: PTH118  text


def _package_folders(top: str) -> list[str]:
    spec = find_top(top)
    return list(spec.submodule_search_locations or ()) if spec else []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event not in ("open", "os.mkdir") or not _watching:
        return
    flags = arguments[2] if event == "open" else os.O_WRONLY
    refused = None
    with contextlib.suppress(OSError, ValueError):  # no working directory, or no path at all: the open says so
        if isinstance(flags, int):
            _watching[0].see(arguments[0], flags)
            refused = _watching[0].refusal(arguments[0], flags)
    if refused is not None:
        raise refused
