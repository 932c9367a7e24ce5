"""The command line of `show`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from builder.errors import UsageError, did_you_mean

__all__ = ["Request", "parse"]

_USAGE = "python -m builder show [BUILD]"
_OPTIONS = ("--print", "--serve", "--port", "--help")


@dataclass(frozen=True)
class Request:
    """What the user asked for; without a `build` the newest one."""

    build: str | None
    only_print: bool
    serve: bool
    port: int


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"show: {message}", f"write {_USAGE}")


def parse(arguments: Sequence[str]) -> Request | None:
    """Read the command line; return None where help was asked for and printed. Raises UsageError."""
    parser = _parser()
    known, extra = parser.parse_known_args(list(arguments))
    if known.help:
        parser.print_help(sys.stdout)
        return None
    if extra:
        raise UsageError(f"show: there is no option '{extra[0]}'", did_you_mean(extra[0], _OPTIONS))
    if len(known.build) > 1:
        raise UsageError(f"show: expected one build, got {len(known.build)}", f"write {_USAGE}")
    build = known.build[0].removeprefix("recipe=") if known.build else None
    if known.port is not None and not known.serve:
        raise UsageError("show: only --serve has a port", "write python -m builder show --serve --port N")
    return Request(build, known.print, known.serve, known.port or 0)


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 65535, got '{text}'")
    return int(text)


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m builder show",
        usage=f"{_USAGE} [--print] [--serve [--port N]]",
        description="Open the page of a build in your browser; where there is none, say where the page is.",
        epilog="BUILD is the name of a recipe (its newest build, failed ones too), NAME@TIME, NAME@latest (the newest "
        "that ended built or deferred), 'sweeps' (the newest sweep), or the folder of a build or sweep. Without it, "
        "the newest of all. Exit code: 0 shown or said, 2 there is no such build, 130 "
        "a server was ended with Ctrl-C.",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("build", nargs="*", metavar="BUILD", help=argparse.SUPPRESS)
    parser.add_argument("--print", action="store_true", help="print the path of the page and nothing else")
    parser.add_argument(
        "--serve", action="store_true", help="serve all builds of a recipe over time, for this machine alone"
    )
    parser.add_argument("--port", type=_port, metavar="N", help="with --serve, where; by default a free one")
    parser.add_argument("-h", "--help", action="store_true", help="show this and end")
    return parser
