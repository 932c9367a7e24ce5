"""`resume`: finish a kit on the device, or file what the device sent back and complete the build."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from builder.build import Build, build, interruptible
from builder.engine.events import Event, Events
from builder.errors import RecipeError, StepError, UsageError, did_you_mean
from builder.kit.find import MACHINE, overrides_of
from builder.kit.finish import check_keys, file_result, is_filed
from builder.kit.result import Result, read_result
from builder.outcomes import ExitCode
from builder.outputs import OUTPUTS
from builder.plan.decide import Planner
from builder.plan.devices import label_of, setting
from builder.plan.facts import Facts
from builder.plan.graph import graph
from builder.plan.report import Planned, plan_actions
from builder.recipe.compose import compose
from builder.recipe.schema import Recipe
from builder.report.terminal import Terminal
from builder.store.statcache import StatCache
from builder.store.store import Store, store_folder

__all__ = ["Imported", "finish_there", "import_result", "resume"]

HELP = """\
usage: python -m builder resume KIT [--work FOLDER] [--driver python|trtexec]
       python -m builder resume --import RESULT [KIT] [settings]
       python -m builder resume KIT --verify

  What a build left for a device lies in its kit, outputs/NAME/latest/kit.tar. It is finished in three ways:

  resume KIT             on the device: builds the engine, runs and times it, and writes NAME-DEVICE.result.tar beside
                         the kit. Where no builder is installed: tar xf kit.tar && sh kit/resume.sh. To start it from
                         here instead: python -m builder recipe=NAME target.host=user@device
  resume --import RESULT at home, in the project that made the kit: files what the device measured and completes the
                         build with it. Where the kit is gone from outputs/, name a copy of it too
  resume KIT --verify    on any machine with ONNX Runtime: runs the kit's model and says how far its outputs are from
                         those at home. Times nothing, writes nothing

  --work FOLDER          where to work, and to leave the result
  --driver               what runs TensorRT there: its Python package or the program trtexec; else whichever is there
  store=FOLDER strict=true output=json ...   settings of this machine, for an import as for a build

  Exits 0 when all is done; 1 where something failed (what was done is kept: run it again), a gate is not kept, or
  --verify finds outputs too far; 2 where the command, the kit or the result is wrong; 3 on a machine that is not the
  kit's target or lacks the runtime, and for an import with strict=true that leaves something waiting; 130 after Ctrl-C\
"""
_IMPORT = "--import"


@dataclass(frozen=True)
class Imported:
    """A result that is filed, and the command line that now completes its build."""

    overrides: tuple[str, ...]
    result: Result


