"""A recipe's `sweep:`: choices by key, as overrides for each job. What a command line sets is not swept."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString, Transformer
from hydra.errors import HydraException

from builder.errors import RecipeError, did_you_mean
from builder.recipe.schema import Recipe
from builder.recipe.trust import check_overrides

__all__ = ["choice_words", "sweep_note", "swept_words"]

_KEY = re.compile(r"\+{0,2}[A-Za-z_][\w.-]*")
_BARE = re.compile(r"(?!(?:null|true|false|nan|inf)$)[A-Za-z_][\w./-]*", re.IGNORECASE | re.ASCII)
_FORM = "write for example sweep: {steps.quantize.calibration.method: [minmax, entropy]}"


def choice_words(override: Override) -> list[str]:
    """Return the values of a swept override in words that its grammar reads back: `true`, as YAML has it."""

    def word(value: Any) -> str:
        return str(value).lower() if isinstance(value, bool) else str(Transformer.encode(value))

    return [*map(str, override.sweep_iterator(transformer=word))]


def sweep_note(recipe: Recipe) -> list[str]:
    """Say how to sweep a recipe that has choices, where its command line does not make them all."""
    keys = _swept_keys(recipe)
    words = shlex.join(["-m", *recipe.words])
    return [f"{recipe.name} has a sweep of {', '.join(keys)}: python -m builder {words}"] if keys else []


def _swept_keys(recipe: Recipe) -> list[str]:
    """Return the keys that `-m` would sweep: those of the recipe's `sweep:` that the command line does not set."""
    given = {word.lstrip("+~").partition("=")[0].partition("@")[0] for word in recipe.overrides}
    return [key for key, _ in _flat(recipe.sweep) if key.lstrip("+") not in given]


def swept_words(recipe: Recipe) -> list[tuple[str, ...]]:
    """Return the overrides of each job of a recipe's `sweep:`, in the order in which `-m` makes combinations.

    Raises RecipeError for a key that there is not, and for what is no list of choices.
    """
    keys, known = _swept_keys(recipe), yaml.safe_load(recipe.hydra_files["config.yaml"])
    if "recipe" in recipe.sweep:
        raise RecipeError("sweep: 'recipe' cannot be swept in a recipe", "on the command line: -m recipe=A,B")
    axes = [[*_words(key, choices, known)] for key, choices in _flat(recipe.sweep) if key in keys]
    check_overrides([word for words in axes for word in words], "sweep")
    return [*itertools.product(*axes)] if axes else []


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (key, choices); a mapping holds more keys, so `steps: {quantize: ...}` is `steps.quantize...`."""
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _words(key: str, choices: object, known: Mapping[str, Any]) -> Iterator[str]:
    _check_key(key, known)
    if isinstance(choices, str):
        yield from _hydras(key, choices)
        return
    if not isinstance(choices, list):
        raise RecipeError(f"sweep.{key}: expected a list of choices, got {choices!r}", _FORM)
    if not choices:
        raise RecipeError(f"sweep.{key}: the list of choices is empty", "give it choices, or leave the key out")
    yield from dict.fromkeys(f"{key}={_text(choice)}" for choice in choices)


def _hydras(key: str, choices: str) -> Iterator[str]:
    """Yield the overrides of a text such as `range(8,33,8)` or `1,2,3`: what `-m` takes, in Hydra's words."""
    try:
        override = OverridesParser.create().parse_override(f"{key}={choices}")
        values = choice_words(override) if override.is_discrete_sweep() else []
    except (HydraException, ValueError):
        values = []
    if not values:
        raise RecipeError(f"sweep.{key}: expected a list of choices, got '{choices}'", _FORM)
    yield from (f"{key}={value}" for value in values)


def _check_key(key: str, known: Mapping[str, Any]) -> None:
    if not _KEY.fullmatch(key):
        raise RecipeError(f"sweep: '{key}' cannot be swept", "name a key such as steps.quantize.per_channel, or model")
    if key.startswith("+"):
        return
    node: Any = known
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            names = [*node] if isinstance(node, Mapping) else []
            names = [name for name in names if node is not known or name not in ("name", "sweep")]
            raise RecipeError(f"sweep: there is no key '{key}'", did_you_mean(part, names))
        node = node[part]


def _text(value: object) -> str:
    """Return a value as Hydra's grammar reads it back."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return value if _BARE.fullmatch(value) else QuotedString(value, Quote.single).with_quotes()
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{_text(key)}:{_text(item)}' for key, item in value.items())}}}"
    return str(value).lower() if isinstance(value, bool) else str(value)
