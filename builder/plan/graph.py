"""From a recipe to actions: which step takes the output of which, by ports and ranks.

The graph depends on the recipe alone, never on what this machine has or has built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from builder.errors import RecipeError, did_you_mean
from builder.plan.action import COMPILE, Action
from builder.plan.companions import OWN_NAMES, checked, evaluations, with_parser, with_tensors
from builder.plan.origin import locked_by, prepared, source
from builder.plan.ports import data_of, inputs_of
from builder.recipe.schema import Recipe, Use
from builder.registry import compiler_names, find_compiler, find_step
from builder.specs import Runtime, Target
from builder.step import Kind, Need, Step
from builder.toolchains.step import toolchain_step

__all__ = ["graph"]


def graph(recipe: Recipe) -> list[Action]:
    """Return the actions of a recipe, each after the ones it takes from.

    Raises RecipeError where an input has no source or more than one.
    """
    data, recipe = prepared(recipe)
    actions = [*source(recipe, data), *data] if recipe.model.format == "onnx" else [*data, *source(recipe, data)]
    own = [*actions]
    for name in (use.name for use in recipe.steps):
        if name in {*OWN_NAMES, *(action.name for action in own)}:
            raise RecipeError(f"steps: '{name}' is the name of an action of the recipe's own", "give it another name")
    for use in recipe.steps:
        actions += _actions(use, recipe, actions)
    steps = with_tensors(recipe, [*actions[len(own) :], *evaluations(actions)], actions)
    return _with_toolchains([*own, *(steps if _is_any_host(recipe.target) else checked(recipe, steps))])


def _with_toolchains(actions: list[Action]) -> list[Action]:
    """Return the actions with those that put their toolchains together, each before the first that needs it."""
    found: dict[str, Action] = {}
    for action in actions:
        if action.toolchain and action.toolchain not in found:
            name = action.toolchain
            tools = replace(action, name=name, step=toolchain_step, options=None, inputs={}, data=None)
            dispensable = all(user.optional for user in actions if user.toolchain == name)
            found[name] = replace(tools, on_host=False, there=False, optional=dispensable, after="")
        found[action.name] = action
    return list(found.values())


def _actions(use: Use, recipe: Recipe, before: list[Action]) -> list[Action]:
    """Return a step's action; a measurement for another machine is two: there (deferred), and here, by that name.

    What is made for a section of the page is taken here alone.
    """
    step = _chosen_step(use, recipe.target)
    _check_runtime(use, step, recipe.target)
    data = data_of(use, step, recipe)
    inputs = inputs_of(use, step, data, before)
    unsaid = use.toolchain == find_step(use.step).toolchain
    toolchain = _toolchain_of(step, inputs, before) if unsaid else use.toolchain
    action = Action(use.name, step, use.options, inputs, recipe.model, data, recipe.target, locked=locked_by(toolchain))
    if step.name == COMPILE and action.makes_engine:
        return with_parser(action)
    if step.need is not Need.HOST or _is_any_host(recipe.target):
        return [action]
    here = replace(action, name=f"{use.name}@host", on_host=True)
    if Kind.SECTION in step.outputs.values():  # what a device's program does not do
        return [here]
    there = replace(action, inputs={**inputs, **_engine(before)}, there=True)
    return [there, here]


def _chosen_step(use: Use, target: Target) -> Step:
    """Return what does the work of a step: for `compile`, the compiler of a runtime. Raises RecipeError."""
    step = find_step(use.step)
    if step.variant is None:
        return step
    runtime = step.variant(use.options, target)
    if runtime == Runtime.ONNXRUNTIME:
        raise RecipeError(
            f"steps.{use.name}: target '{target.name}' runs {runtime}, which takes the ONNX file as it is",
            f"leave the step out: '~steps.{use.name}'",
        )
    if runtime not in compiler_names():
        raise RecipeError(
            f"steps.{use.name}: nothing compiles for the runtime '{runtime}'", did_you_mean(runtime, compiler_names())
        )
    return find_compiler(runtime)


def _toolchain_of(step: Step, inputs: Mapping[str, tuple[str, str]], before: list[Action]) -> str:
    """Return what a step runs in where nothing else is said: the toolchain that loads what it takes, or its own."""
    loaders = {a.name: a.locked.toolchain.name for a in before if a.locked and Kind.OPENVINO in a.step.outputs.values()}
    return next((loaders[name] for name, _ in inputs.values() if name in loaders), step.toolchain)


def _is_any_host(target: Target) -> bool:
    anything = target.arch == "any" and not target.features and not target.hardware
    return target.runtime in (Runtime.ONNXRUNTIME, Runtime.OPENVINO) and anything


def _engine(before: list[Action]) -> dict[str, tuple[str, str]]:
    """On a target that runs engines, a measurement takes the engine, where the recipe makes one."""
    engines = [a for a in before if a.makes_engine]
    return {"model": (engines[0].name, "engine")} if engines else {}


def _check_runtime(use: Use, step: Step, target: Target) -> None:
    if step.runtimes and target.runtime not in step.runtimes:
        raise RecipeError(
            f"steps.{use.name}: target '{target.name}' runs {target.runtime}, not what {use.name} makes",
            f"leave the step out: '~steps.{use.name}'",
        )
