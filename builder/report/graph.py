"""The plan as a drawing: columns by depth from left to right, lanes above for inputs that skip columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Drawing", "draw"]

WIDTH, HEIGHT = 172, 76  # of a box
GAP_X, GAP_Y = 46, 22
LANE, MARGIN, CORNER = 16, 6, 7

MODEL, DATA = "model", "data"
_MODEL_PORTS = ("model", "reference", "baseline")


@dataclass
class Box:
    """An action, or a source where `action` is None; `x` and `y` are its upper left corner."""

    name: str
    action: Mapping[str, Any] | None
    column: int
    x: float = 0
    y: float = 0
    bytes: int | None = None  # of the model or engine that it made


@dataclass
class Wire:
    """A path from one box to another; `state` is that of the action that takes the input."""

    start: str
    end: str
    port: str
    state: str
    path: str = ""


@dataclass
class Drawing:
    width: float
    height: float
    boxes: list[Box]
    wires: list[Wire]


@dataclass
class _Graph:
    boxes: dict[str, Box] = field(default_factory=dict)
    wires: list[Wire] = field(default_factory=list)


def draw(manifest: Mapping[str, Any], model: str, data: str) -> Drawing:
    """Return where every box and wire of a build goes; `model` and `data` name the sources."""
    graph = _connect(manifest["actions"], model, data)
    rows = _rows(graph)
    lanes = _lanes(graph)
    top = MARGIN + LANE * len(lanes["above"])
    tallest = max((len(column) for column in rows), default=0)
    inner = tallest * (HEIGHT + GAP_Y) - GAP_Y
    for number, column in enumerate(rows):
        offset = (inner - len(column) * (HEIGHT + GAP_Y) + GAP_Y) / 2
        for row, box in enumerate(column):
            box.x = MARGIN + number * (WIDTH + GAP_X)
            box.y = top + offset + row * (HEIGHT + GAP_Y)
    for wire in graph.wires:
        wire.path = _path(graph, wire, lanes, top + inner)
    width = 2 * MARGIN + len(rows) * (WIDTH + GAP_X) - GAP_X
    height = top + inner + LANE * len(lanes["below"]) + MARGIN
    return Drawing(width, height, list(graph.boxes.values()), graph.wires)


def _connect(actions: list[dict[str, Any]], model: str, data: str) -> _Graph:
    """Find who feeds whom: by name where the manifest says so, else by content."""
    graph = _Graph()
    makers: dict[str, str] = {}
    for action in actions:
        feeds: dict[str, str] = {}
        for port in {**action["inputs"], **action.get("sources", {})}:
            source = action.get("sources", {}).get(port) or makers.get(action["inputs"].get(port, ""), "")
            if source not in graph.boxes or graph.boxes[source].action is None:
                source = f"source:{MODEL if port in _MODEL_PORTS else DATA}"
                label = model if port in _MODEL_PORTS else data
                graph.boxes.setdefault(source, Box(label, None, 0))
            feeds[port] = source
        depth = max((graph.boxes[source].column for source in feeds.values()), default=0)
        made = [each["bytes"] for port, each in action["outputs"].items() if port in ("model", "engine")]
        box = Box(action["name"], action, depth + 1, bytes=sum(made) if made else None)
        graph.boxes[action["name"]] = box
        graph.wires += [Wire(source, action["name"], port, action["status"]) for port, source in feeds.items()]
        makers.update({each["sha256"]: action["name"] for each in action["outputs"].values()})
    return graph


def _rows(graph: _Graph) -> list[list[Box]]:
    last = max((box.column for box in graph.boxes.values()), default=0)
    columns: list[list[Box]] = [[] for _ in range(last + 1)]
    for box in sorted(graph.boxes.values(), key=lambda box: box.action is not None):
        columns[box.column].append(box)
    return [column for column in columns if column]


def _lanes(graph: _Graph) -> dict[str, list[str]]:
    """Give each box whose output skips a column a lane of its own: data below, everything else above."""
    lanes: dict[str, list[str]] = {"above": [], "below": []}
    for wire in graph.wires:
        start, end = graph.boxes[wire.start], graph.boxes[wire.end]
        if end.column - start.column < 2:
            continue
        side = lanes[_side(wire)]
        if wire.start not in side:
            side.append(wire.start)
    return lanes


def _side(wire: Wire) -> str:
    return "below" if wire.start == f"source:{DATA}" else "above"


def _path(graph: _Graph, wire: Wire, lanes: Mapping[str, list[str]], bottom: float) -> str:
    start, end = graph.boxes[wire.start], graph.boxes[wire.end]
    x1, y1 = start.x + WIDTH, start.y + HEIGHT / 2
    x2, y2 = end.x, end.y + HEIGHT / 2
    if end.column - start.column < 2:
        middle = (x1 + x2) / 2
        return f"M{x1:g},{y1:g} C{middle:g},{y1:g} {middle:g},{y2:g} {x2:g},{y2:g}"
    side = _side(wire)
    index = lanes[side].index(wire.start)
    lane = MARGIN + LANE * index if side == "above" else bottom + LANE * (index + 1)
    turn = CORNER if lane > y1 else -CORNER
    out, into = x1 + 10 + 5 * index, x2 - 20 - 5 * index - (6 if side == "below" else 0)
    entry = y2 + (10 if side == "below" else -10)
    back = CORNER if entry > lane else -CORNER
    return (
        f"M{x1:g},{y1:g} H{out - CORNER:g} Q{out:g},{y1:g} {out:g},{y1 + turn:g}"
        f" V{lane - turn:g} Q{out:g},{lane:g} {out + CORNER:g},{lane:g}"
        f" H{into - CORNER:g} Q{into:g},{lane:g} {into:g},{lane + back:g}"
        f" V{entry - back:g} Q{into:g},{entry:g} {into + CORNER:g},{entry:g} H{x2:g}"
    )
