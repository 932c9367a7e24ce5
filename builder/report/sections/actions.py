"""Actions: what each took in, gave out and found, in the order of the graph above."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["ORDER", "context"]

ORDER = 80


def context(_report: Mapping[str, Any]) -> dict[str, Any]:
    return {}  # the graph's boxes, which the section of the steps brings
