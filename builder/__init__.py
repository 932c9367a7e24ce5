"""A build system for model deployment: recipes become verified artifacts and a report."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["__version__", "build", "compose", "plan"]

__version__ = "0.1.0"

# Loaded on first use, by name, so that a step's implementation digest does not reach the whole package from here.
_PUBLIC = {"build": "builder.build", "compose": "builder.recipe.compose", "plan": "builder.plan.report"}


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'builder' has no attribute '{name}'")
