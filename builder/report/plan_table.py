"""How a plan is printed: for people, or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from builder.outcomes import ExitCode, Status
from builder.plan.report import Planned, plan
from builder.recipe.schema import Output, Recipe
from builder.report.terminal import paint

__all__ = ["show_plans"]

_WORDS = {
    Status.BUILT: ("run", "green"),
    Status.CACHED: ("cached", "dim"),
    Status.DEFERRED: ("deferred", "yellow"),
    Status.FAILED: ("cannot", "red"),
}


def show_plans(recipes: Sequence[Recipe], *, sweep: bool) -> int:
    """Print what each recipe would do. Returns 1 where a file that a recipe names cannot be read."""
    failed = False
    documents = []
    for recipe in recipes:
        planned = plan(recipe, lambda text: print(f"{paint('warning', 'yellow', sys.stderr)}: {text}", file=sys.stderr))
        failed = failed or any(each.error for each in planned)
        document = {"name": recipe.name, "actions": [_document(each) for each in planned]}
        if recipe.machine.output is Output.TEXT:
            _show(recipe, planned)
        elif recipe.machine.output is Output.JSONL:
            print(json.dumps(document))
        else:
            documents.append(document)
    if documents:
        print(json.dumps(documents if sweep else documents[0], indent=2))
    return ExitCode.FAILED if failed else ExitCode.OK


def _show(recipe: Recipe, planned: Sequence[Planned]) -> None:
    print(f"{recipe.name}  {recipe.model.name} -> {recipe.target.name} ({recipe.target.runtime})")
    for each in planned:
        word, style = _WORDS[each.status]
        decision = each.decision
        inputs = ", ".join(f"{port}={source}" for port, (source, _) in decision.action.inputs.items())
        line = f"  {paint(f'{word:9}', style, sys.stdout)} {decision.action.name:16} {decision.key[:8]:8}  {inputs}"
        print(f"{line}{'  <- ' if each.reason else ''}{each.reason}".rstrip())
    counts = [(word, sum(each.status is status for each in planned)) for status, (word, _) in _WORDS.items()]
    print(", ".join(f"{count} {word}" for word, count in counts if count))


def _document(each: Planned) -> dict[str, Any]:
    decision = each.decision
    return {
        "name": decision.action.name,
        "step": decision.action.step.name,
        "status": _WORDS[each.status][0],
        "key": decision.key or None,
        "inputs": {port: source for port, (source, _) in decision.action.inputs.items()},
        "why": [{"reason": why.reason.value, "detail": why.detail} for why in decision.why],
        "message": each.reason,
    }
