"""Keeps a build to its lock: asked for with `locked=true`, on by itself where CI is set and there is a lock.

As `cargo --locked` and `uv sync --locked` have it, a lock that is asked for and is missing, damaged or stale is an
error before anything runs. Bytes that differ fail the action that made them: what depends on it is not made.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress

from builder.engine.events import Event, Events
from builder.engine.node import Node, Outcome
from builder.errors import BuilderError, DataError, LockError, SourceError
from builder.locking.document import LockFile, external_names, lock_path, read_lock
from builder.locking.drift import differences, incomparable, versions, words
from builder.locking.inputs import inputs_of
from builder.outcomes import Status
from builder.plan.action import Action
from builder.plan.facts import Facts
from builder.plan.graph import graph
from builder.recipe.schema import Recipe
from builder.store.statcache import StatCache

__all__ = ["Guard", "drift_ahead", "lock_command", "lock_refusal"]

_OFF = ("", "0", "false")  # what CI may be set to and still mean no
_DIGITS = 12  # of a digest


class Guard:
    """The locks that the recipes of a build keep to, by name; none for a recipe that is not locked."""

    def __init__(self, locks: Mapping[str, LockFile], commands: Mapping[str, str], events: Events) -> None:
        self._locks = locks
        self._commands = commands
        self._events = events

    @classmethod
    def find(cls, recipes: Sequence[Recipe], events: Events) -> Guard:
        """Read the locks that are to be kept. Raises LockError for one that is asked for and missing, or damaged."""
        commands = {recipe.name: lock_command(recipe) for recipe in recipes}
        locked = recipes[0].machine.locked
        found = {name: read_lock(name) for name in commands} if locked or (locked is None and _in_ci()) else {}
        for name, lock in found.items():
            missing = f"there is no lock of '{name}': {lock_path(name)} is not there"
            if lock is None and locked:
                raise LockError(missing, f"write it: {commands[name]}")
            if lock is None:
                events(Event("note", message=f"{missing}, so nothing holds the bytes fast; {commands[name]} writes it"))
        return cls({name: lock for name, lock in found.items() if lock}, commands, events)

    def check(self, recipes: Sequence[Recipe], graphs: Sequence[Sequence[Action]], facts: Facts) -> None:
        """Raise LockError where what a recipe is made of is not what its lock says."""
        for recipe, actions in zip(recipes, graphs, strict=True):
            if (lock := self._locks.get(recipe.name)) is None:
                continue
            if found := differences(lock, inputs_of(recipe, actions, facts, external_names(lock))):
                raise LockError(
                    f"'{recipe.name}' has drifted from {lock_path(recipe.name)}: {words(found)}",
                    self._hint(recipe.name),
                )

    def judge(self, node: Node, outcome: Outcome) -> Outcome:
        """Return an action's outcome: a failure where its bytes are not the lock's and should be."""
        lock, record = self._locks.get(node.recipe), outcome.record
        expected = lock.artifacts[node.action.name].outputs if lock and not node.action.lazy else {}
        wrong = [port for port, digest in expected.items() if record and record.outputs.get(port, digest) != digest]
        if lock is None or record is None or not wrong:
            return outcome
        name, path = node.action.name, lock_path(lock.name)
        if why := incomparable(lock, node, outcome):
            self._events(Event("note", message=f"{name} cannot be compared with {path} here: {why}"))
            return outcome
        told = [f"{port}: expected {expected[port][:_DIGITS]}, got {record.outputs[port][:_DIGITS]}" for port in wrong]
        others = versions(lock, node, outcome)
        message = f"{name} is not what {path} says: {', '.join(told)}{f'; made with {others}' if others else ''}"
        error = LockError(message, self._hint(lock.name))
        return Outcome(Status.FAILED, error.message, outcome.key, outcome.parts, seconds=outcome.seconds, error=error)

    def _hint(self, name: str) -> str:
        return f"if it is meant: {self._commands[name]}; locked=false builds without the lock"


def drift_ahead(recipe: Recipe, warn: Callable[[str], None]) -> list[str]:
    """Return, in words, where a recipe that is only planned is not what its lock says; nothing where it has none.

    Raises LockError where `locked=true` is set and would refuse the build.
    """
    if recipe.machine.locked is False:
        return []
    actions = graph(recipe)
    with closing(StatCache()) as stats, suppress(SourceError, DataError):  # the plan says what cannot be read
        if recipe.machine.locked:
            Guard.find([recipe], Events()).check([recipe], [actions], Facts(stats))
        try:
            lock = read_lock(recipe.name)
        except LockError as error:
            warn(error.message)
        else:
            return differences(lock, inputs_of(recipe, actions, Facts(stats), external_names(lock))) if lock else []
    return []


def lock_refusal(recipe: Recipe) -> BuilderError | None:
    """Return why one of several recipes cannot be held to its lock, if it cannot: the others can be built."""
    if not (recipe.machine.locked or (recipe.machine.locked is None and _in_ci())):
        return None
    try:
        guard = Guard.find([recipe], Events())
        with closing(StatCache()) as stats:
            guard.check([recipe], [graph(recipe)], Facts(stats))
    except (LockError, SourceError, DataError) as error:
        return error
    return None


def lock_command(recipe: Recipe) -> str:
    """Return the command that writes a recipe's lock, as its own command line had it."""
    overrides = [word for word in recipe.overrides if not word.startswith(("locked=", "output=", "verbosity="))]
    return shlex.join(["python", "-m", "builder", "lock", *overrides])


def _in_ci() -> bool:
    return os.environ.get("CI", "").strip().lower() not in _OFF
