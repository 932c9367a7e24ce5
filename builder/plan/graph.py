"""From a recipe to actions: which step takes the output of which, by ports and ranks.

The graph depends on the recipe alone, never on what this machine has or has built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from builder.compilers.options import ParserCheck
from builder.errors import RecipeError, did_you_mean
from builder.outcomes import Reproducible
from builder.plan.fits import asked_of
from builder.recipe.schema import Recipe, Use
from builder.recipe.toolchains import find_locked
from builder.registry import compiler_names, find_compiler, find_format, find_step
from builder.sources import tensors
from builder.sources.conversion import conversion_check
from builder.sources.parser import parser_check
from builder.sources.step import data_source, model_source, weights_source
from builder.sources.tokens import check_tokenizer, token_options, tokenized, tokenizer_file
from builder.sources.tokens import tokens as token_step
from builder.specs import Data, Model, Runtime, Target
from builder.step import Kind, Need, Step
from builder.targets.step import CHECK, target_check
from builder.toolchains.spec import HOST, Locked
from builder.toolchains.step import toolchain_step
from builder.typed import to_plain

__all__ = ["Action", "checked", "graph"]

COMPILE = "compile"
TIMING_CACHE = "timing_cache"  # a port, and the action that brings the file
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
    there: bool = False  # measured where the target is
    locked: Locked | None = None  # the toolchain it runs in, or puts together; None: the host's
    after: str = ""  # the action that must have succeeded before, though nothing is taken from it
    optional: bool = False  # where its toolchain cannot be had, it is skipped, and the build goes on

    @property
    def reproducible(self) -> Reproducible:
        """Return how far the bytes can be had again, with these options."""
        stated = self.step.reproducible
        return stated if isinstance(stated, Reproducible) else stated(self.options)

    @property
    def needs_target(self) -> bool:
        """Whether all or a part of it can only be done where the target's device is."""
        return self.there or self.step.need is Need.TARGET

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
    own = [*actions]
    for name in (use.name for use in recipe.steps):
        if name in {CHECK, parser_check.name, TIMING_CACHE, *(action.name for action in own)}:
            raise RecipeError(f"steps: '{name}' is the name of an action of the recipe's own", "give it another name")
    for use in recipe.steps:
        actions += _actions(use, recipe, actions)
    steps = [*actions[len(own) :], *_evaluations(actions)]
    steps += _for_the_device(recipe, steps, actions)
    return _with_toolchains([*own, *(steps if _is_any_host(recipe.target) else checked(recipe, steps))])


def checked(recipe: Recipe, steps: list[Action]) -> list[Action]:
    """Return the steps after the check of the model against the target: none starts before it has succeeded."""
    asked = asked_of(steps)
    check = Action(CHECK, target_check, asked, {"model": (SOURCE, "model")}, recipe.model, None, recipe.target)
    return [check, *(replace(action, after=CHECK) for action in steps)]


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


def _source(recipe: Recipe, before: list[Action]) -> list[Action]:
    """Return the action that brings the model; one of another format is exported, and compared with its source."""
    model, target = recipe.model, recipe.target
    if model.format == "onnx":
        return [Action(SOURCE, model_source, None, {}, model, None, target)]
    step = find_format(model.format)
    brought = _brought(model, step, target)
    data = _optional_data(step, recipe.data)
    inputs = {**({"weights": ("weights", "weights")} if brought else {}), **_made(data, before)}
    locked = _locked(model.toolchain or step.toolchain)
    exported = Action(SOURCE, step, None, inputs, model, data, target, locked=locked)
    sources = {"model": (SOURCE, "model"), "samples": (SOURCE, "samples")}
    return [*brought, exported, Action("conversion", conversion_check, None, sources, model, None, target)]


def _brought(model: Model, step: Step, target: Target) -> list[Action]:
    """Return the actions that bring a model's file: the one that is named, or the one that its framework knows."""
    weights = Action("weights", weights_source, None, {}, model, None, target)
    if model.path or model.wheel or model.url:
        return [weights]
    if step.address is None or (found := step.address(model)) is None:
        return []
    locked = _locked(model.toolchain or step.toolchain)
    address = Action("address", found, None, {}, model, None, target, locked=locked)
    return [address, replace(weights, inputs={"address": (address.name, "address")})]


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
    made = Action("tokens", token_step, token_options(data.tokenizer), inputs, model, texts, target, locked=locked)
    return [*fetched, brought, made], replace(recipe, data=tokenized(data))


