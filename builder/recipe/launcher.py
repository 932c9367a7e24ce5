"""Sweeps by Hydra's own launchers and sweepers: Hydra says which jobs there are and starts each, here or elsewhere."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from builder.errors import RecipeError, UsageError
from builder.recipe.locations import share
from builder.recipe.messages import explain
from builder.recipe.objective import FIGURES
from builder.recipe.schema import Recipe
from builder.recipe.sources import register
from builder.recipe.sweep import swept_words

__all__ = ["Started", "launch"]

_CHOICE = re.compile(r"\+{0,2}hydra/(launcher|sweeper)=(?P<name>.*)")
_OURS = ("hydra.sweep.dir", "hydra.sweep.subdir", "hydra.mode")
_SAID = 500  # characters of what ended a launcher: some say all that they were configured with
_AFTER_ALL = (  # what Optuna's plugin ends with where the last trial of a grid, or every trial, has no figure
    "`Study.stop` is supposed to be invoked inside an objective function or a callback.",
    "No trials are completed yet.",
)
_LISTS = ("", "basic")  # the sweeper that makes every combination; any other one searches, for an objective


@dataclass(frozen=True)
class Started:
    """A job that a launcher has started."""

    overrides: tuple[str, ...]
    number: int
    folder: Path  # its own, which it may write
    searched: bool  # the sweeper wants figures of it


def launch(words: Sequence[str], first: Recipe, folder: Path, job: Callable[[Started], object]) -> str:
    """Have Hydra start a job for each combination or trial; return what ended it early, or ''.

    `first` is the recipe of any of them: it says what is swept, and searched for. `job` is a function of a module,
    since it is sent to other processes. It is called with `folder`/jobs/<number>, and returns the figures that a
    sweeper searches by. Raises UsageError or RecipeError for what Hydra cannot start.
    """
    searches = _chosen(words, "sweeper") not in _LISTS
    arguments = ["-m", *words, *_own_words(words, first, folder, searches=searches)]

    def task(_config: DictConfig) -> object:
        about = HydraConfig.get()
        place = Path(about.runtime.output_dir)
        with _apart():
            return job(Started(tuple(about.overrides.task), int(about.job.num), place, searches))

    os.environ["HYDRA_FULL_ERROR"] = "1"
    register()
    sys.argv = [sys.argv[0], *arguments]
    app = hydra.main(config_path=str(share() / "conf"), config_name="build", version_base="1.3")(task)
    try:
        app()
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error, arguments) from error
    except Exception as error:  # noqa: BLE001  a launcher raises what it likes; the jobs that ended are told all the same
        if any(words in str(error) for words in _AFTER_ALL):
            return ""
        return f"{type(error).__name__}: {textwrap.shorten(str(error), _SAID, placeholder=' ...')}"
    return ""


@contextmanager
def _apart() -> Iterator[None]:
    """Let a job compose as ever: Hydra is one for the whole process, and its launcher's goes on after the job."""
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().clear()
        GlobalHydra.instance().hydra = outer


def _own_words(words: Sequence[str], recipe: Recipe, folder: Path, *, searches: bool) -> list[str]:
    """Return what the command line leaves to say: choices of the recipe's `sweep:`, where jobs write, directions."""
    for word in words:
        if word.lstrip("+").partition("=")[0] in _OURS:
            raise UsageError(f"'{word}' cannot be set: a sweep lies in outputs/sweeps, a folder for each job")
    own = [f"hydra.sweep.dir='{folder}'", "hydra.sweep.subdir=jobs/${hydra.job.num}"]
    for column in zip(*swept_words(recipe), strict=True):
        choices = [word.partition("=")[2] for word in dict.fromkeys(column)]
        own.append(f"{column[0].partition('=')[0]}={','.join(choices)}")
    if searches and not recipe.objective:
        name, known = _chosen(words, "sweeper"), ", ".join(FIGURES)
        raise RecipeError(
            f"hydra/sweeper={name} searches, and '{recipe.name}' does not say for what: it has no objective",
            f"write objective=latency_ms, in the recipe or here; there is: {known}",
        )
    if _chosen(words, "sweeper") == "optuna":
        directions = ",".join(each.direction for each in recipe.objective)
        several = len(recipe.objective) > 1
        said = {word.lstrip("+").partition("=")[0] for word in words}
        given = {"direction": f"[{directions}]" if several else directions, "max_failure_rate": "1.0"}
        own += [f"hydra.sweeper.{key}={value}" for key, value in given.items() if f"hydra.sweeper.{key}" not in said]
    return own


def _chosen(words: Sequence[str], kind: str) -> str:
    """Return the launcher or sweeper that a command line names, the last one; '' for none."""
    found = [match["name"] for word in words if (match := _CHOICE.fullmatch(word)) and match[1] == kind]
    return found[-1] if found else ""
