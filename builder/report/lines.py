"""Lines for the terminal: painted where it shows colours, harmless wherever their words come from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from builder.engine.events import Event
from builder.outcomes import GateStatus, Status
from builder.recipe.schema import Verbosity

__all__ = ["INDENT", "NAME", "action_lines", "coloured", "harmless", "name_width", "paint"]

INDENT = " " * 12  # of what belongs to the line above it
NAME = 16  # columns that names have at least
_CODES = {"green": "32", "red": "31", "yellow": "33", "dim": "2", "bold": "1", "cyan": "36"}
_STYLES = {status.word: status.style for status in (*Status, *GateStatus)}
_ORDINARY = "first build"  # no reason that anybody asks for
_SHOWN = {Verbosity.QUIET: 10, Verbosity.NORMAL: 10, Verbosity.VERBOSE: 200}  # lines of an action's output
_TAIL_BYTES = 1 << 17
_TRACEBACK = "Traceback (most recent call last):"
_LONGEST = 400  # characters of one line of output
_PAINTED = re.compile(r"\x1b\[[0-9;]*m")  # colours, which tools leave in their logs

# C0 and C1 but tab and line feed, line and paragraph separators, and what turns the direction of writing
# (Boucher, Anderson: Trojan Source, 2021).
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def harmless(text: str, *, indent: str = "") -> str:
    """Show what would steer the terminal, which a recipe or a log may have brought, instead of sending it there.

    Every line after the first is indented, so that it cannot pass for one of ours.
    """
    shown = _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)
    return shown.replace("\n", f"\n{indent}") if indent else shown


def coloured(stream: TextIO) -> bool:
    """Say whether a stream is a terminal that may be painted: NO_COLOR is not set (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, stream: TextIO) -> str:
    """Return text in a colour, or for an outcome's word in the outcome's, where the stream may be painted."""
    return f"\x1b[{_CODES[_STYLES.get(style, style)]}m{text}\x1b[0m" if coloured(stream) else text


def name_width(names: Iterable[str]) -> int:
    """Return how wide the column of the actions' names is."""
    return max([NAME, *map(len, names)])


def action_lines(event: Event, stream: TextIO, verbosity: Verbosity, width: int = NAME) -> Iterator[str]:
    """Yield what is said of a finished action: one line, and more for a failure or where more was asked for.

    `width` is that of the column of names.
    """
    yield _summary(event, stream, width)
    verbose = verbosity is Verbosity.VERBOSE and event.log
    if verbose:
        yield f"{INDENT}key {event.key}"
    if event.hint:
        yield f"{INDENT}{paint('hint', 'cyan', stream)}: {harmless(event.hint, indent=INDENT)}"
    if event.log and (verbose or event.status == Status.FAILED.word):
        for line in _tail(Path(event.log), _SHOWN[verbosity], whole=bool(verbose)):
            yield f"{INDENT}{paint('|', 'dim', stream)} {line}".rstrip()
        yield f"{INDENT}log {harmless(event.log)}"


def _summary(event: Event, stream: TextIO, width: int) -> str:
    word = paint(f"{event.status:9}", event.status, stream)
    size = f"{event.bytes / 2**20:.2f} MiB" if event.bytes and event.bytes >= 5000 else ""
    took = f"{event.seconds:.1f} s" if event.seconds is not None else ""
    facts = ", ".join(f"{name} {value}" for name, value in event.facts)
    reason = "" if event.reason == _ORDINARY else event.reason
    words = harmless("; ".join(part for part in (facts, reason) if part), indent=INDENT)
    return f"  {word} {event.name:{width}} {event.key[:8]:8} {size:>10} {took:>8}  {words}".rstrip()


def _tail(log: Path, count: int, *, whole: bool) -> list[str]:
    """Return the last lines of a log, harmless; of a line that overwrote itself, as progress bars do, what stayed.

    Where it is not `whole`, the traceback at its end is left out: it is for the step's author, who finds it in the log.
    """
    try:
        with log.open("rb") as reader:
            start = max(0, reader.seek(0, os.SEEK_END) - _TAIL_BYTES)
            reader.seek(start)
            text = reader.read(_TAIL_BYTES).decode(errors="replace")
    except OSError as error:
        return [f"(cannot read it: {error.strerror})"]
    if not whole and (before := text.rpartition(_TRACEBACK))[1]:
        text = before[0]
    lines = _PAINTED.sub("", text).rstrip().split("\n") if text.strip() else []
    shown = [harmless(line.rstrip("\r").rpartition("\r")[2])[:_LONGEST] for line in lines[-count:]]
    return ["...", *shown] if start > 0 or len(lines) > count else shown
