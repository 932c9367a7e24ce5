"""A sweep whose jobs Hydra's launchers start: each is a build of its own on the shared store, collected at the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from builder.build import Build, build
from builder.deliver import Member
from builder.errors import BuilderError, Interrupted, StepError
from builder.outcomes import ExitCode, Status
from builder.outputs import OUTPUTS, new_folder
from builder.recipe.compose import Unmade, compose
from builder.recipe.launcher import Started, launch
from builder.recipe.schema import Objective, Recipe, Verbosity
from builder.report.manifest import read_manifest
from builder.report.sweep import write_sweep
from builder.report.terminal import Terminal, harmless, show_error
from builder.store.folders import remove_folder
from builder.store.roots import add_root
from builder.store.store import store_folder

__all__ = ["Launched", "launch_sweep"]

_TOLD = "job.json"  # what a job tells of itself, in its folder
_BUILD = "build"  # and its build, beside it
_FOUND = "optimization_results.yaml"  # what Optuna's sweeper found
_LITTER = ("multirun.yaml", ".submitit/*/*.pkl", ".submitit/*/*.sh")  # names hosts, or is of no use any more


@dataclass(frozen=True)
class Launched:
    """What became of a sweep."""

    builds: Sequence[Build]
    unmade: Sequence[Unmade]  # the jobs of which there is no build
    codes: Sequence[ExitCode]  # of every job, and of a launcher that ended early
    blank: Sequence[Unmade]  # the trials that were built, and why they have no figure
    best: Sequence[str]  # what the sweeper found, in words


def launch_sweep(words: Sequence[str]) -> Launched:
    """Have Hydra start the jobs of a command line, and put their builds into one folder of `outputs/sweeps`.

    Raises UsageError or RecipeError for what Hydra cannot start, StepError where no job came to its end.
    """
    with new_folder(OUTPUTS / "sweeps") as (part, publish):
        early = launch(words, part, _job)
        jobs = [*_jobs(part, early)]
        made, lost = [each for each in jobs if each.build], [each for each in jobs if not each.build]
        ended = f"Hydra's launcher or sweeper ended early: {early}" if early else ""
        if not made:
            raise lost[0].error if lost else StepError(ended or "Hydra started no job")
        if ended:
            show_error(ended, "")
        blank = [Unmade(each.overrides, each.error) for each in made if each.told and not each.failed]
        for number, each in enumerate(made):
            each.place.rename(part / str(number))
        documents = [json.loads((part / f"{number}" / "report.json").read_text()) for number in range(len(made))]
        write_sweep(part, documents, [(each.overrides, each.error.message, each.error.hint) for each in lost])
        best = [*_best(part / _FOUND)]
        _tidy(part)
        final = publish()
    recipes = [compose(each.overrides) for each in made]
    builds = [
        Build(recipe, document["manifest"], final / str(number), idle=False, nodes=())
        for number, (recipe, document) in enumerate(zip(recipes, documents, strict=True))
    ]
    _protect(recipes, builds, final)
    unmade = [Unmade(each.overrides, each.error) for each in lost]
    codes = [each.code for each in made] + [ExitCode.FAILED] * (len(lost) + bool(ended))
    return Launched(builds, unmade, codes, blank, best)


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
        values = _values(built, recipe.objective) if job.searched else ()
    except Interrupted as stop:
        raise KeyboardInterrupt from stop
    except BuilderError as error:
        _tell(job, {**about, "code": int(error.exit_code), "error": error.message, "hint": error.hint})
        show_error(f"{' '.join(job.overrides)}: {error.message}", error.hint)
        if job.searched:
            raise
        return None
    figures = {each.figure: value for each, value in zip(recipe.objective, values, strict=False)}
    _tell(job, {**about, "figures": figures})
    said = "".join(f", {name} {value:.4g}" for name, value in figures.items())
    print(harmless(f"[{job.number}] {built.manifest['status']}{said}  {' '.join(job.overrides)}"), file=sys.stderr)
    return values[0] if len(values) == 1 else values or None


def _built(recipe: Recipe, job: Started) -> Build:
    with closing(Terminal(results=False, verbosity=Verbosity.QUIET)) as terminal:
        for note in recipe.notes:
            print(f"note: {harmless(note)}", file=sys.stderr)
        return build([recipe], terminal, member=Member(job.number, job.folder / _BUILD))[0]


def _values(built: Build, objective: Sequence[Objective]) -> tuple[float, ...]:
    """Return a build's figures. Raises StepError where it failed, or one was not measured: none is made up."""
    if built.status is Status.FAILED:
        gates = [gate["message"] for gate in built.manifest["gates"] if gate["status"] in ("failed", "unmeasured")]
        errors = [action["error"] for action in built.manifest["actions"] if action.get("error")]
        raise StepError(f"the build failed, so it has no figures: {'; '.join(errors or gates)}")
    report = json.loads((built.folder / "report.json").read_text(encoding="utf-8"))
    return tuple(_value(report, each.figure) for each in objective)


