"""A project's own code in its worker: `model.code: FILE.py:NAME`, imported from the bytes that the key names."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path
from typing import Any

from builder.errors import BuilderError, ModelError, did_you_mean
from builder.step import Job
from builder.trouble import is_scarcity, trouble

__all__ = ["call_code"]


def call_code(job: Job, *arguments: Any) -> Any:
    """Return what the named class or function makes of these arguments and of `model.arguments`. Raises ModelError."""
    module_name, _, name = (job.model.code or "").partition(":")
    try:
        module = importlib.import_module(module_name)
    except BuilderError:
        raise
    except ImportError as error:
        raise ModelError(
            f"{module_name}.py cannot be imported: {error}",
            f"the toolchain has no such package, or the file is not beside {module_name}.py",
        ) from error
    except Exception as error:
        raise _failed(module_name, error) from error
    if not hasattr(module, name):
        raise ModelError(
            f"{module_name}.py holds no '{name}'", did_you_mean(name, [each for each in vars(module) if each[0] != "_"])
        )
    try:
        return getattr(module, name)(*arguments, **job.model.arguments)
    except BuilderError:
        raise
    except Exception as error:
        raise _failed(f"{module_name}:{name}", error) from error


def _failed(what: str, error: Exception) -> BuilderError:
    """Return the error of somebody else's code, its traceback in the log; a full disk or the like stays what it is."""
    if isinstance(error, OSError) and is_scarcity(error):
        return trouble(error, Path(error.filename or "."))
    traceback.print_exc()
    return ModelError(
        f"{what} failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}", "the log has the traceback"
    )
