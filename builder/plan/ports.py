"""What a step takes: which action's output goes to which of its ports, and which parts of the data it reads."""

from __future__ import annotations

from dataclasses import replace

from builder.errors import RecipeError, did_you_mean
from builder.plan.action import SOURCE, Action
from builder.plan.origin import made_data
from builder.recipe.schema import Recipe, Use
from builder.specs import Data
from builder.step import Kind, Step

__all__ = ["data_of", "inputs_of"]


def inputs_of(use: Use, step: Step, data: Data | None, before: list[Action]) -> dict[str, tuple[str, str]]:
    """Return port -> (action, port) of all that a step takes. Raises RecipeError where one has no source, or two."""
    ports = {port: _input(use, step, port, before) for port in step.inputs}
    return {port: source for port, source in ports.items() if source is not None} | made_data(data, before)


def _input(use: Use, step: Step, port: str, before: list[Action]) -> tuple[str, str] | None:
    """Return the action and port that an input comes from; None for an optional one that nothing makes."""
    kinds = step.kinds(port)
    if port in use.inputs:
        return _chosen(use, port, kinds, before)
    if port in step.from_source:
        return SOURCE, "model"
    sources = [a for a in before if set(kinds) & {*a.step.outputs.values()} and a.step.rank < step.rank]
    highest = [a for a in sources if a.step.rank == max(a.step.rank for a in sources)]
    if not highest and port in step.optional:
        return None
    if len(highest) != 1:
        raise _ambiguous(use, port, [a.name for a in highest])
    return highest[0].name, _port_of(highest[0], kinds)


def _chosen(use: Use, port: str, kinds: tuple[Kind, ...], before: list[Action]) -> tuple[str, str]:
    name = use.inputs[port]
    found = next((a for a in before if a.name == name), None)
    if found is None or found.name == use.name:
        raise RecipeError(f"steps.{use.name}.inputs.{port}: '{name}' comes after '{use.name}'", "take an earlier one")
    if not set(kinds) & {*found.step.outputs.values()}:
        words = " or ".join(kind.value for kind in kinds)
        raise RecipeError(f"steps.{use.name}.inputs.{port}: '{name}' makes no {words}")
    return found.name, _port_of(found, kinds)


def _port_of(action: Action, kinds: tuple[Kind, ...]) -> str:
    return next(port for port, made in action.step.outputs.items() if made in kinds)


def _ambiguous(use: Use, port: str, names: list[str]) -> RecipeError:
    first, second = names[:2]
    return RecipeError(
        f"steps.{use.name}: both '{first}' and '{second}' could be its {port}",
        f"write steps.{use.name}.inputs: {{{port}: {second}}}",
    )


def data_of(use: Use, step: Step, recipe: Recipe) -> Data | None:
    wanted = step.splits(use.options)
    if not wanted:
        return None
    if recipe.data is None:
        raise RecipeError(f"steps.{use.name} needs data, and the recipe has none", "write '- override /data: NAME'")
    there = recipe.data.splits
    for name in wanted:
        if name not in there and not name.endswith("?"):
            raise RecipeError(
                f"steps.{use.name} needs the split '{name}', which data '{recipe.data.name}' does not have",
                did_you_mean(name, there),
            )
    return replace(recipe.data, splits={name: there[name] for name in there if name in wanted or f"{name}?" in wanted})
