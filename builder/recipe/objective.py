"""A recipe's `objective:`: the figures that a sweeper makes better, each with its direction."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from builder.errors import RecipeError, did_you_mean
from builder.recipe.schema import Objective

__all__ = ["FIGURES", "Direction", "read_objectives"]


class Direction(StrEnum):
    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


# What a build tells of itself in one number, and which way is better.
FIGURES = {
    "accuracy": Direction.MAXIMIZE,  # the task's metric, of what is made
    "accuracy_drop": Direction.MINIMIZE,  # reference minus candidate
    "agreement": Direction.MAXIMIZE,  # share of samples with the reference's decision
    "latency_ms": Direction.MINIMIZE,  # median, on the target
    "latency_ratio": Direction.MINIMIZE,  # to the source model, on the target
    "memory_mib": Direction.MINIMIZE,
    "size_mib": Direction.MINIMIZE,
    "snr_db": Direction.MAXIMIZE,
}


def read_objectives(value: object) -> tuple[Objective, ...]:
    """Read `latency_ms`, `[latency_ms, accuracy]` or `{latency_ms: minimize, ...}`. Raises RecipeError."""
    if value is None:
        return ()
    if isinstance(value, Mapping):
        named = dict(value)
    else:
        named = dict.fromkeys(value if isinstance(value, list) else [value])
    if not named:
        raise RecipeError("objective: expected a figure, got none", did_you_mean("", FIGURES))
    return tuple(_objective(figure, direction) for figure, direction in named.items())


def _objective(figure: object, direction: object) -> Objective:
    if not isinstance(figure, str) or figure not in FIGURES:
        known = ", ".join(FIGURES)
        hint = did_you_mean(str(figure), FIGURES)
        raise RecipeError(f"objective: there is no figure '{figure}'; there is: {known}", "" if known in hint else hint)
    if direction is not None and direction not in [*Direction]:
        raise RecipeError(
            f"objective.{figure}: expected {' or '.join(Direction)}, got '{direction}'",
            did_you_mean(str(direction), Direction),
        )
    return Objective(figure, str(direction or FIGURES[figure]))
