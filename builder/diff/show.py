"""How a comparison is printed: for people, or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from builder.diff.actions import ActionChange
from builder.diff.changes import Change, How
from builder.diff.compare import Comparison
from builder.diff.files import FileChange
from builder.diff.graphs import GraphChange
from builder.diff.naming import Build
from builder.diff.numbers import NumberChange
from builder.diff.words import arrow, byte_size, number_arrow, readable, visible
from builder.plan.why import in_words
from builder.report.lines import name_width, paint
from builder.typed import to_plain

__all__ = ["show_json", "show_text"]

_STYLES = {How.ADDED: "green", How.REMOVED: "red", How.CHANGED: "yellow", How.RENAMED: "dim"}
Line = tuple[str, str, str]  # a word, its style, and what it is about


def show_json(comparison: Comparison) -> None:
    """Print a comparison as one JSON document; `a` and `b` are the two builds."""
    document = {
        "schema": 1,
        "a": _build(comparison.old),
        "b": _build(comparison.new),
        **{name: to_plain(value) for name, value in vars(comparison).items() if name not in ("old", "new")},
    }
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _build(build: Build) -> dict[str, Any]:
    told = ("name", "status", "created", "command", "builder", "sha256")
    return {"label": build.label, "folder": str(build.folder), **{name: build.manifest[name] for name in told}}


def show_text(comparison: Comparison) -> None:
    """Print what differs, section by section, then how much is the same and the verdict."""
    print(visible(f"{comparison.old.label} -> {comparison.new.label}"))
    for title, lines in _sections(comparison):
        if lines:
            print(paint(title, "bold", sys.stdout))
        for word, style, text in lines:
            print(f"  {paint(f'{word:9}', style, sys.stdout)} {visible(text)}".rstrip())
    same = (_count(comparison.same_actions, "action"), _count(comparison.same_artifacts, "artifact"))
    print(f"the same: {', '.join(same)}")
    if comparison.equal:
        print(f"{paint('equal', 'green', sys.stdout)}  every status, and every byte of artifacts and evaluations")
    else:
        print(f"{paint('differs', 'yellow', sys.stdout)}  {_verdict(comparison)}")


def _sections(comparison: Comparison) -> Iterator[tuple[str, Sequence[Line]]]:
    yield "recipe", [_change(change) for change in comparison.recipe]
    yield "gates", [_change(change) for change in comparison.gates]
    width = name_width(change.name for change in comparison.actions)
    yield "actions", [line for change in comparison.actions for line in _action(change, width)]
    yield "tools", [_change(change) for change in comparison.tools]
    yield "host", [_change(change) for change in comparison.host]
    yield "bytes", [_file(change) for change in comparison.files]
    graphs = [(change.path, change.graph) for change in comparison.files if change.graph]
    yield "graph", [line for path, graph in graphs for line in _graph(path, graph)]
    notes = [("note", "yellow", note) for note in comparison.notes]
    yield "numbers", [*(_number(change) for change in comparison.numbers), *notes]


def _change(change: Change) -> Line:
    if change.how is How.CHANGED:
        text = arrow(change.old, change.new)
    else:
        text = readable(change.new if change.how is How.ADDED else change.old)
    return change.how.value, _STYLES[change.how], f"{change.name}  {text}"


def _action(change: ActionChange, width: int) -> Iterator[Line]:
    keys = [arrow((change.old_key or "no key")[:8], (change.new_key or "no key")[:8])] if _rekeyed(change) else []
    status = [arrow(change.old_status, change.new_status)] if _turned(change) else []
    made = ["it made the same bytes"] if change.why and change.same_outputs else []
    was = [f"was {change.was}"] if change.was != change.name else []
    told = [part for part in (*was, *status, in_words(change.why), *made) if part]
    first, *notes = ["; ".join(told), *change.notes] if told else change.notes or [""]
    yield change.how.value, _STYLES[change.how], "  ".join([f"{change.name:{width}}", *keys, first]).rstrip()
    for note in notes:
        yield "", "dim", f"{'':{width}}  {note}"


def _rekeyed(change: ActionChange) -> bool:
    return change.how is How.CHANGED and change.old_key != change.new_key


def _turned(change: ActionChange) -> bool:
    """Say whether an action ended in another way; built and cached is the same way."""
    old, new = ({"cached": "built"}.get(str(status), status) for status in (change.old_status, change.new_status))
    return change.how is How.CHANGED and old != new


def _file(change: FileChange) -> Line:
    if change.old is None or change.new is None:
        version = change.new or change.old
        size = f"{version.bytes:,} bytes" if version else ""
        return change.how.value, _STYLES[change.how], f"{change.path}  {size}"
    digests = f"{change.old.sha256[:8]} -> {change.new.sha256[:8]}"
    words = f"{change.path}  {byte_size(change.old.bytes, change.new.bytes)}  {digests}"
    if change.bytes:
        words += f"; {change.bytes.count:,} bytes differ, the first at offset {change.bytes.offset:,}"
    elif change.bytes:
        words += "; one is the beginning of the other"
    return "differs", "yellow", f"{words}; {change.note}" if change.note else words


def _graph(path: str, graph: GraphChange) -> Iterator[Line]:
    yield "in", "dim", path
    weights = graph.weights
    for change in (*graph.versions, *graph.interface, *graph.operators):
        yield _change(change)
    for word, style, count in (
        ("added", "green", weights.added),
        ("removed", "red", weights.removed),
        ("changed", "yellow", weights.changed),
    ):
        if count:
            yield word, style, _count(count, "initializer")
    if graph.empty:
        yield "same", "dim", "operators, initializers, inputs, outputs, opsets: only names, attributes or order differ"
    if weights.outside:
        yield "note", "yellow", f"{_count(weights.outside, 'initializer')} in files beside it, compared there as bytes"


def _number(change: NumberChange) -> Line:
    where = f"{change.action}: " if change.action else ""
    text = f"{where}{change.name}  {number_arrow(change.old, change.new, drop=change.name.endswith('drop'))}"
    if change.overlap is not None:
        text += f"; the intervals {'overlap' if change.overlap else 'do not overlap'}"
    return change.how.value, _STYLES[change.how], text


def _verdict(comparison: Comparison) -> str:
    old, new = comparison.old.manifest["status"], comparison.new.manifest["status"]
    status = [] if old == new else [f"{old} -> {new}"]
    found = ((len(comparison.actions), "action"), (len(comparison.files), "artifact"))
    words = [*status, *(_count(count, what) for count, what in found if count)]
    return ", ".join(words) or "gates"


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
