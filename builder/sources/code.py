"""A project's own code in its worker: `model.code: FILE.py:NAME`, imported from the bytes that the key names."""

from __future__ import annotations

import importlib
import traceback
from typing import Any

from builder.errors import ModelError, did_you_mean
from builder.step import Job

__all__ = ["call_code"]


def call_code(job: Job, *arguments: Any) -> Any:
    """Return what the named class or function makes of these arguments and of `model.arguments`. Raises ModelError."""
    module_name, _, name = (job.model.code or "").partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ModelError(
            f"{module_name}.py cannot be imported: {error}",
            f"the toolchain has no such package, or the file is not beside {module_name}.py",
        ) from error
    if not hasattr(module, name):
        raise ModelError(
            f"{module_name}.py holds no '{name}'", did_you_mean(name, [each for each in vars(module) if each[0] != "_"])
        )
    try:
        return getattr(module, name)(*arguments, **job.model.arguments)
    except Exception as error:
        traceback.print_exc()
        words = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise ModelError(f"{module_name}.py:{name} failed: {words}", "the log has the traceback") from error
