"""Hydra and OmegaConf errors in our words. All knowledge of how they look is in this file."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from builder.errors import RecipeError, UsageError, did_you_mean
from builder.registry import is_step, step_names

__all__ = ["explain"]

# Mappings whose keys are the user's own; Hydra wants to be told that one is new.
_RAY = ("hydra.launcher.ray.init", "hydra.launcher.ray.remote")  # what ray.init() and ray.remote() take
_OPEN = ("model.arguments", "model.constants", "model.state", "model.shapes", "model.inputs", "data.splits", *_RAY)
_FORM = "defaults are a list of '- override /group: name', the command line is group=name and key=value"


def explain(error: BaseException, overrides: Sequence[str]) -> RecipeError | UsageError:
    """Return what an exception of Hydra's means to the user."""
    if isinstance(error, MissingConfigException):
        return _missing(error)
    if isinstance(error, OverrideParseException):
        return UsageError(f"on the command line: cannot read '{error.override}'", "quote it, or write key=value")
    cause = _cause(error)
    if cause is not None and cause.full_key and "is not in struct" in str(cause):
        return _unknown_key(cause)
    if isinstance(cause, InterpolationResolutionError):
        return RecipeError(f"{cause.full_key}: {_first_line(cause)}")
    return _by_words(error, overrides)


def _by_words(error: BaseException, overrides: Sequence[str]) -> RecipeError | UsageError:
    for text in overrides:
        if found := re.match(r"(recipe|model|target|data)=(\[|.*,)", text):
            group = found[1]
            return UsageError(f"on the command line: '{text}' names several", f"build each of them: -m {group}=A,B")
    for pattern, meaning in _PATTERNS:
        if found := re.search(pattern, str(error)):
            return meaning(found, overrides)
    if isinstance(error, RecursionError):
        return RecipeError("a recipe inherits itself", "look at the defaults of the recipes it names")
    if not isinstance(error, (HydraException, OmegaConfBaseException, OSError)):
        return RecipeError("the defaults or the choices on the command line make no sense to Hydra", _FORM)
    return UsageError(_first_line(error), _FORM)


# The packages of Hydra's own project that bring a launcher or a sweeper, by its name up to the first '_'.
_PLUGINS = {
    "hydra/launcher": {name: f"hydra-{name}-launcher" for name in ("joblib", "ray", "rq", "submitit")},
    "hydra/sweeper": {name: f"hydra-{name}-sweeper" for name in ("ax", "nevergrad", "optuna")},
}


def _no_plugin(group: str, name: str, options: Sequence[str]) -> RecipeError:
    package = _PLUGINS[group].get(name.partition("_")[0])
    if package is None:
        return RecipeError(f"there is no {group} '{name}'", did_you_mean(name, [*options, *_PLUGINS[group]]))
    return RecipeError(
        f"{group}={name} comes with the package {package}, which is not installed here",
        f"{shlex.quote(sys.executable)} -m pip install {package}",
    )


def _missing(error: MissingConfigException) -> RecipeError:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    group = group.rpartition("/")[2] if group.startswith("recipe/") else group
    options = [str(option) for option in error.options or []]
    if group == "steps":
        return RecipeError(f"there is no step '{name}'", did_you_mean(name, step_names()))
    if not group:
        return RecipeError(f"there is no '{name}'", did_you_mean(name, options))
    if group in _PLUGINS:
        return _no_plugin(group, name, options)
    words = {"recipe": "recipe", "model": "model", "target": "target", "data": "dataset"}
    hint = (
        did_you_mean(name, options)
        if options
        else f"put it into ./{'recipes' if group == 'recipe' else 'conf/' + group}/"
    )
    return RecipeError(f"there is no {words.get(group, group)} '{name}'", hint)


def _unknown_key(cause: OmegaConfBaseException) -> RecipeError:
    key, full_key = str(cause.key), str(cause.full_key)
    parent = cause.parent_node
    known = [str(name) for name in parent] if parent is not None and hasattr(parent, "keys") else []
    known = [name for name in known if name != "hydra"] + ([] if "." in full_key else ["recipe"])
    where = full_key[: -len(key)].rstrip(".")
    hint = did_you_mean(key, known)
    if where in _OPEN:
        hint = f"to add it, write +{full_key}=..."
    if where in ("limits", "gates") and is_step(key):
        hint = f"for one action, write +{where}.{key}.NAME=..."
    return RecipeError(f"{where + ': ' if where else ''}there is no key '{key}'", hint)


def _no_override(found: re.Match[str], overrides: Sequence[str]) -> RecipeError | UsageError:
    word = found[1]
    groups = ["recipe", "model", "target", "data", "steps"]
    place = "on the command line: " if any(word in text for text in overrides) else ""
    return RecipeError(f"{place}there is no '{word}' to set", did_you_mean(word.split("@")[0], groups))


def _there(found: re.Match[str], _overrides: Sequence[str]) -> RecipeError:
    return RecipeError(f"on the command line: '{found[1]}' is there already", f"write it without +: {found[1]}=...")


def _ambiguous(found: re.Match[str], _overrides: Sequence[str]) -> RecipeError:
    return RecipeError(f"'{found[1]}' is chosen twice", f"write 'override /{found[1]}: ...' in the recipe's defaults")


def _null(_found: re.Match[str], overrides: Sequence[str]) -> UsageError:
    text = next((text for text in overrides if text.endswith("=null")), "")
    return UsageError(f"on the command line: '{text}' names nothing", f"give a name, or leave '{text}' out")


def _several(found: re.Match[str], _overrides: Sequence[str]) -> UsageError:
    key, _, values = found[1].partition("=")
    hint = f"build each of them: -m {found[1]}; or write one list: {key}=[{values}]"
    return UsageError(f"on the command line: '{found[1]}' names several", hint)


def _not_merged(found: re.Match[str], _overrides: Sequence[str]) -> RecipeError:
    name = found[1].removeprefix("recipe/")
    steps = "which steps there are is said in defaults: '- override /steps: [a, b]'"
    hint = f"steps, gates and sweep are mappings; {steps}"
    return RecipeError(f"recipe '{name}': a value has another shape than the one it is merged with", hint)


_PATTERNS = (
    (r"In '([^']+)': \w+ raised while composing config", _not_merged),
    (r"Could not override '([^']+)'", _no_override),
    (r"Multiple values for (\w+)", _ambiguous),
    (r"Ambiguous value for argument '(.+)'", _several),
    (r"Could not append to config. An item is already at '([^']+)'", _there),
    (r"Could not append.* '([^']+)'", _no_override),
    (r"must be a string or a list. Got NoneType", _null),
)


def _cause(error: BaseException) -> OmegaConfBaseException | None:
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, OmegaConfBaseException):
            return current
        current = current.__cause__
    return None


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text.replace(str(Path.cwd()) + "/", "")
