"""A build system for model deployment: recipes become verified artifacts and a report.

From Python: `from builder.api import build, compose, plan`.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
