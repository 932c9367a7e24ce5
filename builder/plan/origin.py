"""The actions that bring a recipe's model and data: fetched, exported, turned into numbers."""

from __future__ import annotations

from dataclasses import replace

from builder.plan.action import SOURCE, Action
from builder.recipe.schema import Recipe
from builder.recipe.toolchains import find_locked
from builder.registry import find_format
from builder.sources.conversion import conversion_check
from builder.sources.step import data_source, model_source, weights_source
from builder.sources.tokens import check_tokenizer, token_options, tokenized, tokenizer_file, tokens
from builder.specs import Data, Model, Target
from builder.step import Step
from builder.toolchains.spec import HOST, Locked

__all__ = ["locked_by", "made_data", "prepared", "source"]


def source(recipe: Recipe, before: list[Action]) -> list[Action]:
    """Return the action that brings the model; one of another format is exported, and compared with its source."""
    model, target = recipe.model, recipe.target
    if model.format == "onnx":
        return [Action(SOURCE, model_source, None, {}, model, None, target)]
    step = find_format(model.format)
    brought = _brought(model, step, target)
    data = _optional_data(step, recipe.data)
    inputs = {**({"weights": ("weights", "weights")} if brought else {}), **made_data(data, before)}
    locked = locked_by(model.toolchain or step.toolchain)
    exported = Action(SOURCE, step, None, inputs, model, data, target, locked=locked)
    sources = {"model": (SOURCE, "model"), "samples": (SOURCE, "samples")}
    return [*brought, exported, Action("conversion", conversion_check, None, sources, model, None, target)]


def prepared(recipe: Recipe) -> tuple[list[Action], Recipe]:
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
    texts, locked = replace(data, tokenizer=None), locked_by(data.tokenizer.toolchain)
    inputs = {"tokenizer": ("tokenizer", "weights"), **made_data(data, fetched)}
    made = Action("tokens", tokens, token_options(data.tokenizer), inputs, model, texts, target, locked=locked)
    return [*fetched, brought, made], replace(recipe, data=tokenized(data))


def made_data(data: Data | None, before: list[Action]) -> dict[str, tuple[str, str]]:
    """Return where an action takes data from that other actions make; nothing for files that lie where they are."""
    makers = [action.name for action in before if action.step in (data_source, tokens)]
    return {"data": (makers[-1], "data")} if data is not None and makers else {}


def locked_by(name: str) -> Locked | None:
    return None if name == HOST else find_locked(name)


def _brought(model: Model, step: Step, target: Target) -> list[Action]:
    """Return the actions that bring a model's file: the one that is named, or the one that its framework knows."""
    weights = Action("weights", weights_source, None, {}, model, None, target)
    if model.path or model.wheel or model.url:
        return [weights]
    if step.address is None or (found := step.address(model)) is None:
        return []
    locked = locked_by(model.toolchain or step.toolchain)
    address = Action("address", found, None, {}, model, None, target, locked=locked)
    return [address, replace(weights, inputs={"address": (address.name, "address")})]


def _optional_data(step: Step, data: Data | None) -> Data | None:
    """Return the parts of the data that an export shows the model; where there are none, it makes inputs up."""
    wanted = [name.removesuffix("?") for name in step.splits(None)]
    there = {name: data.splits[name] for name in wanted if name in data.splits} if data else {}
    return replace(data, splits=there) if data and there else None
