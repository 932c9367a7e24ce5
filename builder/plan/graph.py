"""From a recipe to actions: which step takes the output of which, by ports and ranks.

The graph depends on the recipe alone, never on what this machine has or has built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from builder.errors import RecipeError, did_you_mean
from builder.outcomes import Reproducible
from builder.recipe.schema import Recipe, Use
from builder.recipe.toolchains import find_locked
from builder.registry import find_format, find_step
from builder.sources.conversion import conversion_check
from builder.sources.step import data_source, model_source, weights_source
from builder.sources.tokens import check_tokenizer, token_options, tokenized, tokenizer_file, tokens
from builder.specs import Data, Model, Target
from builder.step import Kind, Need, Step
from builder.toolchains.spec import HOST, Locked
from builder.toolchains.step import toolchain_step

__all__ = ["Action", "graph"]

SOURCE = "model"  # the action that brings the recipe's model; `inputs: {reference: model}` names it


@dataclass(frozen=True)
class Action:
    """A step with everything that a recipe gives it; `inputs` maps ports to (action, port)."""

    name: str
    step: Step
    options: Any
    inputs: Mapping[str, tuple[str, str]]
    model: Model
    data: Data | None
    target: Target
    on_host: bool = False  # measured here although the recipe's target is another machine
    locked: Locked | None = None  # the toolchain it runs in, or puts together; None: the host's

    @property
    def reproducible(self) -> Reproducible:
        """Return how far the bytes can be had again, with these options."""
        stated = self.step.reproducible
        return stated if isinstance(stated, Reproducible) else stated(self.options)

    @property
    def lazy(self) -> bool:
        """Whether it runs only when another action that will run needs it."""
        return self.step is toolchain_step

    @property
    def toolchain(self) -> str:
        """Return the name of the action that must have run before this one can run; '' for the host's toolchain."""
        return self.locked.action if self.locked and not self.lazy else ""


def graph(recipe: Recipe) -> list[Action]:
    """Return the actions of a recipe, each after the ones it takes from.

    Raises RecipeError where an input has no source or more than one.
    """
    data, recipe = _prepared(recipe)
    actions = [*_source(recipe, data), *data] if recipe.model.format == "onnx" else [*data, *_source(recipe, data)]
    own = {action.name for action in actions}
    for name in (use.name for use in recipe.steps):
        if name in own:
            raise RecipeError(f"steps: '{name}' is the name of an action of the recipe's own", "give it another name")
    for use in recipe.steps:
        actions += _actions(use, recipe, actions)
    return _with_toolchains(actions)


def _with_toolchains(actions: list[Action]) -> list[Action]:
    """Return the actions with those that put their toolchains together, each before the first that needs it."""
    found: dict[str, Action] = {}
    for action in actions:
        if action.toolchain and action.toolchain not in found:
            name = action.toolchain
            tools = replace(action, name=name, step=toolchain_step, options=None, inputs={}, data=None)
            found[name] = replace(tools, on_host=False)
        found[action.name] = action
    return list(found.values())


def _source(recipe: Recipe, before: list[Action]) -> list[Action]:
    """Return the action that brings the model; one of another format is exported, and compared with its source."""
    model, target = recipe.model, recipe.target
    if model.format == "onnx":
        return [Action(SOURCE, model_source, None, {}, model, None, target)]
    step = find_format(model.format)
    brought = [Action("weights", weights_source, None, {}, model, None, target)] if _has_file(model) else []
    data = _optional_data(step, recipe.data)
    inputs = {**({"weights": ("weights", "weights")} if brought else {}), **_made(data, before)}
    locked = _locked(model.toolchain or step.toolchain)
    exported = Action(SOURCE, step, None, inputs, model, data, target, locked=locked)
    sources = {"model": (SOURCE, "model"), "samples": (SOURCE, "samples")}
    return [*brought, exported, Action("conversion", conversion_check, None, sources, model, None, target)]


def _has_file(model: Model) -> bool:
    return bool(model.path or model.wheel or model.url)


def _locked(name: str) -> Locked | None:
    return None if name == HOST else find_locked(name)


def _optional_data(step: Step, data: Data | None) -> Data | None:
    """Return the parts of the data that an export shows the model; where there are none, it makes inputs up."""
    wanted = [name.removesuffix("?") for name in step.splits(None)]
    there = {name: data.splits[name] for name in wanted if name in data.splits} if data else {}
    return replace(data, splits=there) if data and there else None


