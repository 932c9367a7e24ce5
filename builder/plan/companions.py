"""The actions that come along with a recipe's steps: checks before them, and what a device or a runtime is given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from builder.compilers.options import ParserCheck
from builder.plan.action import COMPILE, SOURCE, Action
from builder.plan.asked import asked_of
from builder.plan.origin import locked_by
from builder.plan.ports import data_of, inputs_of
from builder.recipe.schema import Recipe, Use
from builder.sources import tensors
from builder.sources.parser import parser_check
from builder.sources.step import weights_source
from builder.specs import Model
from builder.step import Kind
from builder.targets.step import CHECK, target_check
from builder.typed import to_plain

__all__ = ["OWN_NAMES", "checked", "evaluations", "with_parser", "with_tensors"]

_TIMING_CACHE = "timing_cache"
OWN_NAMES = (CHECK, parser_check.name, tensors.tensors.name, _TIMING_CACHE)  # no step of a recipe may be called so


def checked(recipe: Recipe, steps: list[Action]) -> list[Action]:
    """Return the steps after the check of the model against the target: none starts before it has succeeded."""
    asked = asked_of(steps)
    check = Action(CHECK, target_check, asked, {"model": (SOURCE, "model")}, recipe.model, None, recipe.target)
    return [check, *(replace(action, after=CHECK) for action in steps)]


def with_parser(action: Action) -> list[Action]:
    """Return what is compiled for TensorRT with the parser's verdict before it, and the timing cache it begins with."""
    options, suffix = action.options, "" if action.name == COMPILE else f"@{action.name}"
    before: list[Action] = []
    if options.parser is not ParserCheck.NEVER:
        ports = {"model": action.inputs["model"]}
        dispensable, tools = options.parser is ParserCheck.AUTO, locked_by(parser_check.toolchain)
        asked = replace(action, name=f"{parser_check.name}{suffix}", step=parser_check, options=None, inputs=ports)
        before.append(replace(asked, locked=tools, optional=dispensable))
    if options.timing_cache and _TIMING_CACHE in action.step.inputs:
        file = Model(_TIMING_CACHE, path=options.timing_cache)
        before.append(Action(f"{_TIMING_CACHE}{suffix}", weights_source, None, {}, file, None, action.target))
        action = replace(action, inputs={**action.inputs, _TIMING_CACHE: (before[-1].name, "weights")})
    return [*before, action]


def evaluations(actions: list[Action]) -> list[Action]:
    """Return each evaluation of a model that is compiled once more, with what is made of it, on its own runtime."""
    return [
        _evaluation(action, compiled)
        for compiled in actions
        if compiled.step.name == COMPILE
        for action in actions
        if Kind.EVALUATION in action.step.outputs.values()
        and action.inputs["model"] == compiled.inputs["model"]
        and set(compiled.step.outputs.values()) & {*action.step.kinds("model")}
    ]


def _evaluation(action: Action, compiled: Action) -> Action:
    port, kind = next(iter(compiled.step.outputs.items()))
    runtime = compiled.step.run.__module__.rpartition(".")[2]
    return replace(
        action,
        name=f"{action.name}@{runtime if compiled.name == COMPILE else compiled.name}",
        inputs={**action.inputs, "model": (compiled.name, port)},
        locked=compiled.locked,
        there=kind is Kind.ENGINE,
    )


def with_tensors(recipe: Recipe, steps: list[Action], before: list[Action]) -> list[Action]:
    """Return the steps, and what writes the inputs and outputs that a device is given, before what is run there.

    The first is what the engine is checked with and timed on; what asks for others gets its own.
    """
    theirs = [action for action in steps if action.needs_target]
    if not theirs:
        return steps
    compiled = next((action for action in steps if action.makes_engine), None)
    found = [_tensors(recipe, tensors.tensors.name, _first_evaluation(before), compiled, before)]
    given = []
    for action in steps:
        if not action.there or "tensors" not in action.step.inputs:
            given.append(action)
            continue
        engine = next((each for each in steps if each.name == action.inputs["model"][0]), None)
        if Kind.EVALUATION in action.step.outputs.values():
            own = _tensors(recipe, _name(action, found), action.options, engine, before)
        else:
            own = replace(found[0], name=_name(action, found), options=_timed_on(found[0], action, engine))
        wanted = next((each for each in found if _same(each, own)), own)
        found += [wanted] if wanted is own else []
        given.append(replace(action, inputs={**action.inputs, "tensors": (wanted.name, "tensors")}))
    first = next((index for index, action in enumerate(given) if "tensors" in action.inputs), len(given))
    return [*given[:first], *found, *given[first:]]


def _first_evaluation(before: list[Action]) -> Any:
    """Return the options of the first evaluation, or None."""
    return next((a.options for a in before if Kind.EVALUATION in a.step.outputs.values()), None)


def _tensors(recipe: Recipe, name: str, evaluated: Any, compiled: Action | None, before: list[Action]) -> Action:
    """Return what writes the samples of an evaluation, given its options, in the shape that an engine takes."""
    step, limit = tensors.tensors, tensors.SAMPLES
    options = tensors.Options(
        split=evaluated.split if evaluated else tensors.Options.split,
        samples=min((evaluated and evaluated.samples) or limit, limit),
        profiles=to_plain(getattr(compiled and compiled.options, "profiles", {})),
    )
    asked = Use(name, step.name, options, {"model": compiled.inputs["model"][0]} if compiled else {})
    data = data_of(asked, step, recipe) if recipe.data else None
    return Action(name, step, options, inputs_of(asked, step, data, before), recipe.model, data, recipe.target)


def _timed_on(first: Action, action: Action, engine: Action | None) -> Any:
    """Return the options of what writes a call of the batch and the seed that a measurement asks for.

    An engine has the batch of its profile.
    """
    batch = tensors.Options.batch if engine is not None and engine.makes_engine else action.options.batch
    samples = first.options.samples if batch == 1 else batch
    return replace(first.options, batch=batch, seed=action.options.seed, samples=samples)


def _name(action: Action, found: list[Action]) -> str:
    short = f"tensors@{action.name.partition('@')[0]}"
    return short if short not in {each.name for each in found} else f"tensors@{action.name}"


def _same(one: Action, other: Action) -> bool:
    return (one.options, one.inputs) == (other.options, other.inputs)