def resume(arguments: list[str]) -> int | Imported:
    """Run `resume`; return an exit code, or after an import what is to be built. Raises UsageError, StepError."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print(HELP)
        return ExitCode.OK if arguments else ExitCode.USAGE
    if _IMPORT not in (word.partition("=")[0] for word in arguments):
        from builder.device.resume import main

        return main(arguments)
    result, kit, settings = _words(arguments)
    return import_result(result, kit, settings)


def _words(arguments: Sequence[str]) -> tuple[Path, Path | None, list[str]]:
    """Return the result, the kit if one is named, and the settings of a command line."""
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith(f"{_IMPORT}=") else [word])]
    files = [word for word in words if "=" not in word and word != _IMPORT]
    settings = [word for word in words if "=" in word]
    for word in files:
        if word.startswith("-"):
            raise UsageError(f"resume {_IMPORT} has no option '{word}'", "see: python -m builder resume --help")
    for word in settings:
        if word.partition("=")[0] not in MACHINE:
            raise UsageError(
                f"resume {_IMPORT}: '{word}' is no setting of the machine; the recipe is that of the kit",
                did_you_mean(word.partition("=")[0], MACHINE),
            )
    results = [word for word in files if word.endswith(".result.tar")]
    if not 1 <= len(files) <= 2 or len(results) > 1:
        raise UsageError(f"resume {_IMPORT} takes one result at a time", "write: resume --import NAME.result.tar")
    at = words.index(_IMPORT)
    first = words[at + 1] if words[at + 1 : at + 2] and words[at + 1] in files else files[0]
    rest = [word for word in files if word != first]
    return Path(first), Path(rest[0]) if rest else None, settings


def import_result(archive: Path, kit: Path | None = None, settings: Sequence[str] = ()) -> Imported:
    """File what a device sent, and return the command line that completes the build with it.

    Raises UsageError where it is damaged, of another schema, or of another build; StepError where its numbers do not
    fit the recipe; StoreError.
    """
    with tempfile.TemporaryDirectory(prefix="builder-result-") as name, interruptible():
        result = read_result(archive, Path(name))
        stores = [word.removeprefix("store=") for word in settings if word.startswith("store=")]
        words = overrides_of(result, kit, store_folder(stores[-1] if stores else None))
        recipe = _composed(result, [*words, *settings])
        if recipe.name != result.name:
            raise UsageError(f"the result is of '{result.name}', and its kit builds '{recipe.name}'")
        terminal = Terminal(results=False, verbosity=recipe.machine.verbosity)
        with closing(terminal):
            label = _file(result, recipe, Events(terminal))
    device = [setting(label)] if label and not recipe.target.device else []
    return Imported((*recipe.overrides, *device), result)


def _composed(result: Result, words: Sequence[str]) -> Recipe:
    try:
        return compose(words)
    except RecipeError as error:
        hint = "import it in the project that built it, or bring that project's recipes/ and conf/ here"
        words = f"this result is of the recipe '{result.name}', which cannot be read here: {error.message}"
        raise type(error)(words, hint) from error


def finish_there(built: Build) -> Imported:
    """Finish a build that waits for `target.host` there, by SSH, and file what comes back; return what completes it.

    Raises RemoteError, and what `import_result` raises.
    """
    from builder.kit.ssh import resume_there

    recipe, kit = built.recipe, built.manifest["kit"]
    assert recipe.target.host is not None
    terminal = Terminal(results=False, verbosity=recipe.machine.verbosity)
    with interruptible(), closing(terminal):
        result = resume_there(
            recipe.target.host,
            built.folder / kit["path"],
            recipe.name,
            kit["sha256"],
            lambda line: terminal(Event("note", message=line)),
        )
    settings = [word for word in recipe.overrides if word.partition("=")[0] in MACHINE]
    return import_result(result, built.folder / "kit", settings)


def _file(result: Result, recipe: Recipe, events: Events) -> str:
    """File a result, unless it is filed; return what names its device where others sent results too."""
    with closing(StatCache()) as stats, ExitStack() as stack:
        store = Store(store_folder(recipe.machine.store), stats, lambda text: events(Event("warning", message=text)))
        stack.enter_context(store.using())
        actions = graph(recipe)
        waiting = [action.name for action in actions if action.needs_target]
        facts = Facts(stats)
        planner = Planner(store, facts, OUTPUTS, fresh=waiting)  # whatever devices have sent so far
        planned = plan_actions(recipe, actions, planner)
        if any(name in result.portable for name in _unknown(planned, waiting)):
            events(Event("note", message="the portable part of the build is not in this store; it is built first"))
            anew = replace(recipe, machine=replace(recipe.machine, fresh=waiting))  # whatever devices have sent so far
            build([anew], lambda event: events(event) if event.kind != "planned" else None)
            planned = plan_actions(recipe, actions, planner)
        check_keys(result, planned, planner)
        _check_built(result)
        where = f"{result.device['name']}, {result.taken_at}"
        if is_filed(result, store):
            events(Event("note", message=f"this result is filed already: {', '.join(result.built)} of {where}"))
        else:
            before = _earlier(result, store)
            untold = Events(lambda event: events(event) if event.kind != "finished" else None)  # the build tells it
            file_result(result, planned, Planner(store, facts, OUTPUTS), store, untold)
            events(Event("note", message=f"filed {', '.join(result.built)} of {where}{before}"))
        return _label(result, store)


def _unknown(planned: Sequence[Planned], waiting: Sequence[str]) -> list[str]:
    known = {each.decision.action.name for each in planned if each.portable}
    return [name for name in waiting if name not in known]


def _check_built(result: Result) -> None:
    """Raise StepError where the device finished nothing: there is nothing to file."""
    if not result.built:
        told = next((f": {name} failed: {why}" for name, why in result.failed.items()), "")
        raise StepError(f"nothing was finished on {result.device['name']}{told}", "resume the kit there again")


def _earlier(result: Result, store: Store) -> str:
    """Say that an earlier result of the same device is there, which no longer counts."""
    found = [
        entry.taken_at
        for name in result.built
        for entry in store.devices.find(result.portable[name])
        if entry.device == result.device and entry.result != result.digest
    ]
    if not found:
        return ""
    return f"; that of {found[-1]} counts no longer"


def _label(result: Result, store: Store) -> str:
    found = (entry for portable in result.portable.values() for entry in store.devices.find(portable))
    devices = {entry.identity: entry for entry in found}
    mine = next((entry for entry in devices.values() if entry.device == result.device), None)
    return label_of(mine, [*devices.values()]) if mine and len(devices) > 1 else ""
