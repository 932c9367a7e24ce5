"""What a build is made of, as far as a lock speaks of it: settings, the bytes of files, toolchains. Nothing runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from builder import __version__
from builder.digest import digest_json
from builder.plan.action import Action
from builder.plan.facts import Facts
from builder.plan.implementation import Code
from builder.plan.project import find_code
from builder.recipe.locations import find_file
from builder.recipe.schema import Recipe, Use
from builder.registry import find_step
from builder.specs import Data, Model, Tokenizer
from builder.typed import to_plain

__all__ = ["inputs_of"]

_NAMED = 100  # files of a split that are listed by name; of more, the digest of the listing
# Where something lies is no input: what lies there is, and its digest is among the inputs.
_PLACES = ("path", "wheel", "url", "root", "sha256", "license", "origin", "summary", "host", "device")


def inputs_of(recipe: Recipe, actions: Sequence[Action], facts: Facts, external: Iterable[str]) -> dict[str, Any]:
    """Return the sections of a lock that are known before anything runs, and the class of each action.

    `external` names the files beside the model that hold tensors of it. Raises SourceError or DataError where a file
    cannot be read.
    """
    data = _used(recipe.data, actions)
    model = _model(recipe.model, facts, external)
    files = {"data": _files(data, actions, facts)} if data else {}
    if data and data.tokenizer:
        files["tokenizer"] = _tokenizer(data.tokenizer, facts)
    return {
        "builder": __version__,
        "settings": _settings(recipe, data),
        "inputs": {"model": model, **files},
        "toolchains": {a.locked.toolchain.name: {"lock": a.locked.lock.digest} for a in actions if a.locked},
        "artifacts": {a.name: {"reproducible": a.reproducible.value} for a in actions if not a.lazy},
    }


def _used(data: Data | None, actions: Iterable[Action]) -> Data | None:
    """Return the data with the splits that some action reads; None where none does."""
    used = {name for action in actions if action.data for name in action.data.splits if not action.step.brings}
    if data is None or not used:
        return None
    return dataclasses.replace(data, splits={name: split for name, split in data.splits.items() if name in used})


def _model(model: Model, facts: Facts, external: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if model.path is not None:
        found["sha256"] = facts.file(model.path, "model.path")
        folder = find_file(model.path).parent
        beside = {name: facts.digest(folder / name) for name in external if (folder / name).is_file()}
        found |= {"external": beside} if beside else {}
    elif model.sha256 is not None:
        found["sha256"] = model.sha256
    if model.code is not None:
        place = find_code(model.code)
        reached = Code(facts.stats, place.folder).reached((place.module,))
        found["code"] = {name: digest for name, digest in reached.items() if name.partition(".")[0] != "builder"}
    return found


def _tokenizer(tokenizer: Tokenizer, facts: Facts) -> dict[str, Any]:
    path = tokenizer.path
    return {"sha256": tokenizer.sha256 if path is None else facts.file(path, "data.tokenizer.path")}


def _files(data: Data, actions: Iterable[Action], facts: Facts) -> dict[str, Any]:
    if data.wheel is not None:
        return dict(data.sha256)
    found: dict[str, Any] = {}
    for action in actions:
        if action.data is not None and "data" not in action.inputs:  # else another action made it
            found |= facts.samples(action.data, fetched=False)["files"]
    return {split: _listed(files) for split, files in found.items()}


def _listed(files: Mapping[str, str]) -> dict[str, Any]:
    if len(files) <= _NAMED:
        return dict(files)
    return {"files": len(files), "sha256": digest_json("builder.files.v1", dict(files))}


def _settings(recipe: Recipe, data: Data | None) -> dict[str, Any]:
    model = _own(recipe.model)
    if recipe.model.code is not None:
        model["code"] = find_code(recipe.model.code).name
    found = {"model": model, "target": _own(recipe.target), **({"data": _own(data)} if data else {})}
    parts = {part: _placeless(node) for part, node in found.items()}
    return {**parts, "steps": {use.name: _use(use) for use in recipe.steps}}


def _placeless(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without places, those of a tokenizer too; the path of a split says which of the inputs it is."""
    found = {name: value for name, value in node.items() if name not in _PLACES}
    return {**found, "tokenizer": _placeless(found["tokenizer"])} if "tokenizer" in found else found


def _use(use: Use) -> dict[str, Any]:
    more: dict[str, Any] = {"inputs": dict(use.inputs)} if use.inputs else {}
    if use.toolchain != find_step(use.step).toolchain:
        more["toolchain"] = use.toolchain
    return {"step": use.step, **more, **_own(use.options)}


def _own(value: Any, default: Any = None) -> dict[str, Any]:
    """Return a dataclass as plain data, without what has its default: an option that is new makes no lock stale."""
    found = {}
    for f in dataclasses.fields(value):
        mine = getattr(value, f.name)
        usual = getattr(default, f.name) if type(default) is type(value) else _default(f)
        if mine != usual:
            found[f.name] = _plain(mine, usual)
    return found


def _plain(value: Any, default: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item, None) for name, item in value.items()}
    return _own(value, default) if dataclasses.is_dataclass(value) else to_plain(value)


def _default(f: dataclasses.Field[Any]) -> Any:
    return f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
