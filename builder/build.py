"""The only way to build: recipes become actions, actions become results, results become folders that people open."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from builder.deliver import Folder, Member, deliver
from builder.engine.events import Event, Events
from builder.engine.fitness import judged
from builder.engine.jobs import default_jobs
from builder.engine.node import Node
from builder.engine.schedule import Engine
from builder.engine.there import There
from builder.errors import BuilderError, Interrupted, StoreError, TargetError, UsageError
from builder.kit.delivered import why_no_kit
from builder.locking.guard import Guard
from builder.outcomes import ExitCode, Status
from builder.outputs import OUTPUTS, check_writable
from builder.plan.action import Action
from builder.plan.decide import Planner
from builder.plan.facts import Facts
from builder.plan.fits import refuse_options
from builder.plan.graph import graph
from builder.plan.settings import check_machine
from builder.recipe.compose import Unmade, places
from builder.recipe.schema import Limits, Recipe
from builder.report.prepare import Prepare
from builder.store.cas import Damaged
from builder.store.roots import add_root
from builder.store.statcache import StatCache
from builder.store.store import Store, store_folder

__all__ = ["Build", "build", "interruptible"]


@dataclass(frozen=True)
class Build:
    """A finished build: its manifest, its folder, and whether anything was done for it."""

    recipe: Recipe
    manifest: dict[str, Any]
    folder: Path
    idle: bool  # nothing ran and nothing was written
    nodes: Sequence[Node]

    @property
    def status(self) -> Status:
        return next(status for status in Status if status.word == self.manifest["status"])

    @property
    def exit_code(self) -> ExitCode:
        if self.status is Status.FAILED:
            errors = [node.outcome.error for node in self.nodes if node.outcome]
            unfit = any(isinstance(error, TargetError) for error in errors)
            return ExitCode.USAGE if unfit else ExitCode.FAILED
        if self.status is Status.DEFERRED and self.recipe.machine.strict:
            return ExitCode.MISSING_TARGET
        return ExitCode.OK


def build(
    recipes: Sequence[Recipe],
    *readers: Callable[[Event], None],
    sweep: bool = False,
    eager: bool = False,
    unmade: Sequence[Unmade] = (),
    member: Member | None = None,
) -> list[Build]:
    """Build recipes, each distinct action once, and return one Build for each.

    With `eager`, toolchains are put together too when all that runs in them is cached. `unmade` are jobs of a sweep
    that could not be resolved; its report tells them. With `member` there is one recipe, and others of its sweep are
    built by other processes.
    A failed action or a broken gate is told by the Build's status. Raises RecipeError for a recipe that cannot be
    planned, TargetError for one whose target cannot do what its options ask for, LockError for one that is not as its
    lock says, StoreError where the store cannot be used, Interrupted after Ctrl-C with nothing left running.
    """
    if isinstance(recipes, Recipe | str) or not recipes:
        raise UsageError("build takes a list of recipes", "write build([compose(['recipe=NAME'])])")
    events = Events(*readers)
    graphs = [graph(recipe) for recipe in recipes]
    check_machine(recipes, graphs, complete=not unmade)
    refuse_options(recipes, graphs, lambda words: events(Event("note", message=words)))
    guard = Guard.find(recipes, events)
    stats = StatCache()
    store = Store(store_folder(recipes[0].machine.store), stats, lambda text: events(Event("warning", message=text)))
    try:
        with interruptible():
            return _repairing(
                lambda: _build(recipes, graphs, store, stats, events, guard, sweep, eager, unmade, member)
            )
    finally:
        stats.close()


def _repairing(once: Callable[[], list[Build]]) -> list[Build]:
    """Build, and once more for each object that turns out damaged when its bytes are read: the store has said so."""
    seen: set[str] = set()
    while True:
        try:
            return once()
        except Damaged as damage:
            if damage.digest in seen:
                raise StoreError(f"{damage} again, after it was made anew", "check this disk") from damage
            seen.add(damage.digest)


def _build(
    recipes: Sequence[Recipe],
    graphs: Sequence[list[Action]],
    store: Store,
    stats: StatCache,
    events: Events,
    guard: Guard,
    sweep: bool,
    eager: bool,
    unmade: Sequence[Unmade],
    member: Member | None,
) -> list[Build]:
    machine = recipes[0].machine
    facts = Facts(stats)
    guard.check(recipes, graphs, facts)
    note = cache(lambda text: events(Event("note", message=text)))  # once, whatever the builds of a sweep share
    planner = Planner(store, facts, OUTPUTS, machine.fresh or (), note)
    numbers = [member.number] if member else places(len(recipes), unmade)
    plans = [
        _nodes(recipe, actions, number, sweep or member is not None)
        for number, recipe, actions in zip(numbers, recipes, graphs, strict=True)
    ]
    with ExitStack() as stack:
        stack.enter_context(store.using())

        def workshop() -> Path:
            """Return where actions run, once it is known that what they make can be delivered."""
            check_writable(OUTPUTS)
            return stack.enter_context(store.workshop())

        engine = Engine(
            store,
            planner,
            events,
            workshop,
            jobs=machine.jobs or default_jobs(),
            offline=machine.offline,
            keep_going=machine.keep_going,
            eager=eager,
            judge=lambda node, outcome: guard.judge(node, judged(node, outcome)),
        )
        prepare = Prepare()
        events.add(prepare)
        engine.run([node for nodes in plans for node in nodes])
        prepare.wait()
        idle = [node.action for nodes in plans for node in nodes if node.outcome is None]
        plans = [[node for node in nodes if node.outcome is not None] for nodes in plans]
        folders = deliver(recipes, plans, store, stats, events, sweep=sweep, unmade=unmade, member=member)
        for nodes, folder in zip(plans, folders, strict=True):
            if words := why_no_kit(folder.manifest, nodes):
                note(words)
        if member is None:  # else who collects the sweep does
            _protect(store, plans, folders, _keys(planner, idle), sweep=sweep)
    _remember(planner, recipes, plans)
    return [_finished(recipe, nodes, folder) for recipe, nodes, folder in zip(recipes, plans, folders, strict=True)]


def _keys(planner: Planner, idle: Sequence[Action]) -> set[str]:
    """Return the keys of toolchains that nothing was run in; none of one whose interpreter is gone."""
    keys = set()
    for action in idle:
        with suppress(BuilderError):
            keys.add(planner.key(action))
    return keys


def _protect(
    store: Store, plans: Sequence[Sequence[Node]], folders: Sequence[Folder], tools: Collection[str], *, sweep: bool
) -> None:
    """Keep from the cleaning what the newest builds need: `latest` of each recipe, and the newest sweep.

    `tools` are the keys of toolchains that nothing was run in this time: the next edit will want them.
    """
    keys = [
        [*(node.outcome.key for node in nodes if node.outcome and node.outcome.record), *sorted(tools)]
        for nodes in plans
    ]
    if sweep:
        add_root(store.root, folders[0].path.parent, [key for own in keys for key in own])
        return
    for own, folder in zip(keys, folders, strict=True):
        if folder.manifest["status"] != Status.FAILED.word:
            add_root(store.root, folder.path, own)


def _finished(recipe: Recipe, nodes: Sequence[Node], folder: Folder) -> Build:
    return Build(recipe, folder.manifest, folder.path, folder.unchanged, nodes)


def _nodes(recipe: Recipe, actions: Sequence[Action], number: int, sweep: bool) -> list[Node]:
    nodes: dict[str, Node] = {}
    build_name = str(number) if sweep else recipe.name
    for action in actions:
        inputs = {port: nodes[source] for port, (source, _) in action.inputs.items()}
        limits = recipe.limits.get(action.name.removesuffix("@host"), recipe.limits.get("", Limits()))
        tools = nodes.get(action.toolchain)
        nodes[action.name] = Node(build_name, recipe.name, action, inputs, limits, tools, nodes.get(action.after))
    There(list(nodes.values()))
    return list(nodes.values())


def _remember(planner: Planner, recipes: Sequence[Recipe], plans: Sequence[Sequence[Node]]) -> None:
    for recipe, nodes in zip(recipes, plans, strict=True):
        ended = {node.action.name: node.outcome for node in nodes if node.outcome and node.outcome.record}
        done = {name: outcome for name, outcome in ended.items() if outcome.entry is None}  # not what a device made
        notes = {
            name: {
                "key": outcome.key,
                "parts": outcome.parts,
                "reason": outcome.not_kept,
                "seconds": outcome.record.seconds if outcome.record else None,
            }
            for name, outcome in done.items()
        }
        planner.remember(recipe.name, notes)


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into Interrupted; a second one does not disturb the cleaning up."""
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()

    def stop(_number: int, _frame: object) -> NoReturn:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except KeyboardInterrupt as error:
        words = "interrupted; what was finished is kept, nothing is left running"
        raise Interrupted(words, "the same command goes on from there") from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
