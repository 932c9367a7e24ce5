"""What is printed of builds: which ones there will be, and what became of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.recipe.schema import Output, Verbosity
from builder.report.terminal import harmless, paint, show_build

if TYPE_CHECKING:
    from builder.build import Build
    from builder.launch import Launched
    from builder.recipe.compose import Unmade
    from builder.recipe.schema import Recipe

__all__ = ["print_builds", "print_jobs", "print_search"]


def print_jobs(recipes: Sequence[Recipe], unmade: Sequence[Unmade], *, sweep: bool) -> None:
    """Print a line of each job that will be built, for a reader who wants to see them."""
    from builder.recipe.compose import places

    machine = recipes[0].machine
    if machine.output is not Output.TEXT or machine.verbosity is Verbosity.QUIET:
        return
    labels = _labels(places(len(recipes), unmade), recipes, unmade, sweep=sweep)
    for label, recipe in zip(labels, recipes, strict=False):
        words = f"{label}{recipe.name}  {recipe.model.name} -> {recipe.target.name} ({recipe.target.runtime})"
        print(harmless(words), flush=True)


def print_builds(builds: Sequence[Build], *, sweep: bool, sent: str = "", unmade: Sequence[Unmade] = ()) -> None:
    """Print what became of builds; `sent` is the host that gets their kit now."""
    machine = builds[0].recipe.machine
    numbers = [int(finished.folder.name) for finished in builds] if sweep else [0]
    if machine.output is Output.TEXT:
        labels = _labels(numbers, [finished.recipe for finished in builds], unmade, sweep=sweep)
        _print_text(builds, labels, unmade, sent=sent)
        if sweep and machine.verbosity is not Verbosity.QUIET:
            _print_sweep(builds[0].folder.parent)
    elif machine.output is Output.JSON:
        manifests = dict(zip(numbers, (finished.manifest for finished in builds), strict=True))
        manifests |= {job.number: _no_manifest(job) for job in unmade}
        in_order = [manifests[place] for place in sorted(manifests)]
        print(json.dumps(in_order if sweep else in_order[0], indent=2, ensure_ascii=False))
    else:
        for finished in builds:
            print(json.dumps({"kind": "manifest", "manifest": finished.manifest}, ensure_ascii=False))
        for job in unmade:
            print(json.dumps({"kind": "unmade", **_no_manifest(job)}, ensure_ascii=False))


def print_search(done: Launched) -> None:
    """Print what a sweeper of Hydra's made of the jobs: those without the figure it searches for, and the best."""
    if done.builds[0].recipe.machine.output is not Output.TEXT:
        return
    for job in done.blank:
        _print_failed(f"[{job.number}] {' '.join(job.overrides)}: {job.error.message}")
    for line in done.best:
        print(f"best    {harmless(line)}")


def _print_text(builds: Sequence[Build], labels: Sequence[str], unmade: Sequence[Unmade], *, sent: str) -> None:
    verbosity = builds[0].recipe.machine.verbosity
    for label, finished in zip(labels, builds, strict=False):
        if label:
            print(harmless(label.rstrip()))
        about = finished.manifest
        names = [action["name"] for action in about["actions"]]
        show_build(about, finished.folder, idle=finished.idle, verbosity=verbosity, names=names, sent=sent)
    for label, job in zip(labels[len(builds) :], unmade, strict=True):
        _print_failed(f"{label.rstrip()}: {job.error.message}")


def _print_sweep(folder: Path) -> None:
    print(harmless(json.loads((folder / "report.json").read_bytes())["finding"]))
    print(f"sweep   {folder / 'report.html'}")


def _print_failed(words: str) -> None:
    print(f"{paint('failed', 'failed', sys.stdout)}  {harmless(words)}")


def _no_manifest(job: Unmade) -> dict[str, Any]:
    """Return what a program reads in place of the manifest of a job that could not be built."""
    return {"status": "failed", "overrides": [*job.overrides], "error": job.error.message, "hint": job.error.hint}


def _labels(numbers: Sequence[int], recipes: Sequence[Recipe], unmade: Sequence[Unmade], *, sweep: bool) -> list[str]:
    """Return what tells the jobs of a sweep apart: place and own words; nothing for a single one."""
    if not sweep:
        return [""]
    words = [*(recipe.overrides for recipe in recipes), *(job.overrides for job in unmade)]
    common = set(words[0]).intersection(*words)
    own = [" ".join(word for word in each if word not in common) for each in words]
    labelled = zip([*numbers, *(job.number for job in unmade)], own, strict=True)
    return [f"[{number}] {said}  " for number, said in labelled]
