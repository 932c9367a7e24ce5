"""Every error that `builder` raises on purpose.

BuilderError
├── UsageError            2  the command line is wrong
├── RecipeError           2  the recipe is wrong
│   ├── TargetError       2  the target cannot do what the recipe or its model asks for
│   ├── TrustError        2  a recipe sets what only conf/ or the command line may set
│   └── LockError         2  the lock of a recipe is missing, damaged, or says something else (1 where bytes differ)
├── SourceError           1  a model or package cannot be had, or is not what was declared
├── ToolchainError        1  an interpreter or the packages of a toolchain cannot be had
├── ModelError            1  a file is no model, or no runtime takes it
├── DataError             1  a dataset is missing, unreadable, or breaks a rule
├── StepError             1  a step cannot do its work on this input
│   └── LimitError        1  it used more time or memory than the recipe lets it
├── WorkerError           1  the process that ran an action died
├── StoreError            1  the store cannot be read or written
├── RemoteError           1  a device cannot be reached, or did not finish (3 where it is not the target)
└── Interrupted         130  Ctrl-C
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from builder.outcomes import ExitCode

__all__ = [
    "BuilderError",
    "DataError",
    "Interrupted",
    "LimitError",
    "LockError",
    "ModelError",
    "RecipeError",
    "RemoteError",
    "SourceError",
    "StepError",
    "StoreError",
    "TargetError",
    "ToolchainError",
    "TrustError",
    "UsageError",
    "WorkerError",
    "did_you_mean",
]


class BuilderError(Exception):
    """What went wrong in one sentence, and what to do about it."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(BuilderError):
    exit_code = ExitCode.USAGE


class RecipeError(BuilderError):
    exit_code = ExitCode.USAGE


class TargetError(RecipeError):
    pass


class TrustError(RecipeError):
    pass


class LockError(RecipeError):
    pass


class SourceError(BuilderError):
    pass


class ToolchainError(BuilderError):
    pass


class ModelError(BuilderError):
    pass


class DataError(BuilderError):
    pass


class StepError(BuilderError):
    pass


class LimitError(StepError):
    pass


class WorkerError(BuilderError):
    pass


class StoreError(BuilderError):
    pass


class RemoteError(BuilderError):
    def __init__(self, message: str, hint: str = "", exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code


class Interrupted(BuilderError):  # noqa: N818  it is no error of anybody's
    exit_code = ExitCode.INTERRUPTED


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Return a hint: the nearest spelling, or else the list of what there is."""
    known = sorted(options)
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"there is: {', '.join(known)}" if known else "there is none"
