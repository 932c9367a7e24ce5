"""From a command line to recipes: Hydra's compose API, once for each recipe."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
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
from builder.recipe.shared import Shared
from builder.recipe.sources import loaded_recipes, register
from builder.recipe.sweep import choice_words, swept_words

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

__all__ = [
    "Unmade",
    "compose",
    "compose_each",
    "compose_first",
    "compose_jobs",
    "compose_sweep",
    "group_options",
    "places",
]

_one_at_a_time = threading.RLock()  # Hydra is one for the whole process
_written: dict[str, str] = {}
_WRITTEN = 256  # sections
_initialized: ContextVar[bool] = ContextVar("_initialized", default=False)


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
    """Resolve every combination of a sweep: `["recipe=a,b", "steps.quantize.calibration.samples=64,128"]`.

    Raises what `compose` raises, for the first job that cannot be resolved.
    """
    jobs = compose_jobs(overrides)
    for job in jobs:
        if isinstance(job, Unmade):
            raise job.error
    return [job for job in jobs if isinstance(job, Recipe)]


def compose_first(overrides: Sequence[str]) -> Recipe:
    """Resolve the first job of a sweep that can be; an interval, which only a sweeper reads, is left out.

    Raises what `compose` raises where none can be.
    """
    with _hydra():
        parsed = [each for each in _parse(overrides) if not each.is_interval_sweep()]
        shared = Shared()
        jobs = (_job(words, shared) for words in itertools.product(*map(_values, parsed)))
        first = next(jobs, None)
        if first is None:
            raise UsageError("on the command line: a list of choices matches nothing")
        for job in itertools.chain([first], jobs):
            if isinstance(job, Recipe):
                return job
        assert isinstance(first, Unmade)
        raise first.error


@dataclass(frozen=True)
class Unmade:
    """A job of a sweep that cannot be built, and why."""

    overrides: tuple[str, ...]
    error: BuilderError
    number: int = 0  # its place among all jobs


def places(builds: int, unmade: Sequence[Unmade]) -> list[int]:
    """Return the places that so many builds have among all jobs of a sweep: those of the unmade ones are taken."""
    taken = {job.number for job in unmade}
    return [number for number in range(builds + len(unmade)) if number not in taken]


def compose_each(jobs: Sequence[Sequence[str]]) -> list[Recipe]:
    """Resolve the jobs of a sweep that others have listed. Raises what `compose` raises."""
    with _hydra():
        shared = Shared()
        return [_composed(tuple(words), shared) for words in jobs]


def compose_jobs(overrides: Sequence[str]) -> list[Recipe | Unmade]:
    """Resolve every combination of a sweep, and those of the recipe's own `sweep:`; a mistake in one stops no other.

    Raises UsageError for a command line that cannot be read.
    """
    with _hydra():
        parsed = _parse(overrides)
        choices = [[*_values(override)] for override in parsed]
        for override, values in zip(parsed, choices, strict=True):
            if not values:
                raise UsageError(f"on the command line: '{override.input_line}' matches nothing")
        shared = Shared()
        jobs = [job for words in itertools.product(*choices) for job in _jobs(words, shared)]
        return [replace(job, number=place) if isinstance(job, Unmade) else job for place, job in enumerate(jobs)]


def _jobs(words: tuple[str, ...], shared: Shared) -> Iterator[Recipe | Unmade]:
    """Yield the job of a combination; those of its recipe's `sweep:` instead, where it has one."""
    made = _job(words, shared)
    if isinstance(made, Unmade) or not made.sweep:
        yield made
        return
    try:
        jobs = swept_words(made)
    except RecipeError as error:
        compose(words)  # so that the place can be told
        yield Unmade(words, with_place(error, words))
        return
    yield from (_job((*words, *own), shared, own) for own in jobs or [()])


def _job(words: tuple[str, ...], shared: Shared, own: tuple[str, ...] = ()) -> Recipe | Unmade:
    """Compose a job; `own` are the words that its recipe's `sweep:` gave it."""
    try:
        return _composed(words, shared)
    except BuilderError as error:
        message = error.message
        for word in own:
            message = message.replace(f"on the command line ({word})", f"sweep ({word})", 1)
        return Unmade(words, type(error)(message, error.hint))


def _composed(overrides: tuple[str, ...], shared: Shared) -> Recipe:
    """Compose a job from what it shares; what cannot be shared, and every mistake, is composed alone."""
    try:
        config = shared.compose(overrides)
        if config is not None:
            return _read(config, overrides)
    except (BuilderError, *_TROUBLE):
        pass
    return compose(overrides)


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
        if _initialized.get():  # a sweep's, around all that it composes
            yield
            return
        register()
        token = _initialized.set(True)
        try:
            with initialize_config_dir(str(share() / "conf"), version_base="1.3"):
                yield
        finally:
            _initialized.reset(token)


def _read(config: DictConfig, overrides: tuple[str, ...]) -> Recipe:
    hydra = config.hydra
    choices = {group: choice for group, choice in hydra.runtime.choices.items() if choice != "unset"}
    files = {"hydra.yaml": _yaml({"hydra": {"runtime": {"choices": choices}}})}
    try:
        _check_sections(config)
        _check_loaded(config, choices)
        plain = {str(key): _plain(config, str(key)) for key in config if key != "hydra"}
        files["config.yaml"] = "".join(_yaml({key: value}) for key, value in plain.items())
        files["overrides.yaml"] = OmegaConf.to_yaml(OmegaConf.create(list(overrides)))
        return read_recipe(plain, choices, overrides, files)
    except OmegaConfBaseException as error:
        raise with_place(explain(error, overrides), overrides, choices) from error
    except RecipeError as error:
        raise with_place(error, overrides, choices) from error


def _yaml(section: dict[str, Any]) -> str:
    """Return a section as YAML; the jobs of a sweep have most of them in common."""
    shape = repr(section)
    if shape not in _written:
        if len(_written) >= _WRITTEN:
            _written.clear()
        _written[shape] = OmegaConf.to_yaml(OmegaConf.create(section))
    return _written[shape]


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
    return [f"{key}={value}" for value in choice_words(override)]
