"""Which steps there are: the files of `builder/steps/`, and what installed packages offer as `builder.steps`."""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from builder.errors import RecipeError, did_you_mean
from builder.step import Step

__all__ = ["find_step", "step_modules"]

_FOLDER = Path(__file__).parent / "steps"


@cache
def step_modules() -> dict[str, str]:
    """Return step name -> module, ours first; nothing is imported."""
    ours = {f.stem: f"builder.steps.{f.stem}" for f in sorted(_FOLDER.glob("[a-z]*.py"))}
    installed = {point.name: point.module for point in entry_points(group="builder.steps")}
    return {**installed, **ours}


@cache
def find_step(name: str) -> Step:
    """Import the module of a step and return it. Raises RecipeError for a name that nobody registered."""
    modules = step_modules()
    if name not in modules:
        raise RecipeError(f"there is no step '{name}'", did_you_mean(name, modules))
    module = importlib.import_module(modules[name])
    return next(value for value in vars(module).values() if isinstance(value, Step) and value.name == name)
