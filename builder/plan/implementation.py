"""What code an action runs: the source of its step's module and of every module of ours that it reaches by import.

Computed, not declared, from the syntax tree, so that an edit two imports away re-runs exactly what depends on it. Our
modules are this package, for a step of an installed package that package, and whatever lies where no installer put it.
Imports by a computed name are not seen here: the worker refuses them.
"""

from __future__ import annotations

import ast
import platform
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

from builder.digest import digest_bytes
from builder.errors import RecipeError
from builder.modules import code_file, find_below, find_top, is_installed
from builder.store.statcache import StatCache

__all__ = ["Code", "implementation"]

_NOTE = f"imports.v2 {platform.python_version()}"  # what one Python can read, another one may not
_known: dict[str, list[str]] = {}  # module, kind and digest -> what it imports


def implementation(modules: Iterable[str], stats: StatCache) -> dict[str, str]:
    """Return module -> SHA-256 of its source, for some modules and all of ours that they reach."""
    return Code(stats).reached(modules)


class Code:
    """The source of modules, each as it was when it was first asked for: all keys of a build speak of the same code."""

    def __init__(self, stats: StatCache, folder: Path | None = None) -> None:
        self._stats = stats
        self._first = [str(folder)] if folder else []  # a project's own, where modules are looked for first
        self._specs: dict[str, ModuleSpec | None] = {}
        self._digests: dict[str, str] = {}
        self._installed: dict[str, bool] = {}  # of modules that lie in no package

    def reached(self, modules: Iterable[str]) -> dict[str, str]:
        """Return module -> SHA-256 of its source, for some modules and all of ours that they reach.

        Raises RecipeError where one of the modules has no file: an edit of it would go unnoticed.
        """
        asked = list(modules)
        waiting = [prefix for name in asked for prefix in _prefixes(name)]
        ours = {name.partition(".")[0] for name in asked}
        for name in asked:
            if self._file(name) is None:
                raise RecipeError(
                    f"the code of {name} lies in no file, so it cannot be in a key", "install it as files"
                )
        found: dict[str, str] = {}
        while waiting:
            name = waiting.pop()
            file = self._file(name)
            if name in found or file is None:
                continue
            found[name] = self._digest(name, file)
            waiting += [inner for inner in self._imports(name, file) if self._is_ours(inner, ours)]
        return found

    def imported(self, modules: Iterable[str]) -> set[str]:
        """Return every top-level module that some modules, and all of ours that they reach, import; not their own."""
        asked = list(modules)
        files = {name: self._file(name) for name in self.reached(asked)}
        found = {inner for name, file in files.items() if file for inner in self._imports(name, file)}
        return {name.partition(".")[0] for name in found} - {name.partition(".")[0] for name in (__name__, *asked)}

    def _digest(self, name: str, file: Path) -> str:
        if name not in self._digests:
            self._digests[name] = self._stats.digest(file)
        return self._digests[name]

    def _is_ours(self, name: str, ours: set[str]) -> bool:
        top = name.partition(".")[0]
        if top not in ours and top not in self._installed:
            spec = self._find(top)
            self._installed[top] = spec is None or is_installed(spec)
        return top in ours or not self._installed[top]

    def _imports(self, name: str, file: Path) -> list[str]:
        """Return the modules that a file imports anywhere in it, with the packages that this runs."""
        kind, note = _NOTE, f"{name} {file.name} {self._digests[name]}"
        if note not in _known:
            found = self._stats.note(kind, note)
            if found is None:
                source = file.read_bytes() if file.suffix == ".py" else b""
                found = _parse(source, name if file.name == "__init__.py" else name.rpartition(".")[0])
                if digest_bytes(source) != self._digests[name]:
                    return found  # edited a moment ago
                self._stats.remember(kind, {note: found})
            _known[note] = found
        return _known[note]

    def _file(self, name: str) -> Path | None:
        spec = self._find(name)
        return code_file(spec) if spec else None

    def _find(self, name: str) -> ModuleSpec | None:
        if name not in self._specs:
            package = name.rpartition(".")[0]
            parent = self._find(package) if package else None
            below = parent.submodule_search_locations if parent else None
            if package:
                self._specs[name] = find_below(name, below) if below else None
            else:
                self._specs[name] = find_below(name, self._first) or find_top(name)
        return self._specs[name]


def _parse(source: bytes, package: str) -> list[str]:
    """Return what a module of a package imports; nothing for what Python cannot read, which cannot be imported."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    names: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return sorted({prefix for name in names for prefix in _prefixes(name)})


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every statement, however deep; expressions hold no imports, and most of a tree is expressions."""
    waiting = [tree]
    while waiting:
        for inner in ast.iter_child_nodes(waiting.pop()):
            if isinstance(inner, ast.stmt | ast.excepthandler | ast.match_case):
                yield inner
                waiting.append(inner)


def _base(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parents, *([node.module] if node.module else [])])


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