def _prepared(recipe: Recipe) -> tuple[list[Action], Recipe]:
    """Return the actions that bring the data and turn its texts into numbers, and the recipe with what they make.

    Raises RecipeError where there are texts and no tokenizer, or the other way round.
    """
    data, model, target = recipe.data, recipe.model, recipe.target
    if data is None:
        return [], recipe
    fetched = [Action("data", data_source, None, {}, model, data, target)] if data.wheel is not None else []
    check_tokenizer(data)
    if data.tokenizer is None:
        return fetched, recipe
    brought = Action("tokenizer", weights_source, None, {}, tokenizer_file(data.tokenizer), None, target)
    texts, locked = replace(data, tokenizer=None), _locked(data.tokenizer.toolchain)
    inputs = {"tokenizer": ("tokenizer", "weights"), **_made(data, fetched)}
    made = Action("tokens", tokens, token_options(data.tokenizer), inputs, model, texts, target, locked=locked)
    return [*fetched, brought, made], replace(recipe, data=tokenized(data))


def _made(data: Data | None, before: list[Action]) -> dict[str, tuple[str, str]]:
    """Return where an action takes data from that other actions make; nothing for files that lie where they are."""
    makers = [action.name for action in before if action.step in (data_source, tokens)]
    return {"data": (makers[-1], "data")} if data is not None and makers else {}


def _actions(use: Use, recipe: Recipe, before: list[Action]) -> list[Action]:
    """Return a step's action; a measurement for another machine is two: there (deferred), and here, by that name."""
    step = find_step(use.step)
    _check_runtime(use, step, recipe.target)
    _check_toolchain(use, step)
    data = _data(use, step, recipe)
    inputs = {port: _input(use, step, port, before) for port in step.inputs}
    inputs |= _made(data, before)
    locked = _locked(use.toolchain)
    action = Action(use.name, step, use.options, inputs, recipe.model, data, recipe.target, locked=locked)
    if step.need is not Need.HOST or _is_any_host(recipe.target):
        return [action]
    here = replace(action, name=f"{use.name}@host", on_host=True)
    there = replace(action, inputs={**inputs, **_engine(before)})
    return [there, here]


def _is_any_host(target: Target) -> bool:
    return target.runtime == "onnxruntime" and target.arch == "any"


def _engine(before: list[Action]) -> dict[str, tuple[str, str]]:
    """On a target that runs engines, a measurement takes the engine, where the recipe makes one."""
    engines = [a for a in before if Kind.ENGINE in a.step.outputs.values()]
    return {"model": (engines[-1].name, "engine")} if engines else {}


def _check_runtime(use: Use, step: Step, target: Target) -> None:
    if step.runtimes and target.runtime not in step.runtimes:
        raise RecipeError(
            f"steps.{use.name}: target '{target.name}' runs {target.runtime}, which takes the ONNX file as it is",
            f"leave the step out: '~steps.{use.name}'",
        )


def _check_toolchain(use: Use, step: Step) -> None:
    """What is measured or built for a device runs in processes of its own, which have the host's packages."""
    if use.toolchain != HOST and step.need is not Need.ANYWHERE:
        raise RecipeError(
            f"steps.{use.name}: {step.name} depends on the machine and cannot run in the toolchain '{use.toolchain}'",
            f"leave the toolchain out: steps.{use.name}.toolchain={HOST}",
        )


def _data(use: Use, step: Step, recipe: Recipe) -> Data | None:
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


def _input(use: Use, step: Step, port: str, before: list[Action]) -> tuple[str, str]:
    kind = step.inputs[port]
    if port in use.inputs:
        return _chosen(use, port, kind, before)
    if port in step.from_source:
        return SOURCE, "model"
    sources = [a for a in before if kind in a.step.outputs.values() and a.step.rank < step.rank]
    highest = [a for a in sources if a.step.rank == max(a.step.rank for a in sources)]
    if len(highest) != 1:
        raise _ambiguous(use, port, [a.name for a in highest])
    return highest[0].name, _port_of(highest[0], kind)


def _chosen(use: Use, port: str, kind: Kind, before: list[Action]) -> tuple[str, str]:
    name = use.inputs[port]
    found = next((a for a in before if a.name == name), None)
    if found is None or found.name == use.name:
        raise RecipeError(f"steps.{use.name}.inputs.{port}: '{name}' comes after '{use.name}'", "take an earlier one")
    if kind not in found.step.outputs.values():
        raise RecipeError(f"steps.{use.name}.inputs.{port}: '{name}' makes no {kind.value}")
    return found.name, _port_of(found, kind)


def _port_of(action: Action, kind: Kind) -> str:
    return next(port for port, made in action.step.outputs.items() if made is kind)


def _ambiguous(use: Use, port: str, names: list[str]) -> RecipeError:
    first, second = names[:2]
    return RecipeError(
        f"steps.{use.name}: both '{first}' and '{second}' could be its {port}",
        f"write steps.{use.name}.inputs: {{{port}: {second}}}",
    )
