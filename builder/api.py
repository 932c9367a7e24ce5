"""What a program calls: `build([compose(["recipe=jetson_int8"])])`.

These names are stable. The package itself imports nothing, since a step's implementation digest reaches it.
"""

from __future__ import annotations

from builder.build import Build, build
from builder.errors import BuilderError
from builder.outcomes import ExitCode, GateStatus, Status
from builder.plan.report import Planned, plan
from builder.recipe.compose import compose, compose_sweep
from builder.recipe.schema import Recipe

__all__ = [
    "Build",
    "BuilderError",
    "ExitCode",
    "GateStatus",
    "Planned",
    "Recipe",
    "Status",
    "build",
    "compose",
    "compose_sweep",
    "plan",
]
