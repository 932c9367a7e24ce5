"""The terminal: one line for each finished action on stdout, progress on stderr where it is a terminal."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from builder.engine.events import Event
from builder.outcomes import GateStatus, Status

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Terminal", "json_lines", "paint", "show_build", "show_error"]

_CODES = {"green": "32", "red": "31", "yellow": "33", "dim": "2", "bold": "1", "cyan": "36"}
_STYLES = {status.word: status.style for status in (*Status, *GateStatus)}
_ORDINARY = "first build"  # no reason that anybody asks for


def paint(text: str, style: str, stream: TextIO) -> str:
    """Return text in a colour, if the stream is a terminal and NO_COLOR is not set (no-color.org)."""
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


class Terminal:
    """A reader of events for people. `results` False keeps stdout clean for what a program reads there."""

    def __init__(self, *, results: bool = True) -> None:
        self._out = sys.stdout if results else sys.stderr
        self._err = sys.stderr
        self._bars = Bars() if self._err.isatty() else None

    def __call__(self, event: Event) -> None:
        if self._bars:
            self._bars(event)
        if event.kind == "finished":
            self._print(_line(event, self._out), self._out)
            if event.hint:
                self._print(f"            {paint('hint', 'cyan', self._out)}: {event.hint}", self._out)
        elif event.kind in ("warning", "note"):
            self._print(f"{paint(event.kind, 'yellow', self._err)}: {event.message}", self._err)

    def close(self) -> None:
        """Take what still moves off the screen."""
        if self._bars:
            self._bars.close()

    def _print(self, text: str, stream: TextIO) -> None:
        with self._bars.hidden() if self._bars else nullcontext():
            print(text, file=stream, flush=True)


class Bars:
    """A bar on stderr for each action that runs; they are gone when nothing does."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        name = f"{event.build}/{event.action}"
        if event.kind == "started":
            self._add(name, event.action)
        elif event.kind == "progress" and self._progress and name in self._tasks:
            self._progress.update(
                self._tasks[name], completed=event.done, total=event.total or None, what=event.message
            )
        elif event.kind == "finished" and self._progress and name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))
            if not self._tasks:
                self.close()

    def close(self) -> None:
        if self._progress:
            self._progress.stop()
        self._progress = None
        self._tasks.clear()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the bars off the screen while a line is printed."""
        if self._progress is None:
            yield
            return
        self._progress.stop()
        yield
        self._progress.start()

    def _add(self, name: str, action: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if self._progress is None:
            columns = (TextColumn("  building  {task.description:16}"), BarColumn(20), MofNCompleteColumn())
            more = (TextColumn("{task.fields[what]}"), TimeRemainingColumn(compact=True, elapsed_when_finished=True))
            self._progress = Progress(*columns, *more, console=Console(stderr=True), transient=True)
            self._progress.start()
        self._tasks[name] = self._progress.add_task(action, total=None, what="")


def _line(event: Event, stream: TextIO) -> str:
    word = paint(f"{event.status:9}", _STYLES[event.status], stream)
    size = f"{event.bytes / 2**20:.2f} MiB" if event.bytes and event.bytes >= 5000 else ""
    took = f"{event.seconds:.1f} s" if event.seconds is not None else ""
    where = f"{event.build}/{event.action}" if event.build.isdigit() else event.action
    facts = ", ".join(f"{name} {value}" for name, value in event.facts)
    reason = "" if event.reason == _ORDINARY else event.reason
    words = "; ".join(part for part in (facts, reason) if part)
    return f"  {word} {where:16} {event.key[:8]:8} {size:>10} {took:>8}  {words}".rstrip()


def json_lines(event: Event) -> None:
    """A reader of events for programs: one JSON document a line on stdout."""
    print(json.dumps(event.document(), ensure_ascii=False), flush=True)


def show_build(manifest: dict[str, Any], folder: Path, *, idle: bool) -> None:
    """Print the verdict: gates, where the report is, and what is deferred and why."""
    out = sys.stdout
    for gate in manifest["gates"]:
        word = paint(f"{gate['status']:9}", _STYLES[gate["status"]], out)
        print(f"  {word} gate             {gate['message']}")
    if idle:
        print(f"nothing to do: {manifest['name']} is as it was, in {folder}")
    else:
        print(f"report  {folder / 'report.html'}")
    word = paint(manifest["status"], _STYLES[manifest["status"]], out)
    print(f"{word}  {manifest['name']}: {_summary(manifest)}")


def _summary(manifest: dict[str, Any]) -> str:
    counts = [(status.word, _count(manifest["actions"], status.word)) for status in Status]
    words = [f"{count} {word}" for word, count in counts if count]
    broken = [gate["name"] for gate in manifest["gates"] if gate["status"] in ("failed", "unmeasured")]
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
    print(f"{paint('error', 'red', sys.stderr)}: {_harmless(message)}", file=sys.stderr)
    if hint:
        print(f"  {paint('hint', 'cyan', sys.stderr)}: {_harmless(hint)}", file=sys.stderr)


def _harmless(text: str) -> str:
    """Show control characters, which a recipe may have brought, instead of sending them to the terminal."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], text)
