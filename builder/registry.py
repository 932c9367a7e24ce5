"""Which steps, formats and compilers there are: files of the folders of those names, and what packages offer.

An installed package offers them as entry points of the groups `builder.steps`, `builder.formats`, `builder.compilers`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from builder.errors import RecipeError, did_you_mean
from builder.step import Step

__all__ = [
    "compiler_names",
    "find_compiler",
    "find_format",
    "find_step",
    "format_names",
    "is_format",
    "is_step",
    "step_names",
]

_PACKAGE = Path(__file__).parent
_STEPS, _FORMATS, _COMPILERS = "steps", "formats", "compilers"
_WORDS = {_STEPS: "step", _FORMATS: "format", _COMPILERS: "compiler"}
_NO_COMPILERS = ("options",)


def is_step(name: str) -> bool:
    """Return whether somebody registered a step of this name; nothing is imported."""
    return _module(name, _STEPS) is not None


def is_format(name: str) -> bool:
    """Return whether somebody registered what exports models of this format; nothing is imported."""
    return _module(name, _FORMATS) is not None


def step_names() -> list[str]:
    """Return every step there is."""
    return _names(_STEPS)


def format_names() -> list[str]:
    """Return every format of models that can be exported."""
    return _names(_FORMATS)


def compiler_names() -> list[str]:
    """Return every runtime that models can be compiled for."""
    return [name for name in _names(_COMPILERS) if name not in _NO_COMPILERS]


def find_compiler(runtime: str) -> Step:
    """Import what compiles models for a runtime. Raises RecipeError for one that nobody registered."""
    return _find(runtime, _COMPILERS, "compile")


def find_step(name: str) -> Step:
    """Import the module of a step and return it. Raises RecipeError for a name that nobody registered."""
    return _find(name, _STEPS)


def find_format(name: str) -> Step:
    """Import what exports models of a format and return it. Raises RecipeError for a name that nobody registered."""
    return _find(name, _FORMATS)


def _names(group: str) -> list[str]:
    return sorted({*_installed(group), *(file.stem for file in (_PACKAGE / group).glob("[a-z]*.py"))})


@cache
def _find(name: str, group: str, called: str = "") -> Step:
    found, word = _module(name, group), _WORDS[group]
    if found is None:
        raise RecipeError(f"there is no {word} '{name}'", did_you_mean(name, _names(group)))
    try:
        with _bytecode_unread() if not found.startswith("builder.") else contextlib.nullcontext():
            module = importlib.import_module(found)
    except Exception as error:  # somebody else's package: anything can happen
        raise RecipeError(
            f"the {word} '{name}' cannot be imported from {found}: {error}", "mend or remove it"
        ) from error
    steps = [value for value in vars(module).values() if isinstance(value, Step)]
    step = next((step for step in steps if step.name == (called or name)), None)
    if step is None:
        raise RecipeError(
            f"the module {found} holds no {word} '{name}'", f"a {word} has the name of its file and entry point"
        )
    return step


@contextlib.contextmanager
def _bytecode_unread() -> Iterator[None]:
    """Import from source: a bytecode file is taken for current where size and second agree, and its options are not."""
    before = sys.pycache_prefix
    sys.pycache_prefix = os.devnull
    try:
        yield
    finally:
        sys.pycache_prefix = before


@cache
def _module(name: str, group: str) -> str | None:
    """Return the module of a step: ours first, so that the common case never looks at what is installed."""
    if name.isidentifier() and not name.startswith("_") and (_PACKAGE / group / f"{name}.py").is_file():
        return f"builder.{group}.{name}"
    return _installed(group).get(name)


@cache
def _installed(group: str) -> dict[str, str]:
    from importlib.metadata import entry_points

    found: dict[str, str] = {}
    for point in entry_points(group=f"builder.{group}"):
        with contextlib.suppress(AttributeError, TypeError, ValueError):  # an entry that nobody could load
            if point.name.isidentifier():
                found[point.name] = point.module
    return found
