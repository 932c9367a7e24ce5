"""The terminal: one line for each finished action on stdout, and on stderr, where it is a terminal, what runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TextIO

from builder.engine.events import Event
from builder.outcomes import GateStatus, Status
from builder.recipe.schema import Verbosity
from builder.report.lines import INDENT, NAME, action_lines, harmless, name_width, paint
from builder.report.live import LiveTable
from builder.report.screen import can_move

__all__ = ["Terminal", "harmless", "json_lines", "paint", "show_build", "show_error"]

_FETCHING = "toolchain."  # how the names of such actions begin
_BROKEN = (GateStatus.FAILED.word, GateStatus.UNMEASURED.word)


class Terminal:
    """A reader of events for people. `results` False keeps stdout clean for what a program reads there."""

    def __init__(self, *, results: bool = True, verbosity: Verbosity = Verbosity.NORMAL) -> None:
        self._out = sys.stdout if results else sys.stderr
        self._err = sys.stderr
        self._verbosity = verbosity
        quiet = verbosity is Verbosity.QUIET
        self._live = LiveTable(self._err) if can_move(self._err) and not quiet else None
        self._width = NAME
        self._lines = not self._live and not quiet  # for what takes minutes
        self._silent = {"note"} if quiet else set()

    def __call__(self, event: Event) -> None:
        self._width = max(self._width, event.width)
        if self._live:
            self._live(event)
        if event.kind == "finished" and (self._verbosity is not Verbosity.QUIET or event.status == Status.FAILED.word):
            self._print(action_lines(event, self._out, self._verbosity, self._width), self._out)
        elif event.kind in {"warning", "note"} - self._silent:
            self._print([f"{paint(event.kind, 'yellow', self._err)}: {harmless(event.message)}"], self._err)
        elif event.kind == "progress" and self._lines and event.action.startswith(_FETCHING):
            words = f"{event.action}: {event.done:,}/{event.total:,} {event.message}"
            self._print([f"  {paint('running  ', 'dim', self._err)} {harmless(words)}"], self._err)

    def close(self) -> None:
        """Take what still moves off the screen."""
        if self._live:
            self._live.close()

    def _print(self, lines: Iterable[str], stream: TextIO) -> None:
        with self._live.above(stream) if self._live else nullcontext():
            print("\n".join(lines), file=stream, flush=True)


def json_lines(event: Event) -> None:
    """A reader of events for programs: one JSON document a line on stdout."""
    print(json.dumps(event.document(), ensure_ascii=False), flush=True)


def show_build(
    manifest: dict[str, Any],
    folder: Path,
    *,
    idle: bool,
    verbosity: Verbosity = Verbosity.NORMAL,
    names: Iterable[str] = (),
    sent: str = "",
) -> None:
    """Print the verdict: gates, where the report is, and what is deferred and why; quiet, only what went wrong.

    `names` are those of the actions whose lines stand above it, `sent` is the host that gets the kit now.
    """
    out, width = sys.stdout, name_width(names)
    quiet = verbosity is Verbosity.QUIET
    for gate in manifest["gates"]:
        if not quiet or gate["status"] in _BROKEN:
            word = paint(f"{gate['status']:9}", gate["status"], out)
            print(f"  {word} {'gate':{width}} {harmless(gate['message'], indent=INDENT)}")
    if idle and not quiet:
        print(f"nothing to do: {manifest['name']} is as it was, in {folder}")
    elif not quiet:
        print(f"report  {folder / 'report.html'}")
    if manifest.get("kit") and not quiet:
        target, kit = manifest["target"]["name"], manifest["kit"]
        run = " && ".join(filter(None, [kit.get("install"), f"tar xf {kit['path']}", "sh kit/resume.sh"]))
        copy = f"copy it to {harmless(target)} and run there: {run}"
        print(f"kit     {folder / kit['path']}   {f'is finished on {sent} now' if sent else copy}")
        if kit.get("note"):
            print(f"  {paint('note     ', 'yellow', out)} {harmless(kit['note'], indent=INDENT)}")
    print(f"{paint(manifest['status'], manifest['status'], out)}  {manifest['name']}: {_summary(manifest)}")


def _summary(manifest: dict[str, Any]) -> str:
    counts = [(status.word, _count(manifest["actions"], status.word)) for status in Status]
    words = [f"{count} {word}" for word, count in counts if count]
    broken = [gate["name"] for gate in manifest["gates"] if gate["status"] in _BROKEN]
    if broken:
        words.append(f"gates not kept: {', '.join(broken)}")
    waiting = [action["name"] for action in manifest["actions"] if action["status"] == "deferred"]
    if waiting:
        words.append(f"waiting for {manifest['target']['name']}: {', '.join(waiting)}")
    return ", ".join(words)


def _count(actions: Sequence[dict[str, Any]], word: str) -> int:
    return sum(action["status"] == word for action in actions)


def show_error(message: str, hint: str) -> None:
    """Print an error and what to do about it, to stderr."""
    print(f"{paint('error', 'red', sys.stderr)}: {harmless(message)}", file=sys.stderr)
    if hint:
        print(f"  {paint('hint', 'cyan', sys.stderr)}: {harmless(hint)}", file=sys.stderr)
