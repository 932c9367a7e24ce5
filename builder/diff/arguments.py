"""The command line of `diff`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from builder.errors import UsageError, did_you_mean

__all__ = ["Request", "parse"]

_USAGE = "python -m builder diff A B"
_SETTINGS = ("output", "store")
_OUTPUTS = ("json", "text")


@dataclass(frozen=True)
class Request:
    """What the user asked for: one word or two that name builds."""

    builds: Sequence[str]
    json: bool
    store: str | None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"diff: {message}", f"write {_USAGE}")


def parse(arguments: Sequence[str]) -> Request | None:
    """Read the command line; return None where help was asked for and printed. Raises UsageError."""
    parser = _parser()
    known, extra = parser.parse_known_args(list(arguments))
    if known.help:
        parser.print_help(sys.stdout)
        return None
    if extra:
        raise UsageError(f"diff: there is no option '{extra[0]}'", f"write {_USAGE} output=json")
    builds = [word for word in known.words if "=" not in word or "/" in word.partition("=")[0]]
    settings = _settings([word for word in known.words if word not in builds])
    if not 1 <= len(builds) <= 2:
        raise UsageError(f"diff: expected two builds, got {len(builds)}", f"write {_USAGE}")
    return Request(builds, settings.get("output") == "json", settings.get("store"))


def _settings(words: Sequence[str]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in _SETTINGS:
            raise UsageError(f"diff: there is no setting '{name}'", did_you_mean(name, _SETTINGS))
        settings[name] = value
    output = settings.get("output", "text")
    if output not in _OUTPUTS:
        raise UsageError(f"diff: output: expected text or json, got '{output}'", did_you_mean(output, _OUTPUTS))
    return settings


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m builder diff",
        usage="python -m builder diff A [B] [output=json] [store=FOLDER]",
        description="Show what differs between two builds and why: options, key parts, tools, bytes, graphs, numbers.",
        epilog="A and B are each the name of a recipe (its newest build that ended built or deferred), NAME@TIME, "
        "NAME@previous, or the folder of a build or of one job of a sweep. One name alone compares NAME@previous with "
        "NAME@latest. Exit code: 0 the results are equal (every status, every byte of artifacts and evaluations; "
        "cached is as good as built, and measured times never count), 1 they differ or cannot be read, 2 the command "
        "is wrong.",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("-h", "--help", action="store_true", help="show this and end")
    return parser
