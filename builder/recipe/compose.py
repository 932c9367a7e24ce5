"""From a command line to recipes: Hydra's compose API, once for each recipe."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from builder.errors import BuilderError, RecipeError, UsageError, did_you_mean
from builder.recipe.locations import share
from builder.recipe.messages import explain
from builder.recipe.place import with_place
from builder.recipe.read import read_recipe
from builder.recipe.schema import Recipe, root_defaults
from builder.recipe.sources import loaded_recipes, register

# What Hydra raises at input that it cannot make sense of.
_TROUBLE = (
    HydraException,
    OmegaConfBaseException,
    ValueError,
    TypeError,
    AssertionError,
    AttributeError,
    RecursionError,
    OSError,
)

__all__ = ["compose", "compose_sweep", "group_options"]

_one_at_a_time = threading.RLock()  # Hydra is one for the whole process


def compose(overrides: Sequence[str] = ()) -> Recipe:
    """Resolve a command line such as `["recipe=jetson_int8", "steps.quantize.calibration.samples=64"]`.

    Raises RecipeError or UsageError with the place, what was expected, and the nearest right spelling.
    """
    if isinstance(overrides, str):
        raise UsageError(f"overrides are a list of words, got {overrides!r}", f"write [{overrides!r}]")
    with _hydra():
        loaded_recipes.clear()
        try:
            config = hydra_compose("build", overrides=list(overrides), return_hydra_config=True)
        except BuilderError:
            raise
        except _TROUBLE as error:
            raise with_place(explain(error, overrides), overrides) from error
        return _read(config, tuple(overrides))


def compose_sweep(overrides: Sequence[str]) -> list[Recipe]:
    """Resolve every combination of a sweep: `["recipe=a,b", "steps.quantize.calibration.samples=64,128"]`."""
    with _one_at_a_time:
        register()
        parsed = _parse(overrides)
    choices = [[*_values(override)] for override in parsed]
    for override, values in zip(parsed, choices, strict=True):
        if not values:
            raise UsageError(f"on the command line: '{override.input_line}' matches nothing")
    return [compose(combination) for combination in itertools.product(*choices)]


def group_options(group: str) -> list[str]:
    """Return what can be chosen in a config group: the user's and ours."""
    with _hydra():
        return _group_options(group)


def _group_options(group: str) -> list[str]:
    return list(GlobalHydra.instance().config_loader().get_group_options(group))


@contextmanager
def _hydra() -> Iterator[None]:
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with _one_at_a_time:
        register()
        with initialize_config_dir(str(share() / "conf"), version_base="1.3"):
            yield


def _read(config: DictConfig, overrides: tuple[str, ...]) -> Recipe:
    hydra = config.hydra
    choices = {group: choice for group, choice in hydra.runtime.choices.items() if choice != "unset"}
    files = {"hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": {"runtime": {"choices": choices}}}))}
    try:
        _check_sections(config)
        _check_loaded(config, choices)
        plain = {str(key): _plain(config, str(key)) for key in config if key != "hydra"}
        files["config.yaml"] = OmegaConf.to_yaml(OmegaConf.create(plain))
        files["overrides.yaml"] = OmegaConf.to_yaml(OmegaConf.create(list(overrides)))
        return read_recipe(plain, choices, overrides, files)
    except OmegaConfBaseException as error:
        raise with_place(explain(error, overrides), overrides, choices) from error
    except RecipeError as error:
        raise with_place(error, overrides, choices) from error


def _check_sections(config: DictConfig) -> None:
    for key, default in root_defaults().items():
        if key not in config:
            raise RecipeError(f"there is no key '{key}' any more", f"give it a value instead of '~{key}'")
        if isinstance(default, dict) and not OmegaConf.is_dict(config[key]):
            raise RecipeError(f"{key}: expected a mapping, got {config[key]!r}")


def _plain(config: DictConfig, key: str) -> Any:
    if OmegaConf.is_missing(config, key):
        return None
    node = config[key]
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _check_loaded(config: DictConfig, choices: dict[str, object]) -> None:
    """Model and data are optional in the root's defaults, and Hydra drops an optional choice that does not exist."""
    for group in ("model", "data"):
        choice = choices.get(group)
        implied = group == "data" and choice == choices.get("model")
        if choice and not implied and OmegaConf.is_missing(config[group], "name"):
            known = _group_options(group)
            if str(choice) not in known and "/" not in str(choice):
                what = "model" if group == "model" else "dataset"
                raise RecipeError(f"there is no {what} '{choice}'", did_you_mean(str(choice), known))


def _parse(overrides: Sequence[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise explain(error, overrides) from error


def _values(override: Override) -> list[str]:
    """Return the plain overrides that one swept override stands for."""
    text = override.input_line or ""
    if not override.is_sweep_override():
        return [text]
    key = override.get_key_element()
    value: object = override.value()  # its own annotation leaves globs out
    if isinstance(value, Glob):
        names = value.filter(group_options(override.key_or_group))
        return [f"{key}={name}" for name in names]
    if not override.is_discrete_sweep():
        raise UsageError(f"on the command line: '{text}' is no list of values", "write key=1,2,3")
    return [f"{key}={value}" for value in override.sweep_string_iterator()]
