"""The command line of a verb with words and options of its own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from builder.errors import UsageError, did_you_mean

__all__ = ["Arguments"]


class Arguments(argparse.ArgumentParser):
    """What a verb takes; each mistake is a UsageError. `example` is a command line that is right."""

    def __init__(self, verb: str, *, description: str, epilog: str, example: str, usage: str | None = None) -> None:
        prog = f"python -m builder {verb}"
        super().__init__(prog, usage, description, epilog, add_help=False, allow_abbrev=False)
        self._verb = verb
        self._hint = f"write {example}"

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self._verb}: {message}", self._hint)

    def read(self, arguments: Sequence[str]) -> argparse.Namespace | None:
        """Return what was read, or None where help was asked for and printed. Raises UsageError."""
        options = [each for action in self._actions for each in action.option_strings]
        self.add_argument("-h", "--help", action="store_true", help="show this and end")
        known, extra = self.parse_known_args([*arguments])
        if known.help:
            self.print_help(sys.stdout)
            return None
        for word in extra:
            if word.startswith("-"):
                hint = did_you_mean(word.partition("=")[0], [*options, "--help"]) if options else self._hint
                raise UsageError(f"{self._verb}: there is no option '{word}'", hint)
            raise UsageError(f"{self._verb}: nothing says what '{word}' is", self._hint)
        return known
