"""What the check of a model against its target must know of a recipe's steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from builder.targets.facts import Asked
from builder.typed import to_plain

if TYPE_CHECKING:
    from builder.plan.action import Action

__all__ = ["asked_of", "runtime_of"]


def asked_of(actions: Sequence[Action]) -> Asked:
    """Return what the check of the model must know of the recipe's steps."""
    compiles = [action for action in actions if action.step.name == "compile"]
    compiled = compiles[0] if compiles else None
    options = compiled.options if compiled else None
    steps = {action.step.name for action in actions}
    return Asked(
        runtime=runtime_of(compiled) if compiled else "",
        folds="simplify" in steps,
        quantizes="quantize" in steps,
        profiles={action.name: to_plain(action.options.profiles) for action in compiles},
        dla_core=getattr(options, "dla_core", None),
        allow_gpu_fallback=bool(getattr(options, "allow_gpu_fallback", False)),
    )


def runtime_of(compiled: Action) -> str:
    """Return the runtime that a `compile` is for."""
    return str(compiled.options.runtime or compiled.target.runtime)
