"""manifest.json: what was made, from what, and whether it kept its limits."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from builder import __version__
from builder.digest import digest_json
from builder.engine.node import Node, Outcome
from builder.gates import Verdict
from builder.measure.host import fingerprint
from builder.outcomes import GateStatus, Status
from builder.recipe.schema import Recipe
from builder.store.cas import Tree
from builder.typed import to_plain

__all__ = ["Delivered", "make_manifest", "read_manifest", "same_result", "sealed"]

_TAG = "builder.manifest.v1"

# (action, port) -> where it lies in the build's folder (None: it stays in the store), and what it is
Delivered = Mapping[tuple[str, str], tuple[str | None, Tree]]


def make_manifest(
    recipe: Recipe, nodes: Sequence[Node], delivered: Delivered, verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """Return the manifest of a build whose nodes all have an outcome."""
    return {
        "schema": 1,
        "name": recipe.name,
        "summary": recipe.summary,
        "status": build_status(nodes, verdicts).word,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "builder", *recipe.words]),
        "recipe": recipe.resolved,
        "sha256": digest_json("builder.recipe.v1", recipe.resolved),
        "builder": __version__,
        "host": {"machine": platform.machine(), "system": platform.system(), **fingerprint()},
        "devices": _devices(nodes),
        "target": to_plain(replace(recipe.target, host=None)),
        "actions": [_action(node, delivered) for node in nodes],
        "artifacts": _artifacts(nodes, delivered),
        "gates": [verdict.document() for verdict in verdicts],
        "kit": None,
    }


def _devices(nodes: Sequence[Node]) -> list[dict[str, Any]]:
    """Say which devices made what is no machine's here, and when."""
    found: dict[str, dict[str, Any]] = {}
    for node in nodes:
        if entry := _outcome(node).entry:
            words = {
                "name": entry.name,
                **entry.device,
                "host": dict(entry.host),
                "taken_at": entry.taken_at,
                "actions": [],
            }
            found.setdefault(entry.result, words)["actions"].append(node.action.name)
    return [*found.values()]


def build_status(nodes: Sequence[Node], verdicts: Sequence[Verdict]) -> Status:
    """Return failed if an action failed or a limit is broken or unmeasured, deferred if a part waits, else built."""
    skipped = [node for node in nodes if node.action.optional and _outcome(node).status is Status.SKIPPED]
    statuses = {_outcome(node).status for node in nodes if node not in skipped}
    broken = any(verdict.status in (GateStatus.FAILED, GateStatus.UNMEASURED) for verdict in verdicts)
    if broken or statuses & {Status.FAILED, Status.SKIPPED}:
        return Status.FAILED
    return Status.DEFERRED if Status.DEFERRED in statuses else Status.BUILT


def same_result(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Return whether two manifests tell of one result, whatever was built or cached on the way."""
    return _essence(old) == _essence(new)


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest with its own digest, so that an edit is noticed."""
    return {**manifest, "digest": digest_json(_TAG, manifest)}


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a delivered build without its digest, or None for one that is not as it was written."""
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
        digest = manifest.pop("digest")
        return manifest if digest == digest_json(_TAG, manifest) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _essence(manifest: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("schema", "name", "summary", "status", "recipe", "builder", "artifacts", "gates")
    actions = [
        {name: action.get(name) for name in ("name", "key", "portable", "outputs", "inputs")}
        for action in manifest["actions"]
        if action["step"] != "toolchain"  # looked up only where something ran in it; what did has its lock in the key
    ]
    return {**{name: manifest.get(name) for name in kept}, "actions": actions}


def _outcome(node: Node) -> Outcome:
    assert node.outcome is not None
    return node.outcome


def _action(node: Node, delivered: Delivered) -> dict[str, Any]:
    outcome, step = _outcome(node), node.action.step
    record = outcome.record
    inputs = dict(outcome.parts.get("inputs", {}))
    return {
        "name": node.action.name,
        "step": step.name,
        "status": outcome.status.word,
        "reason": outcome.reason,
        "key": outcome.key or None,
        "portable": node.portable or None,
        "device": outcome.entry.name if outcome.entry else None,
        "inputs": inputs,
        "sources": _sources(node),
        "outputs": {
            port: {"path": path, "sha256": tree.digest, "bytes": tree.bytes}
            for (name, port), (path, tree) in delivered.items()
            if name == node.action.name
        },
        "reproducible": node.action.reproducible.value,
        "toolchain": dict(outcome.parts.get("toolchain", {})),
        "seconds": record.seconds if record else None,
        "measured": record.created if record and node.action.reproducible.value == "measured" else None,
        "facts": dict(record.facts) if record else {},
        "error": outcome.error.message if outcome.error else None,
        "hint": outcome.error.hint if outcome.error else None,
        "log": f"logs/{node.action.name}.log" if node.log else None,
    }


def _sources(node: Node) -> dict[str, str]:
    """Return input port -> action, with the one that put the toolchain together where this build looked at it."""
    found = {port: source for port, (source, _) in node.action.inputs.items()}
    tools = node.toolchain
    return {**found, "toolchain": tools.action.name} if tools and tools.outcome else found


def _artifacts(nodes: Sequence[Node], delivered: Delivered) -> list[dict[str, Any]]:
    steps = {node.action.name: node.action.step for node in nodes}
    return [
        {
            "path": f"{folder}/{entry.path}",
            "sha256": entry.sha256,
            "bytes": entry.bytes,
            "kind": steps[action].outputs[port].value,
            "action": action,
        }
        for (action, port), (folder, tree) in delivered.items()
        for entry in tree.files
        if folder and folder.startswith("artifacts/")
    ]
