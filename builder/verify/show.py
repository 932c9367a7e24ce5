"""How a verification is told: a line for each action, or one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from builder.outcomes import Verified
from builder.recipe.schema import Machine, Output, Verbosity
from builder.report.lines import INDENT, harmless, name_width, paint
from builder.store.cas import Entry
from builder.verify.judge import FileDifference, Judged, Verification

__all__ = ["document", "show"]

_SHOWN = 5  # changes inside a model that are spelled out
_LAST = 10  # lines of what a failed action printed
_DIGITS = 12  # of a SHA-256


def show(found: Verification, machine: Machine) -> None:
    """Print the verdicts to stdout; quiet, only what is not as it should be."""
    if machine.output is Output.JSON:
        print(json.dumps(document(found), indent=2, ensure_ascii=False))
    elif machine.output is Output.JSONL:
        print(json.dumps({"kind": "verification", "verification": document(found)}, ensure_ascii=False))
    else:
        width = name_width(action.name for action in found.actions)
        for action in found.actions:
            if machine.verbosity is not Verbosity.QUIET or action.verdict in (Verified.DIFFERS, Verified.FAILED):
                print("\n".join(_lines(action, width)))
        _verdict(found)


def document(found: Verification) -> dict[str, Any]:
    """Return a verification as plain data."""
    return {
        "schema": 1,
        "name": found.name,
        "verdict": found.verdict.word,
        "first_built": list(found.built),
        "kept": str(found.kept) if found.kept else None,
        "actions": [_action(action) for action in found.actions],
    }


def _action(action: Judged) -> dict[str, Any]:
    return {
        "name": action.name,
        "step": action.step,
        "reproducible": action.reproducible.value,
        "key": action.key or None,
        "verdict": action.verdict.word,
        "reason": action.reason,
        "seconds": action.seconds,
        "differences": [_file(difference) for difference in action.differences],
        "tail": action.tail,
    }


def _file(difference: FileDifference) -> dict[str, Any]:
    return {
        "path": difference.path,
        "first": _entry(difference.first),
        "second": _entry(difference.second),
        "offset": difference.offset,
        "differing_bytes": difference.count,
        "graph": [{"part": each.part, "name": each.name, "what": each.what} for each in difference.graph],
    }


def _entry(entry: Entry | None) -> dict[str, Any] | None:
    return None if entry is None else {"sha256": entry.sha256, "bytes": entry.bytes}


def _lines(action: Judged, width: int) -> Iterator[str]:
    word = paint(f"{action.verdict.word:10}", action.verdict.style, sys.stdout)
    took = f"{action.seconds:.1f} s" if action.seconds is not None else ""
    name, way = action.name, action.reproducible.value
    reason = harmless(action.reason, indent=INDENT)
    yield f"  {word} {name:{width}} {action.key[:8]:8} {way:10} {took:>8}  {reason}".rstrip()
    for difference in action.differences:
        yield from (f"{INDENT}{harmless(line, indent=INDENT)}" for line in _told(difference))
    yield from (f"{INDENT}{paint('|', 'dim', sys.stdout)} {harmless(line)}" for line in _last(action.tail))


def _last(text: str) -> list[str]:
    return text.splitlines()[-_LAST:]


def _told(difference: FileDifference) -> Iterator[str]:
    first, second, path = difference.first, difference.second, difference.path
    if first is None or second is None:
        only, when = (first, "first") if first else (second, "second")
        assert only is not None
        yield f"{path}: written the {when} time only, {_identity(only)}"
        return
    yield f"{path}: {difference.count:,} bytes differ, the first at offset {difference.offset:,}"
    yield f"  first   {_identity(first)}"
    yield f"  second  {_identity(second)}"
    yield from (f"  {change}" for change in difference.graph[:_SHOWN])
    if len(difference.graph) > _SHOWN:
        yield f"  and {len(difference.graph) - _SHOWN} more differences in the graph"


def _identity(entry: Entry) -> str:
    return f"{entry.bytes:,} bytes, sha256 {entry.sha256[:_DIGITS]}"


def _verdict(found: Verification) -> None:
    counts = [(verdict.word, sum(each.verdict is verdict for each in found.actions)) for verdict in Verified]
    words = ", ".join(f"{count} {word}" for word, count in counts if count)
    if found.kept:
        print(f"kept    {found.kept}/ACTION/first and {found.kept}/ACTION/second")
    elif found.verdict is Verified.DIFFERS:
        print(f"  {paint('hint', 'cyan', sys.stdout)}: keep=DIR keeps both copies of what differs, side by side")
    print(f"{paint(found.verdict.word, found.verdict.style, sys.stdout)}  {found.name}: {words}")
