"""Which packages an action reaches on the host: those whose versions and files belong into its key there."""

from __future__ import annotations

from collections.abc import Iterable

from builder.plan.graph import Action
from builder.recipe.toolchains import find_toolchain
from builder.toolchains.spec import HOST

__all__ = ["packages_of"]


def packages_of(action: Action, imported: Iterable[str]) -> tuple[str, ...]:
    """Return the distributions that an action runs with on the host.

    They are its step's own and, for a step that has a toolchain of its own elsewhere, those that this toolchain asks
    for, and whatever holds the modules that a project's own code imports.
    """
    step = action.step
    if step.toolchain == HOST:
        return step.packages
    return tuple(sorted({*step.packages, *_asked(step.toolchain), *_holding(imported)}))


def _asked(toolchain: str) -> set[str]:
    from packaging.requirements import Requirement

    return {Requirement(text).name for text in find_toolchain(toolchain).packages}


def _holding(modules: Iterable[str]) -> set[str]:
    """Return the distributions that hold these top-level modules."""
    tops = {name.partition(".")[0] for name in modules}
    if not tops:
        return set()
    from importlib.metadata import packages_distributions

    return {name for top, names in packages_distributions().items() if top in tops for name in names}
