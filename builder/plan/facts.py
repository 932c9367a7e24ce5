"""What the plan asks of the machine and of files, each question once."""

from __future__ import annotations

import platform
from functools import cached_property
from pathlib import Path
from typing import Any

from builder.digest import digest_json
from builder.errors import DataError, SourceError
from builder.plan.action import Action
from builder.plan.implementation import Code
from builder.plan.packages import packages_of
from builder.plan.part import Part
from builder.plan.project import CodePlace, find_code
from builder.plan.toolchain import Installed, Toolchain
from builder.recipe.locations import find_file
from builder.runtimes.available import availability
from builder.runtimes.tensorrt import find_gpu
from builder.specs import Data
from builder.store.statcache import FileState, StatCache, file_state
from builder.toolchains.interpreter import Interpreter, find_interpreter
from builder.toolchains.spec import HOST
from builder.trouble import is_scarcity, trouble
from builder.typed import to_plain

__all__ = ["Facts"]


class Facts:
    """What the plan asks of the machine, each question once: files' digests, code, devices, versions.

    A build sees all of it as it was when it asked first. With `again` files are read, whatever is remembered of them.
    """

    def __init__(self, stats: StatCache, *, again: bool = False) -> None:
        self.stats = stats
        self._read = stats.hash if again else stats.digest
        self._devices: dict[str, tuple[dict[str, Any] | None, str]] = {}
        self._code: dict[str, dict[str, str]] = {}
        self._interpreters: dict[str, Interpreter] = {}
        self._sources: dict[Path | None, Code] = {}
        self._packages: dict[str, tuple[str, ...]] = {}
        self._installed: dict[tuple[str, ...], Installed] = {}
        self._toolchain = Toolchain(stats)
        self._states: dict[Path, FileState] = {}
        self._samples: dict[str, dict[str, Any]] = {}

    def code(self, action: Action) -> dict[str, str]:
        """Return module -> SHA-256 of the source of what an action runs, a project's own code with it."""
        module, place = action.step.run.__module__, _code_of(action)
        name = f"{module} {place.file}" if place else module
        if name not in self._code:
            self._code[name] = Part(self._sources_in(None).reached((module, "builder.engine.worker")))
            if place:
                self._code[name] |= self._sources_in(place.folder).reached((place.module,))
        return self._code[name]

    def _sources_in(self, folder: Path | None) -> Code:
        return self._sources.setdefault(folder, Code(self.stats, folder))

    def interpreter(self, python: str) -> Interpreter:
        """Return where a Python of a version is. Raises ToolchainError."""
        if python not in self._interpreters:
            self._interpreters[python] = find_interpreter(python, self.stats)
        return self._interpreters[python]

    def toolchain(self, action: Action) -> dict[str, str]:
        """Return name -> version of what an action runs with. Raises ToolchainError."""
        if action.locked is None:
            return self.installed(action).versions
        lock = action.locked.lock
        return {
            **{name: pin.version for name, pin in lock.pins.items()},
            "lock": lock.digest,
            "machine": platform.machine(),  # decides which files of a package are taken
            "python": self.interpreter(lock.python).version,
        }

    def installed(self, action: Action) -> Installed:
        """Return what an action runs with in the host's toolchain."""
        packages = self.packages(action)
        if packages not in self._installed:
            self._installed[packages] = self._toolchain.installed(packages)
        return self._installed[packages]

    def packages(self, action: Action) -> tuple[str, ...]:
        """Return the distributions that an action runs with in the host's toolchain."""
        step, place = action.step, _code_of(action)
        if step.toolchain == HOST and place is None:  # what it needs, it says
            return step.packages
        name = f"{step.name} {place.file if place else ''}"
        if name not in self._packages:
            imported = self._sources_in(None).imported((step.run.__module__,))
            if place:
                imported |= self._sources_in(place.folder).imported((place.module,))
            self._packages[name] = packages_of(action, imported)
        return self._packages[name]

    def samples(self, data: Data, *, fetched: bool) -> dict[str, Any]:
        """Return how samples are read and what the files of a dataset hold. Raises DataError."""
        name = digest_json("builder.data.v1", [to_plain(data), fetched])
        if name not in self._samples:
            self._samples[name] = Part(_data(data, fetched, self))
        return self._samples[name]

    def device(self, action: Action) -> tuple[dict[str, Any] | None, str]:
        """Return the facts of the target's device, or None and why it is not here."""
        target = action.target
        name = digest_json("builder.target.v1", to_plain(target))
        if name not in self._devices:
            self._devices[name] = availability(to_plain(target))
        return self._devices[name]

    @cached_property
    def program(self) -> dict[str, str]:
        """What runs on a device in our place: file -> SHA-256 of its source."""
        folder = Path(__file__).resolve().parents[1] / "device"
        return {file.name: self.digest(file) for file in sorted(folder.glob("*.py"))}

    @cached_property
    def kit(self) -> dict[str, str]:
        """What decides at home what such a program is told: module -> SHA-256 of its source."""
        pack = Path(__file__).resolve().parents[1] / "kit" / "pack.py"
        decided = ("builder.onnxtools.profiles", "builder.onnxtools.trt_check")  # shapes, precisions
        return {"builder.kit.pack": self.digest(pack), **self._sources_in(None).reached(decided)}

    @cached_property
    def gpu(self) -> dict[str, str] | None:
        """What the driver says of this machine's NVIDIA GPU, or None."""
        return find_gpu()

    def file(self, path: str, what: str) -> str:
        """Return the SHA-256 of a file that a recipe names. Raises SourceError."""
        file = find_file(path)
        if file.exists() and not file.is_file():
            raise SourceError(f"{what}: {path} is not a file", f"looked at {file}")
        try:
            return self.digest(file)
        except OSError as error:
            raise SourceError(f"{what}: cannot read {path}: {error.strerror}", f"looked at {file}") from error

    def digest(self, file: Path) -> str:
        """Return the SHA-256 of a file. Raises OSError, StoreError where the system has run out of something."""
        try:
            self._states.setdefault(file, file_state(file))
            return self._read(file)
        except OSError as error:
            if is_scarcity(error):
                raise trouble(error, file) from error
            raise

    def untouched(self, later: Facts) -> bool:
        """Return whether no file that was read later has been written since, be it with the same bytes in the end."""
        return all(self._states.get(file, state) == state for file, state in later._states.items())


