"""`check`: a recipe against its target, its options and its model's operators, types and shapes; nothing is built.

Only the model is brought, and exported where it is not ONNX, since its bytes are looked at.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from builder.build import interruptible
from builder.engine.events import Event, Events
from builder.engine.jobs import default_jobs
from builder.engine.node import Node
from builder.engine.schedule import Engine
from builder.errors import UsageError
from builder.outcomes import ExitCode
from builder.plan.action import Action
from builder.plan.companions import checked
from builder.plan.decide import Planner
from builder.plan.facts import Facts
from builder.plan.fits import check_options
from builder.plan.graph import graph
from builder.recipe.compose import compose
from builder.recipe.schema import Output, Recipe, Verbosity
from builder.report.lines import INDENT, harmless, paint
from builder.report.terminal import Terminal
from builder.store.statcache import StatCache
from builder.store.store import Store, store_folder
from builder.targets.step import CHECK

__all__ = ["check", "check_recipe"]

HELP = """\
usage: python -m builder check recipe=NAME [overrides]

  Says whether the target can do what the recipe and its model ask for: options, precisions, operators, types, shapes,
  opset and memory, node by node, with the nearest thing that works. A build looks at the same before its first step.
  Exits 0 where it fits and 2 where it does not. output=json prints the verdict on each node.\
"""
_STYLES = {"error": "red", "warning": "yellow"}


def check(arguments: list[str]) -> int:
    """Run `check recipe=NAME [overrides]`: 0 where the recipe fits its target, 2 where it does not.

    Raises UsageError or RecipeError for what cannot be planned, SourceError and others where the model cannot be had.
    """
    if {"-h", "--help"} & set(arguments):
        print(HELP)
        return ExitCode.OK
    for word in arguments:
        if word.startswith("-"):
            raise UsageError(f"check has no option '{word}'", "write: check recipe=NAME [overrides]")
    recipe = compose(arguments)
    terminal = Terminal(results=False, verbosity=recipe.machine.verbosity)
    with closing(terminal):
        events = Events(lambda event: terminal(event) if event.action != CHECK else None)
        for note in recipe.notes:
            events(Event("note", message=note))
        document = check_recipe(recipe, events)
    _show(document, recipe)
    return ExitCode.OK if document["fits"] else ExitCode.USAGE


def check_recipe(recipe: Recipe, events: Events) -> dict[str, Any]:
    """Return what check.json says of a recipe's model, with the findings on its options before the others.

    Raises SourceError, ModelError and what else an export raises where the model cannot be had.
    """
    actions = graph(recipe)
    options = check_options(actions)
    if all(action.name != CHECK for action in actions):  # whatever host it is, builds find out by themselves
        actions.append(checked(recipe, actions)[0])
    with closing(StatCache()) as stats, interruptible(), ExitStack() as stack:
        store = Store(store_folder(recipe.machine.store), stats, lambda text: events(Event("warning", message=text)))
        stack.enter_context(store.using())
        nodes = _nodes(recipe, actions)
        engine = Engine(
            store,
            Planner(store, Facts(stats), Path("outputs"), recipe.machine.fresh or ()),
            events,
            lambda: stack.enter_context(store.workshop()),
            jobs=recipe.machine.jobs or default_jobs(),
            offline=recipe.machine.offline,
        )
        engine.run(nodes)
        document = _document(store, nodes)
    words = ("severity", "rule", "node", "message", "hint")
    found = [
        dict(zip(words, (each.severity.value, each.code, each.node, each.message, each.hint), strict=True))
        for each in options
    ]
    return {
        **document,
        "name": recipe.name,
        "fits": document["fits"] and all(each["severity"] != "error" for each in found),
        "findings": found + document["findings"],
    }


def _nodes(recipe: Recipe, actions: Sequence[Action]) -> list[Node]:
    """Return the check and what it takes from, with their toolchains."""
    named, wanted = {action.name: action for action in actions}, [CHECK]
    for name in wanted:
        action = named[name]
        sources = [*(source for source, _ in action.inputs.values()), *filter(None, [action.toolchain])]
        wanted += [source for source in sources if source not in wanted]
    nodes: dict[str, Node] = {}
    for action in (action for action in actions if action.name in wanted):
        inputs = {port: nodes[source] for port, (source, _) in action.inputs.items()}
        nodes[action.name] = Node(recipe.name, recipe.name, action, inputs, toolchain=nodes.get(action.toolchain))
    return list(nodes.values())


def _document(store: Store, nodes: Sequence[Node]) -> dict[str, Any]:
    for node in nodes:
        if node.outcome and node.outcome.error:
            raise node.outcome.error
    outcome = nodes[-1].outcome
    assert outcome is not None
    assert outcome.record is not None
    [entry] = store.content.tree(outcome.record.outputs["check"]).files
    document: dict[str, Any] = json.loads(store.content.read(entry))
    return document


def _show(document: dict[str, Any], recipe: Recipe) -> None:
    machine = recipe.machine
    if machine.output is Output.JSON:
        print(json.dumps(document, indent=2, ensure_ascii=False))
    elif machine.output is Output.JSONL:
        print(json.dumps({"kind": "check", "check": document}, ensure_ascii=False))
    else:
        quiet = machine.verbosity is Verbosity.QUIET
        shown = [each for each in document["findings"] if not quiet or each["severity"] == "error"]
        print("\n".join(line for finding in shown for line in _lines(finding)), end="\n" if shown else "")
        print(harmless(_verdict(document)))


def _lines(finding: dict[str, str]) -> Iterator[str]:
    word = paint(f"{finding['severity']:9}", _STYLES[finding["severity"]], sys.stdout)
    yield f"  {word} {harmless(finding['node'], indent=INDENT)}: {harmless(finding['message'], indent=INDENT)}"
    if finding["hint"]:
        yield f"  {'':9} {harmless(finding['hint'], indent=INDENT)}"


def _verdict(document: dict[str, Any]) -> str:
    counts = {word: sum(each["severity"] == word for each in document["findings"]) for word in _STYLES}
    words = [f"{count} {word}{'s' if count > 1 else ''}" for word, count in counts.items() if count]
    fits = "fits" if document["fits"] else "does not fit"
    nodes = ", ".join([f"{len(document['nodes']):,} nodes", *words])
    runtime = f"{document['runtime']} {document['runtime_versions']}".strip()
    return f"{document['name']} {fits} {document['target']}: {nodes}; {runtime}"
