"""How a plan is printed: for people, as JSON, or as a drawing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from builder.errors import UsageError, did_you_mean
from builder.locking.guard import drift_ahead
from builder.outcomes import ExitCode, Status
from builder.plan.action import first_alone
from builder.plan.report import WORDS, Planned, plan_all
from builder.recipe.schema import Output, Recipe, Verbosity
from builder.report.lines import INDENT, harmless, name_width, paint

__all__ = ["drawing", "show_plans"]

Drawing = Callable[[Sequence[Sequence[Planned]], Sequence[str]], str]


def drawing(kind: str) -> Drawing:
    """Return what draws plans under their titles: text (also for ''), mermaid or dot. Raises UsageError for others."""
    from builder.report.plan_graph import dot, mermaid, text

    drawings: dict[str, Drawing] = {
        "text": lambda plans, titles: text(plans, titles, lambda words, style: paint(words, style, sys.stdout)),
        "mermaid": mermaid,
        "dot": dot,
    }
    if (kind or "text") not in drawings:
        raise UsageError(f"--graph: there is no drawing '{kind}'", did_you_mean(kind, drawings))
    return drawings[kind or "text"]


def show_plans(recipes: Sequence[Recipe], numbers: Sequence[int], *, sweep: bool, draw: Drawing | None = None) -> int:
    """Print what each recipe would do; `numbers` are their places in a sweep, for drawings.

    Returns 1 where a build would fail: a file cannot be had, a device failed.
    """
    machine = recipes[0].machine
    if draw and machine.output is not Output.TEXT:
        raise UsageError(f"--graph draws and output={machine.output.value} lists", "leave one of them out")
    drifts = [drift_ahead(recipe, _warn) for recipe in recipes]
    plans = plan_all(recipes, _warn)
    if draw:
        print(draw(plans, _titles(recipes, numbers)))
    elif machine.output is Output.TEXT:
        for recipe, planned, drift in zip(recipes, plans, drifts, strict=True):
            _show(recipe, planned, machine.verbosity)
            for words in drift:
                print(f"  {paint('drift    ', 'yellow', sys.stdout)} {harmless(words)}")
    else:
        documents = [_document(*each) for each in zip(recipes, plans, drifts, strict=True)]
        _print_json(documents, machine.output, sweep=sweep)
    failed = any(each.broken for planned in plans for each in planned)
    return ExitCode.FAILED if failed else ExitCode.OK


def _warn(words: str) -> None:
    print(f"{paint('warning', 'yellow', sys.stderr)}: {harmless(words)}", file=sys.stderr)


def _titles(recipes: Sequence[Recipe], numbers: Sequence[int]) -> list[str]:
    """Return what a drawing shows; in a sweep the number of each build, and the overrides that set it apart."""
    if len(recipes) == 1:
        return [_title(recipes[0])]
    common = set.intersection(*(set(recipe.overrides) for recipe in recipes))
    return [
        f"[{number}] {_title(recipe)}  {' '.join(each for each in recipe.overrides if each not in common)}".rstrip()
        for number, recipe in zip(numbers, recipes, strict=True)
    ]


def _title(recipe: Recipe) -> str:
    return f"{recipe.name}  {recipe.model.name} -> {recipe.target.name} ({recipe.target.runtime})"


def _show(recipe: Recipe, planned: Sequence[Planned], verbosity: Verbosity) -> None:
    """Print a plan: quiet, only its counts and what cannot be read; verbose, with whole keys."""
    quiet = verbosity is Verbosity.QUIET
    digits = 64 if verbosity is Verbosity.VERBOSE else 8
    if not quiet:
        print(harmless(_title(recipe)))
    width = name_width(each.decision.action.name for each in planned)
    for each in planned:
        if quiet and not each.broken:
            continue
        decision = each.decision
        word = paint(f"{each.word:9}", each.status.style, sys.stdout)
        inputs = ", ".join(f"{port}={source}" for port, (source, _) in decision.action.inputs.items())
        line = f"  {word} {decision.action.name:{width}} {decision.key[:digits]:{digits}}  {inputs}"
        print(f"{line}{'  <- ' if each.reason else ''}{harmless(each.reason, indent=INDENT)}".rstrip())
    waits = any(each.portable for each in planned)
    if not quiet and waits and (note := first_alone(each.decision.action for each in planned)):
        print(f"  {paint('note     ', 'yellow', sys.stdout)} {harmless(note, indent=INDENT)}")
    told = [each.word for each in planned]
    counts = [(word, told.count(word)) for word in (*WORDS.values(), Status.FAILED.word)]
    words = ", ".join(f"{count} {word}" for word, count in counts if count)
    print(f"{recipe.name}: {words}" if quiet else words)


def _print_json(documents: Sequence[dict[str, Any]], output: Output, *, sweep: bool) -> None:
    if output is Output.JSONL:
        for document in documents:
            print(json.dumps(document))
    else:
        print(json.dumps(documents if sweep else documents[0], indent=2))


def _document(recipe: Recipe, planned: Sequence[Planned], drift: Sequence[str]) -> dict[str, Any]:
    return {"name": recipe.name, "actions": [_action(each) for each in planned], "drift": [*drift]}


def _action(each: Planned) -> dict[str, Any]:
    decision = each.decision
    return {
        "name": decision.action.name,
        "step": decision.action.step.name,
        "status": each.word,
        "key": decision.key or None,
        "inputs": {port: source for port, (source, _) in decision.action.inputs.items()},
        "why": [{"reason": why.reason.value, "detail": why.detail} for why in decision.why],
        "message": each.reason,
    }
