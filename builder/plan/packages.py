"""Which packages an action reaches on the host: those whose versions and files belong into its key there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from builder.plan.action import Action
from builder.recipe.toolchains import find_toolchain
from builder.toolchains.spec import HOST

__all__ = ["packages_of"]


def packages_of(action: Action, imported: Iterable[str]) -> tuple[str, ...]:
    """Return the distributions that an action runs with on the host.

    They are its step's own, whatever holds the modules that it imports, and, for a step that has a toolchain of its
    own elsewhere, those that this toolchain asks for: here another one may hold the same module.
    """
    step = action.step
    return tuple(sorted({*step.packages, *_asked(step.toolchain), *_holding(imported)}))


def _asked(toolchain: str) -> set[str]:
    if toolchain == HOST:
        return set()
    from packaging.requirements import Requirement

    return {Requirement(text).name for text in find_toolchain(toolchain).packages}


def _holding(modules: Iterable[str]) -> set[str]:
    """Return the distributions that hold these top-level modules."""
    return {name for module in modules for name in _distributions().get(module, ())}


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Return top-level module -> the distributions that hold it. All that are installed are read: it takes a while."""
    from importlib.metadata import packages_distributions

    return packages_distributions()
