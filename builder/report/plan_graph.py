"""The plan as a drawing: a tree in plain text, or a graph for Mermaid and Graphviz. An action of many builds is one."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from builder.outcomes import Status
from builder.plan.report import WORDS, Planned
from builder.report.lines import harmless

__all__ = ["dot", "mermaid", "text"]

_WIDTH = 100  # columns of the tree
_HEAD = 44  # columns of it for branches and names
_RAILS = 30  # columns of that for branches
_LABEL, _LABEL_LINES = 32, 3  # of a reason inside a box

# Colours that read on white and on black paper: fill, line.
_COLOURS = {
    Status.BUILT: ("#d9f2df", "#1a7f37"),
    Status.CACHED: ("#eceff2", "#6b7785"),
    Status.DEFERRED: ("#fdf0cd", "#9a6700"),
    Status.SKIPPED: ("#ffffff", "#6b7785"),
    Status.FAILED: ("#fde0dd", "#c22f27"),
}


@dataclass
class _Node:
    """An action, with the names and the builds that it has."""

    planned: Planned
    inputs: dict[str, _Node]
    names: list[str] = field(default_factory=list)
    builds: list[int] = field(default_factory=list)
    label: str = ""
    id: str = ""


def text(
    plans: Sequence[Sequence[Planned]],
    titles: Sequence[str],
    paint: Callable[[str, str], str] = lambda words, _style: words,
) -> str:
    """Return a tree, at most 100 columns wide: an action stands under the last of its inputs, and names them all."""
    nodes = _join(plans)
    below: dict[str, list[_Node]] = {"": [], **{node.id: [] for node in nodes}}
    order = {node.id: index for index, node in enumerate(nodes)}
    for node in nodes:
        parents = sorted((source.id for source in node.inputs.values()), key=order.__getitem__)
        below[parents[-1] if parents else ""].append(node)
    rows = list(_rows(below))
    column = min(max((len(head) for head, _, _ in rows), default=0), _HEAD) + 2
    lines = [line for title in titles for line in textwrap.wrap(harmless(title), _WIDTH, subsequent_indent="    ")]
    for head, rails, node in rows:
        lines += _entry(head, rails, node, column, paint)
    return "\n".join(lines)


def mermaid(plans: Sequence[Sequence[Planned]], titles: Sequence[str]) -> str:
    """Return a flowchart (mermaid.js.org/syntax/flowchart.html)."""
    shapes = {
        Status.BUILT: ("[", "]"), Status.CACHED: ("([", "])"),
        Status.DEFERRED: ("{{", "}}"), Status.FAILED: ("[[", "]]"), Status.SKIPPED: ("[/", "/]"),
    }  # fmt: skip
    lines = ["---", f"title: {json.dumps('; '.join(titles))}", "---", "flowchart LR"]
    for node in _join(plans):
        left, right = shapes[node.planned.status]
        label = "<br/>".join(_mermaid_words(line) for line in _label(node))
        lines.append(f'  {node.id}{left}"{label}"{right}:::{WORDS[node.planned.status]}')
        arrow = "-.->" if node.planned.status is Status.DEFERRED else "-->"
        lines += [f'  {source.id} {arrow}|"{_mermaid_words(port)}"| {node.id}' for port, source in node.inputs.items()]
    for status, (fill, line) in _COLOURS.items():
        dashes = ",stroke-dasharray:5 4" if status is Status.DEFERRED else ""
        lines.append(f"  classDef {WORDS[status]} fill:{fill},stroke:{line},color:#1b1f24{dashes}")
    return "\n".join(lines)


def dot(plans: Sequence[Sequence[Planned]], titles: Sequence[str]) -> str:
    """Return a digraph (graphviz.org/doc/info/lang.html)."""
    shapes = {
        Status.BUILT: "shape=box", Status.CACHED: 'shape=box, style="filled,rounded"',
        Status.DEFERRED: 'shape=hexagon, style="filled,dashed"', Status.FAILED: "shape=box, peripheries=2",
        Status.SKIPPED: 'shape=box, style="filled,dotted"',
    }  # fmt: skip
    lines = [
        "digraph plan {",
        f'  graph [rankdir=LR, labelloc=t, fontname="sans-serif", fontsize=11, label="{_dot_lines(titles)}"];',
        '  node [fontname="sans-serif", fontsize=11, style=filled, fontcolor="#1b1f24"];',
        '  edge [fontname="sans-serif", fontsize=9, color="#6b7785", fontcolor="#57606a"];',
    ]
    for node in _join(plans):
        planned = node.planned
        fill, line = _COLOURS[planned.status]
        about = f'class={WORDS[planned.status]}, tooltip="{_dot_words(planned.reason or planned.word)}"'
        look = f'{shapes[planned.status]}, fillcolor="{fill}", color="{line}"'
        lines.append(f'  {node.id} [label="{_dot_lines(_label(node))}", {about}, {look}];')
        dashes = ", style=dashed" if planned.status is Status.DEFERRED else ""
        for port, source in node.inputs.items():
            lines.append(f'  {source.id} -> {node.id} [label="{_dot_words(port)}"{dashes}];')
    return "\n".join([*lines, "}"])


def _join(plans: Sequence[Sequence[Planned]]) -> list[_Node]:
    """Return every action once: what has one key, or no key yet but the same step, options and inputs, is one."""
    nodes: dict[object, _Node] = {}
    for build, planned in enumerate(plans):
        mine: dict[str, _Node] = {}
        for each in planned:
            action = each.decision.action
            inputs = {port: mine[name] for port, (name, _) in action.inputs.items()}
            same = (action.step.name, action.options, action.model, action.data, action.target, action.on_host)
            wiring = [(port, name[1], inputs[port].id) for port, name in action.inputs.items()]
            node = nodes.setdefault(each.decision.key or repr((same, wiring)), _Node(each, inputs))
            node.id = node.id or f"n{len(nodes) - 1}"
            node.names += [action.name] if action.name not in node.names else []
            node.builds += [build] if build not in node.builds else []
            mine[action.name] = node
    for node in nodes.values():
        where = f" [{_ranges(node.builds)}]" if len(node.builds) < len(plans) else ""
        node.label = ", ".join(node.names) + where
    return list(nodes.values())


def _ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers in short: `0,2-4`."""
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def _rows(below: dict[str, list[_Node]]) -> Iterator[tuple[str, str, _Node]]:
    """Yield (branches and name, branches of further lines, node) from top to bottom."""
    stack = [(node, "", "") for node in reversed(below[""])]
    while stack:
        node, branch, rails = stack.pop()
        inner = below[node.id]
        yield f"{branch}{node.planned.status.symbol} {node.label}", rails + ("|" if inner else ""), node
        rails = rails if len(rails) < _RAILS else f"...{rails[6:]}"
        last = len(inner) - 1
        for index in range(last, -1, -1):
            corner, rail = ("`- ", "   ") if index == last else ("|- ", "|  ")
            stack.append((inner[index], rails + corner, rails + rail))


