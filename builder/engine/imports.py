"""The code that a worker runs is the code in the key: modules are compiled from the very bytes that it names.

Python's bytecode files are not read for them: it takes those for current where the source has the same size and the
same time in seconds. A module that the key lacks cannot be imported, be it that an earlier action has loaded it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from builder.digest import digest_bytes, digest_file
from builder.errors import StepError
from builder.modules import code_file, is_installed

__all__ = ["Imports", "UndeclaredError"]

_THIS = __name__.partition(".")[0]
_WORKER = f"{__package__}.worker"  # is running as __main__


class UndeclaredError(StepError):
    """A step touched what its key does not hold. Its worker may remember it, and is not used again."""


class Imports(MetaPathFinder):
    """Finds modules before Python does. Until `admit` is called, it only keeps account of those of this package."""

    def __init__(self) -> None:
        self.files: set[str] = set()  # of modules that are in the key
        self.refused: list[UndeclaredError] = []
        self._project = ""
        self._tops = {_THIS}  # whose modules must all be in the key
        self._admitted: Mapping[str, str] | None = None
        self._digests: dict[str, str] = {}  # of every module that was loaded here
        self._modules: dict[str, ModuleType] = {}
        self._places: Mapping[str, str] = {}
        self._tools: tuple[str, ...] = ()  # folders of installed packages, which may lie in the project's own store

    def install(self) -> None:
        """Go first, and take account of what was loaded so far, which must have been from source."""
        for name, module in [*sys.modules.items(), (_WORKER, sys.modules["__main__"])]:
            if name.partition(".")[0] == _THIS and module.__file__:
                self._digests[name] = digest_file(Path(module.__file__))
        self._tools = tuple(f"{place}/" for place in sys.path if any(Path(place).glob("*.dist-info")))
        sys.meta_path.insert(0, self)

    def admit(
        self, modules: Mapping[str, str] | None, top: str, project: str, places: Mapping[str, str] | None = None
    ) -> None:
        """Let these modules of `top`, of this package and of the project be imported (name -> SHA-256), and no others.

        None lets all be. `places` says where top-level modules of a project's own code lie: another action may have
        others of the same name, so they are loaded anew for each. Raises UndeclaredError where another version of
        a module was loaded by an earlier action.
        """
        self._forget_places()
        self._places = places or {}
        self._project, self._tops = f"{project}/", {_THIS, top, *self._places}
        self._admitted = modules
        self.refused.clear()
        self._modules.update({name: sys.modules[name] for name in self._digests if name in sys.modules})
        for name, module in self._modules.items():
            if modules is None or name in modules:
                _show(name, module)
            else:
                _hide(name)
        for name in modules or ():
            if name in self._digests:
                self._note(name, self._digests[name])
            else:
                _hide(name)  # it was loaded as somebody else's tool, unseen
        loaded = [*self._modules.values(), sys.modules["__main__"]]  # PyTorch reads the source of all its callers
        self.files = {file for module in loaded if (file := module.__file__)}

    def _forget_places(self) -> None:
        for name in [name for name in self._digests if name.partition(".")[0] in self._places]:
            _hide(name)
            del self._digests[name]
            self._modules.pop(name, None)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module, and have it loaded from the bytes that the key names, if it must be in the key."""
        top = fullname.partition(".")[0]
        if path is not None and top not in self._tops:
            return None
        if path is None and top in self._places:
            spec = PathFinder.find_spec(fullname, [self._places[top]], target)
        else:
            others = (each for each in sys.meta_path if each is not self)
            spec = next((spec for each in others if (spec := each.find_spec(fullname, path, target))), None)
        file = code_file(spec) if spec else None
        if spec is None or file is None:
            return spec
        ours = str(file).startswith(self._project) and not str(file).startswith(self._tools)
        if path is None and ours and not is_installed(spec):
            self._tops.add(top)
        if top in self._tops:
            self._take(fullname, file, spec)
        return spec

    def _take(self, name: str, file: Path, spec: ModuleSpec) -> None:
        if self._admitted is not None and name not in self._admitted:
            self._refuse(
                f"{name} is loaded by a computed name, so its code is not in the key",
                "write the import as a statement; it may stand in the function that needs it",
            )
        self.files.add(str(file))
        if isinstance(spec.loader, SourceFileLoader):
            spec.loader = _FromSource(name, str(file), self._note)
        else:
            self._note(name, digest_file(file))

    def _note(self, name: str, digest: str) -> None:
        """Remember what a module was loaded from, which must be what the key says."""
        if self._admitted is not None and self._admitted.get(name, digest) != digest:
            self._refuse(f"{name} was changed while it was built", "build again")
        self._digests[name] = digest

    def _refuse(self, message: str, hint: str) -> None:
        self.refused.append(UndeclaredError(message, hint))
        raise self.refused[-1]


class _FromSource(SourceFileLoader):
    def __init__(self, fullname: str, path: str, note: Callable[[str, str], None]) -> None:
        super().__init__(fullname, path)
        self._note = note

    def get_code(self, fullname: str) -> CodeType:
        """Return the module compiled from its source, never from a bytecode file."""
        source = self.get_data(self.path)
        self._note(fullname, digest_bytes(source))
        code: CodeType = self.source_to_code(source, self.path)
        return code


def _show(name: str, module: ModuleType) -> None:
    sys.modules[name] = module
    package, _, child = name.rpartition(".")
    if package in sys.modules:
        setattr(sys.modules[package], child, module)


def _hide(name: str) -> None:
    """Let a module be as if it had never been loaded."""
    module = sys.modules.pop(name, None)
    package, _, child = name.rpartition(".")
    if module is not None and vars(sys.modules.get(package, module)).get(child) is module:
        delattr(sys.modules[package], child)
