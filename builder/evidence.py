"""What a build measured and made, for its limits and its report, and what of it still waits for a device."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from builder.engine.node import Node
from builder.gates import Evidence
from builder.outcomes import Status
from builder.report.manifest import Delivered
from builder.step import Kind
from builder.store.cas import Tree
from builder.store.store import Store

__all__ = ["PLACES", "find_evidence"]

PLACES = {
    Kind.ONNX: "artifacts",
    Kind.ENGINE: "artifacts",
    Kind.OPENVINO: "artifacts",
    Kind.EVALUATION: "measurements",
    Kind.MEASUREMENT: "measurements",
    Kind.CONVERSION: "measurements",
    Kind.PARSER: "measurements",
    Kind.SECTION: "measurements",
}  # where what people open lies in a build's folder


def find_evidence(nodes: Sequence[Node], delivered: Delivered, store: Store) -> Evidence:
    """Return what a build's limits are judged by, and what is still to come of it. Raises Damaged."""
    kinds = {(node.action.name, port): kind for node in nodes for port, kind in node.action.step.outputs.items()}
    on_host = {node.action.name for node in nodes if node.action.on_host}

    def documents(kind: Kind, name: str) -> dict[str, dict[str, Any]]:
        found = {place[0]: tree for place, (_, tree) in delivered.items() if kinds[place] is kind}
        return {action: _document(store, tree, name) for action, tree in found.items()}

    sizes = {
        action: _shipped_bytes(kinds[action, port], tree)
        for (action, port), (path, tree) in delivered.items()
        if path and path.startswith("artifacts/")
    }
    makers = [node for node in nodes if _makes_artifacts(node) and not _waits(node)]
    highest = max((node.action.step.rank for node in makers), default=0)
    measurements = documents(Kind.MEASUREMENT, "measurement.json")
    return Evidence(
        evaluations=documents(Kind.EVALUATION, "evaluation.json"),
        measurements={name: found for name, found in measurements.items() if name not in on_host},
        elsewhere={name: found for name, found in measurements.items() if name in on_host},
        sizes=sizes,
        finals=[node.action.name for node in makers if node.action.step.rank == highest],
        conversions=documents(Kind.CONVERSION, "conversion.json"),
        sections=documents(Kind.SECTION, "section.json"),
        waiting=_waiting(nodes),
        awaited={node.action.name: node.action.target.name for node in _awaited(nodes)},
        lost={node.action.name: why for node in nodes if (why := _why_lost(node))},
        unmade={node.action.name: node.action.target.name for node in nodes if _makes_artifacts(node) and _waits(node)},
    )


def _shipped_bytes(kind: Kind, tree: Tree) -> int:
    """Return the size of what is loaded: of an engine, not of what its building left beside it."""
    return sum(entry.bytes for entry in tree.files if kind is not Kind.ENGINE or entry.path == "engine.plan")


def _waiting(nodes: Sequence[Node]) -> str:
    """Return why the measurement on the target is deferred, or ''."""
    there = [node.outcome for node in nodes if Kind.MEASUREMENT in node.action.step.outputs.values()]
    return next((outcome.reason for outcome in there if outcome and outcome.status is Status.DEFERRED), "")


def _awaited(nodes: Sequence[Node]) -> list[Node]:
    """Return the evaluations that are still to come."""
    return [node for node in nodes if _evaluates(node) and _waits(node)]


def _why_lost(node: Node) -> str:
    """Say why an evaluation did not come, or ''."""
    return _status(node).word if _evaluates(node) and _status(node) in (Status.FAILED, Status.SKIPPED) else ""


def _evaluates(node: Node) -> bool:
    return Kind.EVALUATION in node.action.step.outputs.values()


def _waits(node: Node) -> bool:
    return _status(node) is Status.DEFERRED


def _makes_artifacts(node: Node) -> bool:
    step = node.action.step
    return step.rank > 0 and any(PLACES.get(kind) == "artifacts" for kind in step.outputs.values())


def _status(node: Node) -> Status:
    assert node.outcome is not None
    return node.outcome.status


def _document(store: Store, tree: Tree, name: str) -> dict[str, Any]:
    entry = next(entry for entry in tree.files if entry.path == name)
    document: dict[str, Any] = json.loads(store.content.read(entry))
    return document
