"""`list`: what there is to choose from."""

from __future__ import annotations

from builder.errors import UsageError, did_you_mean
from builder.outcomes import ExitCode
from builder.recipe.compose import group_options
from builder.registry import find_step

__all__ = ["show_list"]

_GROUPS = {"recipes": "recipe", "models": "model", "data": "data", "targets": "target", "steps": "steps"}


def show_list(arguments: list[str]) -> int:
    """Print recipes, models, data, targets and steps, or only the ones asked for."""
    for word in arguments:
        if word not in _GROUPS:
            raise UsageError(f"list: there is no kind '{word}'", did_you_mean(word, _GROUPS))
    for title in arguments or _GROUPS:
        print(title)
        for name in group_options(_GROUPS[title]):
            summary = find_step(name).summary if title == "steps" else ""
            print(f"  {name:24} {summary}".rstrip())
    return ExitCode.OK
