"""From what a worker answered to a result: checked against edits, copied into the store, written last."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from builder.engine.node import Node, Outcome
from builder.errors import StepError
from builder.outcomes import Status
from builder.plan.decide import Planner
from builder.plan.why import Reason
from builder.store.actions import Record
from builder.store.store import Store

__all__ = ["commit"]


def commit(node: Node, answer: Mapping[str, Any], store: Store, planner: Planner, private: Path) -> Outcome:
    """Publish what an action made, and return its outcome. Raises StepError where an input was edited meanwhile."""
    decision = node.decision
    assert decision is not None
    assert node.folder is not None
    seconds = time.monotonic() - node.started
    if not planner.unchanged(node.action, node.digests(), decision.key, answer["discovered"]):
        raise StepError("what it read was changed while it ran", "build again")
    output = node.folder / "output"
    with store.publishing():
        add = store.content.keep_tree if node.action.lazy else store.content.add_tree
        trees = {folder.name: add(folder, private) for folder in sorted(output.iterdir())}
        record = Record(
            key=decision.key,
            parts=decision.parts,
            outputs={port: tree.digest for port, tree in trees.items()},
            facts=answer["facts"],
            deferred=answer["deferred"],
            discovered=answer["discovered"],
            seconds=round(seconds, 3),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        if answer["keep"]:
            store.commit(record, private)
    status = Status.DEFERRED if record.deferred else Status.BUILT
    reason = planner.missing_device(node.action) if record.deferred else decision.reason
    not_kept = "" if answer["keep"] else Reason.NOT_KEPT.value
    return Outcome(status, reason, decision.key, decision.parts, record, seconds, not_kept=not_kept)
