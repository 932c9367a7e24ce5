"""Settings of the machine against what is to be built; `build` and `plan` refuse the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from builder.errors import UsageError, did_you_mean
from builder.plan.action import Action
from builder.recipe.schema import Recipe

__all__ = ["check_machine"]


def check_machine(recipes: Sequence[Recipe], graphs: Sequence[Sequence[Action]], *, complete: bool = True) -> None:
    """Raise UsageError where the builds of a sweep differ in such a setting, or `fresh` names no action of theirs.

    Also for a working directory whose name no document could hold. Where the jobs are not `complete`, since some could
    not be made, `fresh` may mean one of theirs.
    """
    try:
        str(Path.cwd()).encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the name of this folder is not UTF-8: {Path.cwd()!a}", "rename it") from error
    if any(recipe.machine != recipes[0].machine for recipe in recipes):
        raise UsageError("settings of the machine are the same for all builds of a sweep", "give them one value each")
    known = {name for actions in graphs for action in actions for name in (action.name, action.step.name)}
    for name in (recipes[0].machine.fresh or ()) if complete else ():
        if name not in known:
            raise UsageError(f"fresh: there is no action '{name}'", did_you_mean(name, known))
