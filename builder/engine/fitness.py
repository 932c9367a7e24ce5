"""A model that its target cannot run: the check has its result, and what depends on it is not started."""

from __future__ import annotations

from dataclasses import replace

from builder.engine.node import Node, Outcome
from builder.errors import TargetError
from builder.outcomes import Status
from builder.targets.step import target_check

__all__ = ["judged"]


def judged(node: Node, outcome: Outcome) -> Outcome:
    """Return the outcome of a check of the target: a failure where it found what the target cannot do."""
    refused = outcome.record.facts.get("refused") if outcome.record and node.action.step is target_check else None
    if not refused:
        return outcome
    error = TargetError(refused["message"], refused["hint"])
    return replace(outcome, status=Status.FAILED, reason=error.message, record=None, error=error)
