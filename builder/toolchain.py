"""`toolchain`: what toolchains there are, put one together, pin one's packages anew."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import yaml

from builder.build import interruptible
from builder.engine.events import Event, Events
from builder.engine.jobs import default_jobs
from builder.engine.node import Node
from builder.engine.schedule import Engine
from builder.errors import BuilderError, RecipeError, UsageError, did_you_mean
from builder.outcomes import ExitCode, Status
from builder.plan.action import Action
from builder.plan.decide import Planner
from builder.plan.facts import Facts
from builder.recipe.locations import shown
from builder.recipe.schema import Machine
from builder.recipe.toolchains import find_locked, find_toolchain, lock_file, toolchain_names
from builder.report.lines import harmless
from builder.report.terminal import Terminal
from builder.specs import Model, Target
from builder.store.statcache import StatCache
from builder.store.store import Store, store_folder
from builder.toolchains.index import index_access
from builder.toolchains.interpreter import find_interpreter
from builder.toolchains.lock import format_lock, parse
from builder.toolchains.spec import Locked
from builder.toolchains.step import toolchain_step
from builder.toolchains.uv import resolve
from builder.typed import from_plain

__all__ = ["toolchain"]

HELP = """\
usage: python -m builder toolchain list|build NAME...|lock NAME... [settings]

  toolchain list     the toolchains of conf/toolchain/, whether each is locked, and whether it is in the store
  toolchain build    fetch the locked packages of toolchains into the store; a build does it when it needs one
  toolchain lock     resolve the packages that conf/toolchain/NAME.yaml asks for, and write NAME.lock beside it

  store=FOLDER       another store than BUILDER_STORE or outputs/store
  offline=true       fetch nothing

uv does the work. It is told what pip's configuration says of index, find-links, certificates and proxies; `UV_*`
variables win. Nothing of your own environment is changed.\
"""
_SETTINGS = ("store", "offline", "verbosity")


def toolchain(arguments: list[str]) -> int:
    """Run `toolchain list|build|lock`. Raises UsageError or RecipeError before anything runs, ToolchainError."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print(HELP)
        return ExitCode.OK if arguments else ExitCode.USAGE
    verbs: dict[str, Callable[[Sequence[str], Machine], int]] = {"list": _list, "build": _build, "lock": _lock}
    verb, words = arguments[0], arguments[1:]
    if verb not in verbs:
        raise UsageError(f"toolchain: there is no '{verb}'", did_you_mean(verb, verbs))
    names = list(dict.fromkeys(word for word in words if "=" not in word))
    for name in names:
        if name not in (known := toolchain_names()):
            raise UsageError(f"there is no toolchain '{name}'", did_you_mean(name, known))
    if verb != "list" and not names:
        raise UsageError(f"toolchain {verb}: which one?", f"there is: {', '.join(toolchain_names())}")
    return verbs[verb](names, _settings([word for word in words if "=" in word]))


def _settings(words: Sequence[str]) -> Machine:
    given = {}
    for word in words:
        key, _, value = word.partition("=")
        if key not in _SETTINGS:
            raise UsageError(f"toolchain has no setting '{key}'", did_you_mean(key, _SETTINGS))
        try:
            given[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"{key}: expected a value, got '{value}'") from error
    return from_plain(Machine, given, "")


def _list(names: Sequence[str], machine: Machine) -> int:
    with closing(StatCache()) as stats:
        store = Store(store_folder(machine.store), stats, lambda _: None, look=True)
        planner = Planner(store, Facts(stats), Path("outputs"))
        for name in names or toolchain_names():
            print("\n".join(harmless(line.rstrip()) for line in _rows(name, planner)))
    return ExitCode.OK


def _rows(name: str, planner: Planner) -> Iterator[str]:
    try:
        found = find_toolchain(name)
    except BuilderError as error:
        yield f"{name:20} {error.message}"
        return
    state, problem = _state(name, planner)
    yield f"{name:20} python {found.python:5} {state:24} {found.summary}"
    yield from (f"{'':20} {line}" for line in (problem, found.license) if line)


def _state(name: str, planner: Planner) -> tuple[str, str]:
    """Say in a few words whether a toolchain can be used at once, and if not, what is wrong."""
    try:
        decision = planner.decide("", _action(find_locked(name)), {})
    except BuilderError as error:
        return "cannot be used", error.message
    if decision.record is None:
        return "locked, not built yet", ""
    return f"built, {decision.record.facts['size']}", ""


def _action(locked: Locked) -> Action:
    """Return the action that puts a toolchain together, as every recipe has it."""
    return Action(locked.action, toolchain_step, None, {}, Model("none"), None, Target("host"), locked=locked)


def _build(names: Sequence[str], machine: Machine) -> int:
    terminal = Terminal(verbosity=machine.verbosity)
    events = Events(terminal)
    nodes = [Node("toolchain", "toolchain", _action(find_locked(name)), {}) for name in names]
    with closing(StatCache()) as stats, closing(terminal), interruptible(), ExitStack() as stack:
        store = Store(store_folder(machine.store), stats, lambda text: events(Event("warning", message=text)))
        stack.enter_context(store.using())
        Engine(
            store,
            Planner(store, Facts(stats), Path("outputs")),
            events,
            lambda: stack.enter_context(store.workshop()),
            jobs=default_jobs(),
            offline=machine.offline,
            eager=True,
        ).run(nodes)
    failed = [node for node in nodes if node.outcome and node.outcome.status is Status.FAILED]
    return ExitCode.FAILED if failed else ExitCode.OK


def _lock(names: Sequence[str], machine: Machine) -> int:
    if machine.offline:
        raise UsageError("toolchain lock asks the package index, and offline=true forbids it")
    access = index_access(os.environ, Path.cwd())
    for name in names:
        found, file = find_toolchain(name), lock_file(name)
        if not file.is_relative_to(Path.cwd()):
            raise UsageError(
                f"toolchain {name} is built in, and its lock comes with the builder",
                f"put a description of your own into ./conf/toolchain/, as {name}_mine.yaml, and lock that",
            )
        print(f"resolving {name}: {', '.join(found.packages)}", file=sys.stderr, flush=True)
        with interruptible(), closing(StatCache()) as stats, tempfile.TemporaryDirectory() as folder:
            interpreter = find_interpreter(found.python, stats).path
            text = format_lock(found, resolve(found, interpreter, Path(folder), access))
        _write(file, text)
        packages = len(parse(text, name).pins)
        print(f"{shown(file)}: {packages} package{'' if packages == 1 else 's'}")
    return ExitCode.OK


def _write(file: Path, text: str) -> None:
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise RecipeError(
            f"cannot write {shown(file)}: {error.strerror}",
            "a toolchain of your own goes into ./conf/toolchain/, under a name of its own",
        ) from error
