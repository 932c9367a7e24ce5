"""What the words of a command line ask for."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from builder.errors import UsageError, did_you_mean
from builder.report.terminal import harmless, paint, show_error

if TYPE_CHECKING:
    from builder.recipe.compose import Unmade
    from builder.recipe.schema import Recipe

__all__ = ["HYDRA_FLAGS", "asks_hydra_to_launch", "in_full", "is_sweep", "overrides_of", "recipes_of"]

HYDRA_FLAGS = ("-h", "--help", "--hydra-help", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc")
_LAUNCHES = re.compile(r"\+{0,2}hydra/(launcher|sweeper)=")
_SWEEP = ("-m", "--multirun")
_SHORT = {
    **dict.fromkeys(("-q", "--quiet"), "verbosity=quiet"),
    **dict.fromkeys(("-v", "--verbose"), "verbosity=verbose"),
}


def in_full(words: Sequence[str]) -> list[str]:
    """Return the words with the short ones in full: `verbosity=quiet` for `-q`."""
    return [_SHORT.get(word, word) for word in words]


def overrides_of(words: Sequence[str]) -> list[str]:
    """Return the words in full, without what makes a sweep of them."""
    return [word for word in in_full(words) if word not in _SWEEP]


def is_sweep(words: Sequence[str]) -> bool:
    return any(word in _SWEEP for word in words)


def asks_hydra_to_launch(words: Sequence[str]) -> bool:
    """Return whether a launcher or a sweeper of Hydra's is named, which starts the jobs in its own way."""
    return any(_LAUNCHES.match(word) for word in words)


def recipes_of(words: Sequence[str]) -> tuple[list[Recipe], list[Unmade], bool]:
    """Return the jobs that are asked for, those that cannot be built, and whether they are a sweep.

    Notes of recipes are printed, and why a job of a sweep cannot be built. Raises BuilderError where none can.
    """
    from builder.recipe.compose import compose
    from builder.recipe.sweep import sweep_note

    overrides, sweep = overrides_of(words), is_sweep(words)
    for word in overrides:
        if word.startswith("-"):
            raise UsageError(f"there is no option '{word}'", did_you_mean(word, (*_SWEEP, *_SHORT, *HYDRA_FLAGS)))
        if "=" not in word and not word.startswith("~"):
            raise UsageError(f"'{word}' sets nothing", f"did you mean recipe={word}?")
    recipes, unmade = _jobs(overrides) if sweep else ([compose(overrides)], [])
    notes = [note for recipe in recipes for note in recipe.notes] + (
        sweep_note(recipes[0]) if not sweep and recipes[0].sweep else []
    )
    for note in dict.fromkeys(notes):
        print(f"{paint('note', 'yellow', sys.stderr)}: {harmless(note)}", file=sys.stderr)
    return recipes, unmade, sweep


def _jobs(overrides: Sequence[str]) -> tuple[list[Recipe], list[Unmade]]:
    """Return the jobs of a sweep, and those that cannot be built, each of which is said at once."""
    from builder.locking.guard import lock_refusal
    from builder.plan.fits import refusal
    from builder.recipe.compose import Unmade, compose_jobs
    from builder.recipe.schema import Recipe

    jobs = [
        Unmade(job.overrides, error, place)
        if isinstance(job, Recipe) and (error := refusal(job) or lock_refusal(job))
        else job
        for place, job in enumerate(compose_jobs(overrides))
    ]
    recipes = [job for job in jobs if isinstance(job, Recipe)]
    failed = [job for job in jobs if isinstance(job, Unmade)]
    if not recipes and len({job.error.message for job in failed}) == 1:
        raise failed[0].error
    common = set(jobs[0].overrides).intersection(*(job.overrides for job in jobs))
    for job in failed:
        words = " ".join(word for word in job.overrides if word not in common) or " ".join(job.overrides)
        show_error(f"{words}: {job.error.message}", job.error.hint)
    if not recipes:
        raise UsageError(f"none of the {len(failed)} builds can be made")
    return recipes, failed