def _entry(head: str, rails: str, node: _Node, column: int, paint: Callable[[str, str], str]) -> Iterator[str]:
    """Yield the lines of one action; what does not fit beside its name stands below."""
    planned = node.planned
    word = paint(f"{planned.word:9}", planned.status.style)
    inputs = ", ".join(f"{port}={source.label}" for port, source in node.inputs.items())
    words = harmless("  <- ".join(part for part in (inputs, planned.reason) if part)).replace("\n", " ")
    parts = textwrap.wrap(words, _WIDTH - column - 10) or [""]
    if len(head) > column - 2:
        yield from textwrap.wrap(head, _WIDTH, subsequent_indent=f"{rails} ")
        head = rails
    yield f"{head:{column}}{word} {parts[0]}".rstrip()
    for part in parts[1:]:
        yield f"{rails:{column + 10}}{part}"


def _label(node: _Node) -> list[str]:
    planned = node.planned
    reason = textwrap.wrap(planned.reason, _LABEL, max_lines=_LABEL_LINES, placeholder=" ...")
    return [node.label, f"{planned.word} {planned.decision.key[:8]}".rstrip(), *reason]


def _mermaid_words(words: str) -> str:
    """Return words for inside quotes: what is no letter, digit or plain punctuation as an entity code."""
    return "".join(c if c.isalnum() or c in " .,:;_-+=@/()[]" else f"#{ord(c)};" for c in harmless(words))


def _dot_lines(lines: Sequence[str]) -> str:
    return "\\n".join(_dot_words(line) for line in lines)


def _dot_words(words: str) -> str:
    return harmless(words).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