def _value(report: Mapping[str, Any], figure: str) -> float:
    headline, target = report["headline"], report["manifest"]["target"]["name"]
    name, key = {
        "accuracy": ("accuracy", "candidate"),
        "accuracy_drop": ("accuracy", "change"),
        "latency_ms": ("latency", "candidate"),
        "latency_ratio": ("latency", "change"),
        "memory_mib": ("memory", "candidate"),
        "size_mib": ("size", "candidate"),
        "agreement": ("accuracy", "agreement"),
        "snr_db": ("accuracy", "snr_db"),
    }[figure]
    found = headline[name]
    if key in ("agreement", "snr_db"):
        value = report["evaluations"].get(found["action"], {}).get("fidelity", {}).get(key)
    else:
        value = found[key]
    if value is None:
        raise StepError(f"objective: {figure} was not measured: {found['finding']}")
    if name in ("latency", "memory") and not found["on_target"]:
        raise StepError(f"objective: {figure} was not measured on {target}, but on {found['measured_on']}")
    if name == "latency" and report["measurements"][found["action"]].get("noisy"):
        raise StepError(f"objective: {figure} is too noisy to be compared", "start fewer jobs at once, or try it again")
    return -float(value) if figure == "accuracy_drop" else float(value)


def _tell(job: Started, about: Mapping[str, Any]) -> None:
    part = job.folder / f".{_TOLD}"
    part.write_text(json.dumps(about), encoding="utf-8")
    part.replace(job.folder / _TOLD)


@dataclass(frozen=True)
class _Job:
    """A job as it told of itself; `error` where there is no build of it, or no figure."""

    overrides: tuple[str, ...]
    code: ExitCode
    error: BuilderError
    told: bool  # the error is its own
    place: Path

    @property
    def build(self) -> bool:
        return read_manifest(self.place) is not None

    @property
    def failed(self) -> bool:
        """Whether there is a build, and that it failed is said with it."""
        return (read_manifest(self.place) or {}).get("status") == Status.FAILED.word


def _jobs(part: Path, early: str) -> Iterator[_Job]:
    """Yield the jobs in their order; one whose process was killed has told that it began."""
    told = [json.loads(file.read_text(encoding="utf-8")) for file in part.glob(f"jobs/*/{_TOLD}")]
    for each in sorted(told, key=lambda each: int(each["number"])):
        lost = StepError(f"its process ended before the build did{f': {early}' if early else ''}", "build it alone")
        error = StepError(each["error"], each["hint"]) if "error" in each else lost
        place = part / "jobs" / str(each["number"]) / _BUILD
        yield _Job(tuple(each["overrides"]), ExitCode(each["code"]), error, "error" in each, place)


def _best(file: Path) -> Iterator[str]:
    """Yield what a sweeper found best, in words."""
    if not file.is_file():
        return
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    one = [{"params": found["best_params"], "values": [found["best_value"]]}] if "best_params" in found else []
    for each in found.get("solutions", one):
        words = " ".join(f"{name}={value}" for name, value in each["params"].items())
        yield f"{', '.join(f'{value:.4g}' for value in each['values'])}  {words}"


def _tidy(part: Path) -> None:
    remove_folder(part / "jobs")
    for pattern in _LITTER:
        for file in part.glob(pattern):
            with suppress(OSError):
                file.unlink()


def _protect(recipes: Sequence[Recipe], builds: Sequence[Build], final: Path) -> None:
    keys = [action["key"] for each in builds for action in each.manifest["actions"] if action["key"]]
    add_root(store_folder(recipes[0].machine.store), final, keys)
