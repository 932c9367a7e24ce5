"""The command line of `diff` and of `compare`: words that name builds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from builder.arguments import Arguments
from builder.errors import UsageError, did_you_mean

__all__ = ["NAMES", "Form", "Request", "parse"]

_SETTINGS = ("output", "store")
_OUTPUTS = ("json", "text")
NAMES = (
    "the name of a recipe (its newest build that ended built or deferred), NAME@TIME, NAME@previous, or the folder of "
    "a build or of one job of a sweep"
)


@dataclass(frozen=True)
class Form:
    """What a verb that takes builds looks like: its usage, help, and how many builds it takes."""

    verb: str
    usage: str
    description: str
    epilog: str
    fewest: int
    most: int
    settings: Sequence[str] = _SETTINGS

    @property
    def shortest(self) -> str:
        return f"python -m builder {self.verb} A B"


_DIFF = Form(
    verb="diff",
    usage="python -m builder diff A [B] [output=json] [store=FOLDER]",
    description="Show what differs between two builds and why: options, key parts, tools, bytes, graphs, numbers; and "
    "write the page that compare makes of them.",
    epilog=f"A and B are each {NAMES}. One name alone compares NAME@previous with NAME@latest. Exit code: 0 the "
    "results are equal (every status, every byte of artifacts and evaluations; cached is as good as built, and "
    "measured times never count), 1 they differ or cannot be read, 2 the command is wrong.",
    fewest=1,
    most=2,
)


@dataclass(frozen=True)
class Request:
    """What the user asked for: words that name builds."""

    builds: Sequence[str]
    json: bool
    store: str | None


def parse(arguments: Sequence[str], form: Form = _DIFF) -> Request | None:
    """Read the command line; return None where help was asked for and printed. Raises UsageError."""
    parser = Arguments(
        form.verb,
        usage=form.usage,
        description=form.description,
        epilog=form.epilog,
        example=f"{form.shortest} output=json",
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    known = parser.read(arguments)
    if known is None:
        return None
    builds = [word for word in known.words if "=" not in word or "/" in word.partition("=")[0]]
    settings = _settings([word for word in known.words if word not in builds], form)
    if not form.fewest <= len(builds) <= form.most:
        count = "two builds" if form.most == 2 else "two builds or more"
        raise UsageError(f"{form.verb}: expected {count}, got {len(builds)}", f"write {form.shortest}")
    return Request(builds, settings.get("output") == "json", settings.get("store"))


def _settings(words: Sequence[str], form: Form) -> dict[str, str]:
    settings: dict[str, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in form.settings:
            raise UsageError(f"{form.verb}: there is no setting '{name}'", did_you_mean(name, form.settings))
        settings[name] = value
    output = settings.get("output", "text")
    if output not in _OUTPUTS:
        hint = did_you_mean(output, _OUTPUTS)
        raise UsageError(f"{form.verb}: output: expected text or json, got '{output}'", hint)
    return settings
