"""The terminal: one line for each finished action on stdout, progress on stderr where it is a terminal."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from builder.engine.events import Event
from builder.outcomes import GateStatus, Status

__all__ = ["Terminal", "json_lines", "paint", "show_build", "show_error"]

_CODES = {"green": "32", "red": "31", "yellow": "33", "dim": "2", "bold": "1", "cyan": "36"}
_STYLES = {status.word: status.style for status in (*Status, *GateStatus)}
_REDRAW_S = 0.1
_ORDINARY = "first build"  # no reason that anybody asks for


def paint(text: str, style: str, stream: TextIO) -> str:
    """Return text in a colour, if the stream is a terminal and NO_COLOR is not set (no-color.org)."""
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


class Terminal:
    """A reader of events for people. `results` False keeps stdout clean and writes nothing but progress."""

    def __init__(self, *, results: bool = True) -> None:
        self._out = sys.stdout if results else sys.stderr
        self._err = sys.stderr
        self._live = self._err.isatty()
        self._started: dict[str, float] = {}
        self._drawn = 0.0
        self._several = False

    def __call__(self, event: Event) -> None:
        if event.kind == "finished":
            self._clear()
            print(self._line(event), file=self._out, flush=True)
            if event.hint:
                print(f"            {paint('hint', 'cyan', self._out)}: {event.hint}", file=self._out, flush=True)
        elif event.kind in ("warning", "note"):
            self._clear()
            word = paint(event.kind, "yellow", self._err)
            print(f"{word}: {event.message}", file=self._err, flush=True)
        elif event.kind == "started":
            self._started[event.build + event.action] = time.monotonic()
            self._draw(event, force=True)
        elif event.kind == "progress":
            self._draw(event, force=event.done >= event.total)

    def _line(self, event: Event) -> str:
        word = paint(f"{event.status:9}", _STYLES[event.status], self._out)
        size = f"{event.bytes / 1e6:.2f} MB" if event.bytes and event.bytes >= 5000 else ""
        took = f"{event.seconds:.1f} s" if event.seconds is not None else ""
        where = f"{event.build}/{event.action}" if event.build.isdigit() else event.action
        facts = ", ".join(f"{name} {value}" for name, value in event.facts)
        reason = "" if event.reason == _ORDINARY else event.reason
        words = "; ".join(part for part in (facts, reason) if part)
        return f"  {word} {where:16} {event.key[:8]:8} {size:>10} {took:>8}  {words}".rstrip()

    def _draw(self, event: Event, *, force: bool) -> None:
        now = time.monotonic()
        if not self._live or (not force and now - self._drawn < _REDRAW_S):
            return
        self._drawn = now
        share = event.done / event.total if event.total else 0.0
        bar = ("#" * round(share * 20)).ljust(20, ".") if event.total else "." * 20
        elapsed = now - self._started.get(event.build + event.action, now)
        left = f"~{elapsed / share - elapsed:.0f} s left" if share > 0.02 else ""
        count = f"{event.done}/{event.total}" if event.total else ""
        text = f"  building  {event.action:16} {bar} {count} {event.message} {left}"
        width = os.get_terminal_size(self._err.fileno()).columns
        print(f"\r\x1b[2K{text[: width - 1]}", end="", file=self._err, flush=True)

    def _clear(self) -> None:
        if self._live:
            print("\r\x1b[2K", end="", file=self._err, flush=True)


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
    print(f"{paint('error', 'red', sys.stderr)}: {message}", file=sys.stderr)
    if hint:
        print(f"  {paint('hint', 'cyan', sys.stderr)}: {hint}", file=sys.stderr)
