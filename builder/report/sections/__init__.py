"""The sections of the page, one module each with a template of its name: what report.json holds, ready to be drawn.

A module says `ORDER`, its place on the page, and `context(report)`, the variables of its template. One that shows what
a step wrote as section.json also says `finding(names, document)`: what was found, in a sentence.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from builder.report.findings import Names

__all__ = ["contexts", "finding", "templates"]


@cache
def _modules() -> list[ModuleType]:
    found = [import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__)]
    return sorted(found, key=lambda module: int(module.ORDER))


def templates() -> list[str]:
    """Return the templates of all sections in the order of the page."""
    return [f"sections/{_name(module)}.html" for module in _modules()]


def contexts(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of all templates."""
    return {name: value for module in _modules() for name, value in module.context(report).items()}


def finding(names: Names, document: Mapping[str, Any]) -> str:
    """Say in one sentence what a section.json holds; '' where no section of this version shows it."""
    section = next((module for module in _modules() if _name(module) == document["section"]), None)
    return str(section.finding(names, document)) if section else ""


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]
