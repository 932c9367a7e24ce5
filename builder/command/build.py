"""Builds what a command line asks for: here, in the processes of a launcher, and what is left on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from builder.command.printed import print_builds, print_jobs, print_search
from builder.command.words import asks_hydra_to_launch, is_sweep, overrides_of, recipes_of
from builder.errors import BuilderError, UsageError
from builder.outcomes import ExitCode
from builder.recipe.schema import Output
from builder.report.terminal import Terminal, json_lines

if TYPE_CHECKING:
    from builder.build import Build

__all__ = ["build_asked"]


def build_asked(words: Sequence[str], *, away: bool = True) -> int:
    """Build, print what became of it, and return the exit code.

    With `away` what waits for a device that `target.host` names is finished there. Raises BuilderError.
    """
    from builder.build import build

    if asks_hydra_to_launch(words):
        return _launch(words)
    recipes, unmade, sweep = recipes_of(words)
    machine = recipes[0].machine
    terminal = Terminal(results=machine.output is Output.TEXT, verbosity=machine.verbosity)
    reader = json_lines if machine.output is Output.JSONL else terminal
    print_jobs(recipes, unmade, sweep=sweep)
    try:
        builds = build(recipes, reader, sweep=sweep, unmade=unmade)
    finally:
        terminal.close()
    if away and not sweep and builds[0].recipe.target.host and builds[0].manifest["kit"]:
        return _finish_there(builds[0])
    print_builds(builds, sweep=sweep, unmade=unmade)
    return max((*(finished.exit_code for finished in builds), *(ExitCode.FAILED for _ in unmade)), key=_severity)


def _launch(words: Sequence[str]) -> int:
    """Build a sweep whose jobs a launcher of Hydra's starts."""
    from builder.launch import launch_sweep

    if not is_sweep(words):
        raise UsageError("Hydra's launchers and sweepers start the jobs of a sweep, and this is none", "add -m")
    done = launch_sweep(overrides_of(words))
    print_builds(done.builds, sweep=True, unmade=done.unmade)
    print_search(done)
    return max(done.codes, key=_severity)


def _finish_there(built: Build) -> int:
    """Have the device finish a build, and complete it here; a program that reads stdout gets one manifest."""
    from builder.resume import finish_there

    told = built.recipe.machine.output is Output.TEXT
    if told:
        print_builds([built], sweep=False, sent=built.recipe.target.host or "")
    try:
        done = finish_there(built)
    except BuilderError:
        if not told:
            print_builds([built], sweep=False)
        raise
    return build_asked(done.overrides, away=False)


def _severity(code: ExitCode) -> int:
    return (ExitCode.OK, ExitCode.MISSING_TARGET, ExitCode.USAGE, ExitCode.FAILED).index(code)
