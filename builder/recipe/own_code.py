"""A project's own code, `model.code: FILE.py:NAME`, looked at before anything runs: it is parsed, never imported."""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from builder.errors import RecipeError, did_you_mean
from builder.recipe.locations import find_file
from builder.recipe.toolchains import find_toolchain
from builder.toolchains.spec import HOST

__all__ = ["check_code"]

# What can give a module names that its own statements do not show.
_OPEN = {"*", "__getattr__"}
_WRITERS = {"exec", "globals", "locals", "vars", "sys.modules"}


def check_code(code: str, toolchain: str) -> None:
    """Check `FILE.py:NAME`, which is to run in a toolchain.

    Raises RecipeError for a file that is not there or is no Python, and for a name that its module does not have.
    """
    path, _, name = code.rpartition(":")
    file = find_file(path)
    if not file.is_file():
        beside = [Path(path).with_name(each.name).as_posix() for each in file.parent.glob("*.py")]
        hint = did_you_mean(Path(path).as_posix(), beside) if beside else f"looked at {file}"
        raise RecipeError(f"model.code: there is no file {path}", hint)
    if not file.stem.isidentifier():
        raise RecipeError(f"model.code: {path} cannot be imported", "name it as Python names modules: mymodel.py")
    tree = _parsed(file, path, toolchain)
    if tree is None:
        return
    names = {*_bound(tree.body), *_global_names(tree)}
    if name not in names and not names & _OPEN and not _writes_names(tree):
        public = [each for each in names if not each.startswith("_")]
        raise RecipeError(f"model.code: {path} holds no '{name}'", did_you_mean(name, public))


def _parsed(file: Path, path: str, toolchain: str) -> ast.Module | None:
    """Return the syntax tree, or None where another Python may know better. Raises RecipeError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(file.read_bytes())
    except OSError as error:
        raise RecipeError(f"model.code: cannot read {path}: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        if toolchain != HOST and int(find_toolchain(toolchain).python.removeprefix("3.")) > sys.version_info.minor:
            return None
        place = f"{path}:{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else path
        words = error.msg if isinstance(error, SyntaxError) else str(error)
        raise RecipeError(f"model.code: {place} is no Python: {words}", "mend it: nothing was run") from error
    except (MemoryError, RecursionError):  # too deep for the parser here
        return None


def _writes_names(tree: ast.Module) -> bool:
    """Return whether the module may bind names otherwise than by statements."""
    words = (ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute))
    return not _WRITERS.isdisjoint(words)


def _bound(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the names that statements of a module bind, in whatever block they stand; not those of functions."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                yield node.id
        else:
            yield from _bound(ast.iter_child_nodes(node))


def _global_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield from node.names
