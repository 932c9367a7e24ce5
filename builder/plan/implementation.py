"""What code an action runs: the source of its step's module and of every module of ours that it reaches by import.

Computed, not declared, from the syntax tree, so that an edit two imports away re-runs exactly what depends on it. Our
modules are this package and, for a step of an installed package, that package. Imports by a computed name are not seen.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from builder.store.statcache import StatCache

__all__ = ["implementation"]


def implementation(modules: Iterable[str], stats: StatCache) -> dict[str, str]:
    """Return module -> SHA-256 of its source, for some modules and all of ours that they reach."""
    waiting = list(modules)
    ours = {module.partition(".")[0] for module in waiting}
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        file = _source(name)
        if name in found or file is None:
            continue
        found[name] = stats.digest(file)
        reached = _imports(file, name, found[name], stats)
        waiting += [inner for inner in reached if inner.partition(".")[0] in ours]
    return found


def _imports(file: Path, module: str, digest: str, stats: StatCache) -> list[str]:
    """Return the modules that a file imports anywhere in it, with the packages that this runs."""
    kind = "imports.v1"
    known = stats.note(kind, f"{module} {digest}")
    if known is None:
        known = sorted(_parse(file, module))
        stats.remember(kind, {f"{module} {digest}": known})
    return list(known)


def _parse(file: Path, module: str) -> set[str]:
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return {prefix for name in names for prefix in _prefixes(name)}


def _base(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parents, *([node.module] if node.module else [])])


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


@cache
def _source(module: str) -> Path | None:
    """Return the file of a module, without importing it; None for a name that is no module."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.origin:
        return None
    path = Path(spec.origin)
    for part in rest:
        folder = path.parent if path.name == "__init__.py" else None
        if folder is None:
            return None
        inside = folder / part / "__init__.py"
        path = inside if inside.is_file() else folder / f"{part}.py"
        if not path.is_file():
            return None
    return path if path.suffix == ".py" else None
