"""A sweep whose jobs Hydra's launchers start: each is a build of its own on the shared store, collected at the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.build import Build, build
from builder.deliver import Member
from builder.errors import BuilderError, Interrupted, StepError, StoreError
from builder.outcomes import ExitCode, Status
from builder.outputs import OUTPUTS, new_folder
from builder.recipe.compose import Unmade, compose, compose_each, compose_first
from builder.recipe.launcher import Started, launch
from builder.recipe.schema import Objective, Recipe, Verbosity
from builder.report.figures import best, figures
from builder.report.manifest import read_manifest
from builder.report.sweep import write_sweep
from builder.report.terminal import Terminal, harmless, show_error
from builder.store.folders import remove_folder
from builder.store.roots import add_root
from builder.store.statcache import StatCache
from builder.store.store import Store, store_folder

__all__ = ["Launched", "launch_sweep"]

_TOLD = "job.json"  # what a job tells of itself, in its folder
_BUILD = "build"  # and its build, beside it
_LITTER = ("multirun.yaml", ".submitit/*/*.pkl", ".submitit/*/*.sh")  # names hosts, or is of no use any more


@dataclass(frozen=True)
class Launched:
    """What became of a sweep."""

    builds: Sequence[Build]
    unmade: Sequence[Unmade]  # the jobs of which there is no build
    codes: Sequence[ExitCode]  # of every job, and of a launcher that ended early
    blank: Sequence[Unmade]  # the trials that were built, and why they have no figure
    best: Sequence[str]  # of a search, what no other trial beats, in words


def launch_sweep(words: Sequence[str]) -> Launched:
    """Have Hydra start the jobs of a command line, and put their builds into one folder of `outputs/sweeps`.

    Raises UsageError or RecipeError for what Hydra cannot start, StepError where no job came to its end.
    """
    first = compose_first(words)
    store = store_folder(first.machine.store)
    with new_folder(OUTPUTS / "sweeps") as (part, publish), _at_work(store):
        early = launch(words, first, part, _job)
        jobs = [*_jobs(part, early)]
        made, lost = [each for each in jobs if each.status], [each for each in jobs if not each.status]
        ended = f"Hydra's launcher or sweeper ended early: {early}" if early else ""
        if not made:
            raise lost[0].error if lost else StepError(ended or "Hydra started no job")
        if ended:
            show_error(ended, "")
        for each in made:
            each.place.rename(part / str(each.number))
        reports = {each.number: _report(part / str(each.number)) for each in made}
        unmade = [each.unmade for each in lost]
        write_sweep(part, reports, unmade)
        _tidy(part)
        final = publish()
        actions = [action for report in reports.values() for action in report["manifest"]["actions"]]
        add_root(store, final, [action["key"] for action in actions if action["key"]])
    recipes = compose_each([each.overrides for each in made])
    builds = [
        Build(recipe, report["manifest"], final / str(number), idle=False, nodes=())
        for recipe, (number, report) in zip(recipes, reports.items(), strict=True)
    ]
    codes = [each.code for each in made] + [ExitCode.FAILED] * (len(lost) + bool(ended))
    blank = [each.unmade for each in made if each.told and each.status != Status.FAILED.word]
    return Launched(builds, unmade, codes, blank, [*_best(made, first.objective)])


@contextmanager
def _at_work(folder: Path) -> Iterator[None]:
    """Keep from the cleaning what the jobs look up or make, until their sweep is one of its roots."""
    with closing(StatCache()) as stats, ExitStack() as stack:
        with suppress(StoreError):  # a store that can only be read; of any other one the jobs tell what is wrong
            stack.enter_context(Store(folder, stats, lambda _: None).workshop())
        yield


def _job(job: Started) -> float | tuple[float, ...] | None:
    """Build a job, tell what became of it, and return its figures to a sweeper that searches.

    Such a sweeper is told a failure as an exception, which counts as no figure; for any other one it would end the
    sweep.
    """
    about: dict[str, Any] = {"number": job.number, "overrides": [*job.overrides], "code": int(ExitCode.FAILED)}
    _tell(job, about)
    try:
        recipe = compose(job.overrides)
        built = _built(recipe, job)
        about["code"] = int(built.exit_code)
        values = figures(built.folder, recipe.objective) if job.searched else ()
    except Interrupted as stop:
        raise KeyboardInterrupt from stop
    except BuilderError as error:
        _tell(job, {**about, "code": int(error.exit_code), "error": error.message, "hint": error.hint})
        show_error(f"{' '.join(job.overrides)}: {error.message}", error.hint)
        if job.searched:
            raise
        return None
    _tell(job, {**about, "figures": values})
    said = f", {_in_words(recipe.objective, values)}" if values else ""
    print(harmless(f"[{job.number}] {built.manifest['status']}{said}  {' '.join(job.overrides)}"), file=sys.stderr)
    return values[0] if len(values) == 1 else values or None


def _built(recipe: Recipe, job: Started) -> Build:
    with closing(Terminal(results=False, verbosity=Verbosity.QUIET)) as terminal:
        for note in recipe.notes:
            print(f"note: {harmless(note)}", file=sys.stderr)
        return build([recipe], terminal, member=Member(job.number, job.folder / _BUILD))[0]


def _tell(job: Started, about: Mapping[str, Any]) -> None:
    part = job.folder / f".{_TOLD}"
    part.write_text(json.dumps(about), encoding="utf-8")
    part.replace(job.folder / _TOLD)


@dataclass(frozen=True)
class _Job:
    """A job as it told of itself; `error` where there is no build of it, or no figure."""

    number: int
    overrides: tuple[str, ...]
    code: ExitCode
    error: BuilderError
    told: bool  # the error is its own
    figures: Sequence[float]
    place: Path
    status: str  # of its build; '' where there is none

    @property
    def unmade(self) -> Unmade:
        return Unmade(self.overrides, self.error, self.number)


def _jobs(part: Path, early: str) -> Iterator[_Job]:
    """Yield the jobs in their order; one whose process was killed has told that it began."""
    told = [json.loads(file.read_text(encoding="utf-8")) for file in part.glob(f"jobs/*/{_TOLD}")]
    for each in sorted(told, key=lambda each: int(each["number"])):
        lost = StepError(f"its process ended before the build did{f': {early}' if early else ''}", "build it alone")
        place = part / "jobs" / str(each["number"]) / _BUILD
        yield _Job(
            number=int(each["number"]),
            overrides=tuple(each["overrides"]),
            code=ExitCode(each["code"]),
            error=StepError(each["error"], each["hint"]) if "error" in each else lost,
            told="error" in each,
            figures=each.get("figures", ()),
            place=place,
            status=(read_manifest(place) or {}).get("status", ""),
        )


def _best(jobs: Sequence[_Job], objective: Sequence[Objective]) -> Iterator[str]:
    """Yield in words which trials no other one beats, each combination of choices once."""
    if not objective:
        return
    found = {each.overrides: each for each in reversed(jobs) if len(each.figures) == len(objective)}
    common = set.intersection(*(set(each.overrides) for each in jobs)) if len(jobs) > 1 else set()
    trials = {each.number: each for each in found.values()}
    for number in best({number: each.figures for number, each in trials.items()}, objective):
        each = trials[number]
        own = " ".join(word for word in each.overrides if word not in common)
        yield f"[{number}] {_in_words(objective, each.figures)}  {own}".rstrip()


def _in_words(objective: Sequence[Objective], values: Sequence[float]) -> str:
    return ", ".join(f"{each.figure} {value:.4g}" for each, value in zip(objective, values, strict=True))


def _report(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report


def _tidy(part: Path) -> None:
    remove_folder(part / "jobs")
    for pattern in _LITTER:
        for file in part.glob(pattern):
            with suppress(OSError):
                file.unlink()
