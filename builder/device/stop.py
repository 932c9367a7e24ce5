"""Why it ends before it is done: one sentence, what to do about it, and the exit code."""

from __future__ import annotations

__all__ = ["FAILED", "INTERRUPTED", "OK", "USAGE", "WRONG_DEVICE", "Failed", "Stop"]

OK, FAILED, USAGE, WRONG_DEVICE, INTERRUPTED = 0, 1, 2, 3, 130


class Stop(Exception):  # noqa: N818  it is no error of anybody's
    """Nothing more can be done here, or not now; what is done stays done."""

    def __init__(self, message: str, hint: str = "", code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code


class Failed(Exception):  # noqa: N818  a finding, which goes into the result
    """An action cannot be done with this model on this device."""
