"""Which steps there are: the files of `builder/steps/`, and what installed packages offer as `builder.steps`."""

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

__all__ = ["find_step", "is_step", "step_names"]

_FOLDER = Path(__file__).parent / "steps"


def is_step(name: str) -> bool:
    """Return whether somebody registered a step of this name; nothing is imported."""
    return _module(name) is not None


def step_names() -> list[str]:
    """Return every step there is."""
    return sorted({*_installed(), *(file.stem for file in _FOLDER.glob("[a-z]*.py"))})


@cache
def find_step(name: str) -> Step:
    """Import the module of a step and return it. Raises RecipeError for a name that nobody registered."""
    found = _module(name)
    if found is None:
        raise RecipeError(f"there is no step '{name}'", did_you_mean(name, step_names()))
    try:
        with _bytecode_unread() if not found.startswith("builder.") else contextlib.nullcontext():
            module = importlib.import_module(found)
    except Exception as error:  # somebody else's package: anything can happen
        raise RecipeError(f"the step '{name}' cannot be imported from {found}: {error}", "mend or remove it") from error
    step = next((value for value in vars(module).values() if isinstance(value, Step) and value.name == name), None)
    if step is None:
        raise RecipeError(
            f"the module {found} holds no step '{name}'", "a step has the name of its file and entry point"
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
def _module(name: str) -> str | None:
    """Return the module of a step: ours first, so that the common case never looks at what is installed."""
    if name.isidentifier() and not name.startswith("_") and (_FOLDER / f"{name}.py").is_file():
        return f"builder.steps.{name}"
    return _installed().get(name)


@cache
def _installed() -> dict[str, str]:
    from importlib.metadata import entry_points

    found: dict[str, str] = {}
    for point in entry_points(group="builder.steps"):
        with contextlib.suppress(AttributeError, TypeError, ValueError):  # an entry that nobody could load
            if point.name.isidentifier():
                found[point.name] = point.module
    return found
