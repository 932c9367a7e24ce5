"""The command line of `show`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from builder.arguments import Arguments
from builder.errors import UsageError

__all__ = ["Request", "parse"]

_USAGE = "python -m builder show [BUILD]"


@dataclass(frozen=True)
class Request:
    """What the user asked for; without a `build` the newest one."""

    build: str | None
    only_print: bool
    serve: bool
    port: int


def parse(arguments: Sequence[str]) -> Request | None:
    """Read the command line; return None where help was asked for and printed. Raises UsageError."""
    known = _parser().read(arguments)
    if known is None:
        return None
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


def _parser() -> Arguments:
    parser = Arguments(
        "show",
        example=_USAGE,
        usage=f"{_USAGE} [--print] [--serve [--port N]]",
        description="Open the page of a build in your browser; where there is none, say where the page is.",
        epilog="BUILD is the name of a recipe (its newest build, failed ones too), NAME@TIME, NAME@latest (the newest "
        "that ended built or deferred), 'sweeps' (the newest sweep), or the folder of a build or sweep. Without it, "
        "the newest of all. Exit code: 0 shown or said, 2 there is no such build, 130 "
        "a server was ended with Ctrl-C.",
    )
    parser.add_argument("build", nargs="*", metavar="BUILD", help=argparse.SUPPRESS)
    parser.add_argument("--print", action="store_true", help="print the path of the page and nothing else")
    parser.add_argument(
        "--serve", action="store_true", help="serve all builds of a recipe over time, for this machine alone"
    )
    parser.add_argument("--port", type=_port, metavar="N", help="with --serve, where; by default a free one")
    return parser
