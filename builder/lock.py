"""`lock`: build a recipe and write down what it is made of and which bytes that makes, for `locked=true` to keep to."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from builder.build import build
from builder.engine.events import Event, Events
from builder.engine.node import Node
from builder.errors import LockError, StoreError, UsageError
from builder.locking.document import FOLDER, Artifact, LockFile, document, lock_path, write_lock
from builder.locking.drift import tools
from builder.locking.inputs import inputs_of
from builder.outcomes import ExitCode, Reproducible
from builder.plan.facts import Facts
from builder.plan.graph import graph
from builder.recipe.compose import compose
from builder.recipe.schema import Output, Recipe, Verbosity
from builder.report.terminal import Terminal, json_lines, show_build, show_error
from builder.store.statcache import StatCache

__all__ = ["lock"]

_PROMISED = (Reproducible.BITWISE, Reproducible.PER_CPU)
_USAGE = "write: lock recipe=NAME [overrides]"


def lock(arguments: list[str]) -> int:
    """Run `lock recipe=NAME [overrides]`; writes nothing where the build fails, a limit is broken, or Ctrl-C came.

    Raises UsageError or RecipeError before anything runs, StoreError where the lock cannot be written, LockError where
    an input was edited meanwhile.
    """
    for word in arguments:
        if word in ("-m", "--multirun"):
            raise UsageError("lock takes one recipe: each has a lock of its own", "run it once for each of them")
        if word.startswith("-"):
            raise UsageError(f"lock has no option '{word}'", _USAGE)
    recipe = compose(arguments)
    if recipe.machine.locked:
        raise UsageError("lock writes what locked=true keeps to", "leave locked=true out, or build with it")
    _check_folder()
    recipe = replace(recipe, machine=replace(recipe.machine, locked=False))
    terminal = Terminal(results=recipe.machine.output is Output.TEXT, verbosity=recipe.machine.verbosity)
    events = Events(json_lines if recipe.machine.output is Output.JSONL else terminal)
    with closing(terminal):
        for note in recipe.notes:
            events(Event("note", message=note))
        before = _inputs(recipe)
        [finished] = build([recipe], events)
    if recipe.machine.output is Output.TEXT:
        names, verbosity = [node.action.name for node in finished.nodes], recipe.machine.verbosity
        show_build(finished.manifest, finished.folder, idle=finished.idle, verbosity=verbosity, names=names)
    if finished.exit_code is not ExitCode.OK:
        show_error(f"no lock is written: {recipe.name} {finished.status.word}", "")
        return finished.exit_code
    made = _made(recipe, finished.nodes, before)
    _show(made, recipe, written=write_lock(made))
    return ExitCode.OK


def _check_folder() -> None:
    """Raise StoreError before a long build, where the lock could not be written after it."""
    there = next((folder for folder in (FOLDER, *FOLDER.parents) if folder.exists()), FOLDER)
    if not there.is_dir():
        raise StoreError(f"{there} is not a folder, so no lock can be written there", "remove or rename it")
    if not os.access(there, os.W_OK):
        raise StoreError(f"no lock can be written to {there}: it is read-only", "make the folder writable")


def _inputs(recipe: Recipe, external: Sequence[str] = ()) -> dict[str, Any]:
    with closing(StatCache()) as stats:
        return inputs_of(recipe, graph(recipe), Facts(stats), external)


def _made(recipe: Recipe, nodes: Sequence[Node], before: dict[str, Any]) -> LockFile:
    """Return the lock of a finished build. Raises LockError where its inputs are others than before it began."""
    records = {node.action.name: node.outcome.record for node in nodes if node.outcome and node.outcome.record}
    found = dict(records["model"].discovered)
    now = _inputs(recipe, [*found])
    if now != _with_external(before, found):
        raise LockError(f"what {recipe.name} reads was edited while it was built", "lock it again")
    packages: dict[str, str] = {}
    for node in nodes:
        if node.outcome and node.action.reproducible in _PROMISED:
            packages |= tools(node, node.outcome)
    toolchains = {**now["toolchains"], **({"host": packages} if packages else {})}
    artifacts = {node.action.name: _artifact(node) for node in nodes if not node.action.lazy}
    return LockFile(1, recipe.name, now["builder"], now["settings"], now["inputs"], toolchains, artifacts)


def _with_external(before: dict[str, Any], found: dict[str, str]) -> dict[str, Any]:
    """Return the inputs with the files that were found beside the model when it was brought."""
    model = {**before["inputs"]["model"], **({"external": found} if found else {})}
    return {**before, "inputs": {**before["inputs"], "model": model}}


def _artifact(node: Node) -> Artifact:
    reproducible, outcome = node.action.reproducible, node.outcome
    if outcome is None or outcome.record is None or reproducible not in _PROMISED:
        return Artifact(reproducible)
    parts = outcome.parts
    return Artifact(reproducible, dict(outcome.record.outputs), parts.get("instruction_set"), parts.get("libc"))


def _show(made: LockFile, recipe: Recipe, *, written: bool) -> None:
    output, path = recipe.machine.output, lock_path(recipe.name)
    if output is Output.JSON:
        print(json.dumps(document(made), indent=2, ensure_ascii=False))
    elif output is Output.JSONL:
        print(json.dumps({"kind": "lock", "lock": document(made)}, ensure_ascii=False))
    elif recipe.machine.verbosity is not Verbosity.QUIET:
        counts = [(kind.value, [*made.artifacts.values()]) for kind in Reproducible]
        told = [(word, sum(each.reproducible.value == word for each in every)) for word, every in counts]
        amount = ", ".join(f"{count} {word}" for word, count in told if count)
        print(f"{'written' if written else 'unchanged'}  {path}: {amount}", file=sys.stdout)
