"""`python -m builder`: the first word is a verb, or else everything is a build."""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from builder.errors import BuilderError, UsageError, did_you_mean
from builder.outcomes import ExitCode
from builder.report.terminal import Terminal, harmless, json_lines, paint, show_build, show_error

if TYPE_CHECKING:
    from builder.build import Build
    from builder.recipe.compose import Unmade
    from builder.recipe.schema import Recipe

__all__ = ["main"]

_VERB = re.compile(r"[a-z][a-z-]*")
_HYDRAS = re.compile(r"\+{0,2}hydra/(launcher|sweeper)=")
_SWEEP = ("-m", "--multirun")
_SHORT = {
    **dict.fromkeys(("-q", "--quiet"), "verbosity=quiet"),
    **dict.fromkeys(("-v", "--verbose"), "verbosity=verbose"),
}
_OWN_HELP = ("check", "compare", "init", "diff", "show", "cache", "toolchain", "resume")
_HYDRA_FLAGS = ("-h", "--help", "--hydra-help", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc")


def main() -> None:
    """Run a command line and exit with its code."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  for good
        else:
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # from here on an interrupt cleans up
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:  # the disk behind stdout is full, or nobody reads it any more
        if not isinstance(error, BrokenPipeError):
            _show_trouble(error)
        code = code or ExitCode.FAILED
    if any(_HYDRAS.match(word) for word in sys.argv[1:]):
        sys.exit(code)  # a launcher may have processes of its own, which end in Python's own way
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process at once: freeing every module one by one takes a sixth of a build with nothing to do."""
    atexit._run_exitfuncs()  # noqa: SLF001  what others have registered; what is ours is closed by now
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    try:
        return _dispatch(list(arguments))
    except BuilderError as error:
        show_error(error.message, error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        show_error("interrupted", "")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        sys.stderr.close()
        return ExitCode.FAILED
    except OSError as error:
        _show_trouble(error)
        return ExitCode.FAILED


def _show_trouble(error: OSError) -> None:
    from builder.trouble import is_scarcity, trouble

    if error.filename is None and error.errno == errno.ENOSPC:
        show_error(f"cannot write the output: {error.strerror}", "make room where it goes")
    elif is_scarcity(error):
        scarce = trouble(error, Path(error.filename or "."))
        show_error(scarce.message, scarce.hint)
    else:
        show_error(f"{error.strerror}: {error.filename}" if error.filename else str(error), "")


def _dispatch(arguments: list[str]) -> int:
    if not _supported():
        raise UsageError(f"builder runs on Linux, x86-64 and aarch64; this is {sys.platform}")
    if not arguments:
        raise UsageError("nothing says what to build", "name a recipe: recipe=NAME; 'list' shows what there is")
    first = arguments[0]
    if first == "--version":
        from builder import __version__

        print(f"builder {__version__}")
        return ExitCode.OK
    if _VERB.fullmatch(first):
        if first not in _VERBS:
            raise UsageError(f"there is no verb '{first}'", did_you_mean(first, _VERBS))
        if first not in _OWN_HELP and {"-h", "--help"} & set(arguments):
            return _hydra_main(["--help"])
        return _VERBS[first](arguments[1:])
    if any(word in _HYDRA_FLAGS or word.startswith("--cfg=") for word in arguments):
        return _hydra_main(arguments)
    return _build(arguments)


def _supported() -> bool:
    import platform

    return sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")


def _recipes(arguments: list[str]) -> tuple[list[Recipe], list[Unmade], bool]:
    """Return what a command line asks for, what of it cannot be built, and whether it is a sweep."""
    from builder.recipe.compose import compose
    from builder.recipe.sweep import sweep_note

    sweep = any(word in _SWEEP for word in arguments)
    overrides = [_SHORT.get(word, word) for word in arguments if word not in _SWEEP]
    for word in overrides:
        if word.startswith("-"):
            raise UsageError(f"there is no option '{word}'", did_you_mean(word, (*_SWEEP, *_SHORT, *_HYDRA_FLAGS)))
        if word in _VERBS:
            raise UsageError(f"the verb comes first: '{word}' does not", f"write: python -m builder {word} ...")
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


def _build(arguments: list[str], *, away: bool = True) -> int:
    """Build; with `away` what waits for a device that `target.host` names is finished there."""
    from builder.build import build
    from builder.recipe.compose import places
    from builder.recipe.schema import Output, Verbosity

    if any(_HYDRAS.match(word) for word in arguments):
        return _launch(arguments)
    recipes, unmade, sweep = _recipes(arguments)
    machine = recipes[0].machine
    terminal = Terminal(results=machine.output is Output.TEXT, verbosity=machine.verbosity)
    reader = json_lines if machine.output is Output.JSONL else terminal
    if machine.output is Output.TEXT and machine.verbosity is not Verbosity.QUIET:
        labels = _labels(places(len(recipes), unmade), recipes, unmade, sweep=sweep)
        for label, recipe in zip(labels, recipes, strict=False):
            words = f"{label}{recipe.name}  {recipe.model.name} -> {recipe.target.name} ({recipe.target.runtime})"
            print(harmless(words), flush=True)
    try:
        builds = build(recipes, reader, sweep=sweep, unmade=unmade)
    finally:
        terminal.close()
    if away and not sweep and builds[0].recipe.target.host and builds[0].manifest["kit"]:
        return _finish_there(builds[0])
    _show(builds, sweep=sweep, unmade=unmade)
    return max((*(finished.exit_code for finished in builds), *(ExitCode.FAILED for _ in unmade)), key=_severity)


def _launch(arguments: list[str]) -> int:
    """Build a sweep whose jobs a launcher of Hydra's starts."""
    from builder.launch import launch_sweep
    from builder.recipe.schema import Output

    words = [_SHORT.get(word, word) for word in arguments if word not in _SWEEP]
    if len(words) == len(arguments):
        raise UsageError("Hydra's launchers and sweepers start the jobs of a sweep, and this is none", "add -m")
    done = launch_sweep(words)
    _show(done.builds, sweep=True, unmade=done.unmade)
    if done.builds[0].recipe.machine.output is Output.TEXT:
        for job in done.blank:
            said = f"[{job.number}] {' '.join(job.overrides)}: {job.error.message}"
            print(f"{paint('failed', 'failed', sys.stdout)}  {harmless(said)}")
        for line in done.best:
            print(f"best    {harmless(line)}")
    return max(done.codes, key=_severity)


def _finish_there(built: Build) -> int:
    """Have the device finish a build, and complete it here; a program that reads stdout gets one manifest."""
    from builder.recipe.schema import Output
    from builder.resume import finish_there

    told = built.recipe.machine.output is Output.TEXT
    if told:
        _show([built], sweep=False, sent=built.recipe.target.host or "")
    try:
        done = finish_there(built)
    except BuilderError:
        if not told:
            _show([built], sweep=False)
        raise
    return _build([*done.overrides], away=False)


def _show(builds: Sequence[Build], *, sweep: bool, sent: str = "", unmade: Sequence[Unmade] = ()) -> None:
    """Print what became of builds; `sent` is the host that gets their kit now."""
    from builder.recipe.schema import Output, Verbosity

    machine = builds[0].recipe.machine
    numbers = [int(finished.folder.name) for finished in builds] if sweep else [0]
    if machine.output is Output.TEXT:
        labels = _labels(numbers, [finished.recipe for finished in builds], unmade, sweep=sweep)
        for label, finished in zip(labels, builds, strict=False):
            if label:
                print(harmless(label.rstrip()))
            names = [action["name"] for action in finished.manifest["actions"]]
            about, verbosity = finished.manifest, machine.verbosity
            show_build(about, finished.folder, idle=finished.idle, verbosity=verbosity, names=names, sent=sent)
        for label, job in zip(labels[len(builds) :], unmade, strict=True):
            words = f"{label.rstrip()}: {job.error.message}"
            print(f"{paint('failed', 'failed', sys.stdout)}  {harmless(words)}")
        if sweep and machine.verbosity is not Verbosity.QUIET:
            folder = builds[0].folder.parent
            print(harmless(json.loads((folder / "report.json").read_bytes())["finding"]))
            print(f"sweep   {folder / 'report.html'}")
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


def _severity(code: ExitCode) -> int:
    return (ExitCode.OK, ExitCode.MISSING_TARGET, ExitCode.USAGE, ExitCode.FAILED).index(code)


def _plan(arguments: list[str]) -> int:
    from builder.recipe.compose import places
    from builder.report.plan_table import drawing, show_plans

    graph = [word for word in arguments if word.partition("=")[0] == "--graph"]
    draw = drawing(graph[-1].partition("=")[2]) if graph else None
    recipes, unmade, sweep = _recipes([word for word in arguments if word not in graph])
    code = show_plans(recipes, places(len(recipes), unmade), sweep=sweep, draw=draw)
    return ExitCode.FAILED if unmade else code


def _init(arguments: list[str]) -> int:
    from builder.init import init

    return init(arguments)


def _verify(arguments: list[str]) -> int:
    from builder.verify import verify

    return verify([_SHORT.get(word, word) for word in arguments])


def _check(arguments: list[str]) -> int:
    from builder.check import check

    return check([_SHORT.get(word, word) for word in arguments])


def _lock(arguments: list[str]) -> int:
    from builder.lock import lock

    return lock([_SHORT.get(word, word) for word in arguments])


def _diff(arguments: list[str]) -> int:
    from builder.diff import diff

    return diff(arguments)


def _compare(arguments: list[str]) -> int:
    from builder.compare import compare

    return compare(arguments)


def _show_page(arguments: list[str]) -> int:
    from builder.show import show

    return show(arguments)


def _cache(arguments: list[str]) -> int:
    from builder.cache import cache

    return cache(arguments)


def _toolchain(arguments: list[str]) -> int:
    from builder.toolchain import toolchain

    return toolchain([_SHORT.get(word, word) for word in arguments])


def _resume(arguments: list[str]) -> int:
    from builder.resume import Imported, resume

    importing = any(word.startswith("--import") for word in arguments)  # else they are words of the device's program
    done = resume([_SHORT.get(word, word) for word in arguments] if importing else arguments)
    return _build([*done.overrides]) if isinstance(done, Imported) else done


def _list(arguments: list[str]) -> int:
    from builder.recipe.listing import show_list

    return show_list(arguments)


def _hydra_main(arguments: list[str]) -> int:
    from builder.recipe.hydra_app import run_hydra

    return run_hydra(arguments)


_VERBS: dict[str, Callable[[list[str]], int]] = {
    "plan": _plan,
    "check": _check,
    "verify": _verify,
    "lock": _lock,
    "diff": _diff,
    "compare": _compare,
    "show": _show_page,
    "cache": _cache,
    "toolchain": _toolchain,
    "init": _init,
    "resume": _resume,
    "list": _list,
}


if __name__ == "__main__":
    main()
