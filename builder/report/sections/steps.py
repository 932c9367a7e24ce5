"""Steps: the graph of actions, with what became of each, its time and its size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.report import findings, graph

__all__ = ["ORDER", "context"]

ORDER = 20


def context(report: Mapping[str, Any]) -> dict[str, Any]:
    manifest = report["manifest"]
    return {"graph": graph.draw(manifest, findings.Names(manifest).reference, _data_name(manifest))}


def _data_name(manifest: Mapping[str, Any]) -> str:
    data = manifest["recipe"].get("data")
    return str(data.get("name", "data")) if isinstance(data, dict) else "data"
