"""Shows what a build would do."""

from __future__ import annotations

from collections.abc import Sequence

from builder.command.words import recipes_of
from builder.outcomes import ExitCode

__all__ = ["plan_asked"]


def plan_asked(words: Sequence[str]) -> int:
    """Print the plan of every job, and with --graph a drawing; return the exit code. Raises BuilderError."""
    from builder.recipe.compose import places
    from builder.report.plan_table import drawing, show_plans

    graph = [word for word in words if word.partition("=")[0] == "--graph"]
    draw = drawing(graph[-1].partition("=")[2]) if graph else None
    recipes, unmade, sweep = recipes_of([word for word in words if word not in graph])
    code = show_plans(recipes, places(len(recipes), unmade), sweep=sweep, draw=draw)
    return ExitCode.FAILED if unmade else code