def _made(data: Data | None, before: list[Action]) -> dict[str, tuple[str, str]]:
    """Return where an action takes data from that other actions make; nothing for files that lie where they are."""
    makers = [action.name for action in before if action.step in (data_source, token_step)]
    return {"data": (makers[-1], "data")} if data is not None and makers else {}


def _actions(use: Use, recipe: Recipe, before: list[Action]) -> list[Action]:
    """Return a step's action; a measurement for another machine is two: there (deferred), and here, by that name."""
    step = _chosen_step(use, recipe.target)
    _check_runtime(use, step, recipe.target)
    data = _data(use, step, recipe)
    ports = {port: _input(use, step, port, before) for port in step.inputs}
    inputs = {port: source for port, source in ports.items() if source is not None} | _made(data, before)
    toolchain = use.toolchain if use.toolchain != HOST else _toolchain_of(step, inputs, before)
    action = Action(use.name, step, use.options, inputs, recipe.model, data, recipe.target, locked=_locked(toolchain))
    if step.name == COMPILE and Kind.ENGINE in step.outputs.values():
        return _with_parser(action)
    if step.need is not Need.HOST or _is_any_host(recipe.target):
        return [action]
    here = replace(action, name=f"{use.name}@host", on_host=True)
    there = replace(action, inputs={**inputs, **_engine(before)}, there=True)
    return [there, here]


def _with_parser(action: Action) -> list[Action]:
    """Return what is compiled for TensorRT with the parser's verdict before it, and the timing cache it begins with."""
    options, suffix = action.options, "" if action.name == COMPILE else f"@{action.name}"
    before: list[Action] = []
    if options.parser is not ParserCheck.NEVER:
        ports = {"model": action.inputs["model"]}
        dispensable, tools = options.parser is ParserCheck.AUTO, _locked(parser_check.toolchain)
        asked = replace(action, name=f"{parser_check.name}{suffix}", step=parser_check, options=None, inputs=ports)
        before.append(replace(asked, locked=tools, optional=dispensable))
    if options.timing_cache and TIMING_CACHE in action.step.inputs:
        file = Model(TIMING_CACHE, path=options.timing_cache)
        before.append(Action(f"{TIMING_CACHE}{suffix}", weights_source, None, {}, file, None, action.target))
        action = replace(action, inputs={**action.inputs, TIMING_CACHE: (before[-1].name, "weights")})
    return [*before, action]


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


def _for_the_device(recipe: Recipe, steps: list[Action], before: list[Action]) -> list[Action]:
    """Return what writes the inputs and outputs that a device is given, where a step waits for one."""
    theirs = [action for action in steps if action.needs_target]
    if not theirs:
        return []
    compiled = next((action for action in theirs if action.step.name == COMPILE), None)
    evaluated = next((a for a in before if Kind.EVALUATION in a.step.outputs.values()), None)
    split = evaluated.options.split if evaluated else tensors.Options.split
    profiles = to_plain(compiled.options.profiles) if compiled else {}
    samples = min((evaluated and evaluated.options.samples) or tensors.SAMPLES, tensors.SAMPLES)
    asked = Use("tensors", "tensors", tensors.Options(split=split, samples=samples, profiles=profiles), {})
    step = tensors.tensors
    data = _data(asked, step, recipe) if recipe.data else None
    ports = {port: _input(asked, step, port, before) for port in step.inputs}
    inputs = {port: source for port, source in ports.items() if source is not None} | _made(data, before)
    return [Action(asked.name, step, asked.options, inputs, recipe.model, data, recipe.target)]


def _evaluations(actions: list[Action]) -> list[Action]:
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


def _is_any_host(target: Target) -> bool:
    anything = target.arch == "any" and not target.features and not target.hardware
    return target.runtime in (Runtime.ONNXRUNTIME, Runtime.OPENVINO) and anything


def _engine(before: list[Action]) -> dict[str, tuple[str, str]]:
    """On a target that runs engines, a measurement takes the engine, where the recipe makes one."""
    engines = [a for a in before if Kind.ENGINE in a.step.outputs.values()]
    return {"model": (engines[-1].name, "engine")} if engines else {}


def _check_runtime(use: Use, step: Step, target: Target) -> None:
    if step.runtimes and target.runtime not in step.runtimes:
        raise RecipeError(
            f"steps.{use.name}: target '{target.name}' runs {target.runtime}, not what {use.name} makes",
            f"leave the step out: '~steps.{use.name}'",
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
