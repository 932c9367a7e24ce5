"""Outcomes and exit codes: the word, the symbol and the colour of each, together."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Self

__all__ = ["ExitCode", "GateStatus", "Reproducible", "Status", "Verified"]


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    MISSING_TARGET = 3
    INTERRUPTED = 130


class _Outcome(Enum):
    """An outcome with its symbol and its style (a rich style name)."""

    symbol: str
    style: str

    def __new__(cls, word: str, symbol: str, style: str) -> Self:
        member = object.__new__(cls)
        member._value_ = word
        member.symbol = symbol
        member.style = style
        return member

    @property
    def word(self) -> str:
        return str(self.value)


class Status(_Outcome):
    """What became of an action, and of a whole build."""

    BUILT = ("built", "+", "green")
    CACHED = ("cached", "=", "dim")
    FAILED = ("failed", "x", "red")
    DEFERRED = ("deferred", "~", "yellow")
    SKIPPED = ("skipped", "-", "dim")


class GateStatus(_Outcome):
    """Whether a limit in the recipe was kept."""

    PASSED = ("passed", "+", "green")
    FAILED = ("failed", "x", "red")
    DEFERRED = ("deferred", "~", "yellow")
    UNMEASURED = ("unmeasured", "?", "red")


class Verified(_Outcome):
    """What rebuilding an action showed."""

    EQUAL = ("equal", "=", "green")
    DIFFERS = ("differs", "!", "red")
    FAILED = ("failed", "x", "red")  # it has no result to compare, the first time or the second
    NOT_JUDGED = ("not judged", "?", "dim")


class Reproducible(Enum):
    """How far a step's bytes can be had again."""

    BITWISE = "bitwise"  # equal bytes everywhere
    PER_CPU = "per_cpu"  # equal on one instruction-set class, which is in the key
    REPLAYABLE = "replayable"  # equal layers and tactics, given the timing cache
    MEASURED = "measured"  # a measurement of this machine