def _code_of(action: Action) -> CodePlace | None:
    """Return where the project's own code of an action lies. Raises SourceError."""
    code = action.model.code if "code" in action.step.model_facts else None
    return find_code(code) if code else None


def _data(data: Data, fetched: bool, facts: Facts) -> dict[str, Any]:
    """Say how samples are read and what the files hold; where the files are fetched, their tree is an input."""
    from builder.data.dataset import class_names, split_files

    spec = to_plain(data)
    for name in ("name", "root", "wheel", "sha256", "license", "origin"):
        spec.pop(name)
    if fetched:
        return {"spec": spec}
    root = find_file(data.root)
    listing = split_files(_rooted(data, root), list(data.splits))
    files = {split: {_relative(file, root): _digest(file, facts) for file in found} for split, found in listing.items()}
    classes = {split: class_names(_rooted(data, root), split) for split in data.splits}
    return {"spec": spec, "files": files, "classes": classes}


def _rooted(data: Data, root: Path) -> Data:
    from dataclasses import replace

    return replace(data, root=str(root))


def _relative(file: Path, root: Path) -> str:
    if not file.is_relative_to(root):
        raise DataError(f"{file} lies outside the dataset's root {root}")
    name = file.relative_to(root).as_posix()
    if not name.isprintable() and name.encode(errors="replace").decode() != name:
        raise DataError(f"the name of the data file {name!a} is not UTF-8", "rename it")
    return name


def _digest(file: Path, facts: Facts) -> str:
    try:
        return facts.digest(file)
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error
