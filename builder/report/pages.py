"""What is delivered beside a report.json: its views, by the names of their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["VIEWS"]


def _html(report: dict[str, Any]) -> str:
    from builder.report.page import render

    return render(report)


def _markdown(report: dict[str, Any]) -> str:
    from builder.report.summary import summary

    return summary(report)


def _junit(report: dict[str, Any]) -> str:
    from builder.report.junit import junit

    return junit(report)


# Each makes the same bytes of the same report.
VIEWS: Mapping[str, Callable[[dict[str, Any]], str]] = {
    "report.html": _html,
    "summary.md": _markdown,
    "junit.xml": _junit,
}
