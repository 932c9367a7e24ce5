"""Reproduce: the command, digests, machine and versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["ORDER", "context"]

ORDER = 90


def context(report: Mapping[str, Any]) -> dict[str, Any]:
    actions = report["manifest"]["actions"]
    return {"versions": sorted({pair for action in actions for pair in action["toolchain"].items()})}
