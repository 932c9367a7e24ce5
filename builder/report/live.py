"""The table of what runs right now, for a terminal: name, progress, time and how long it took the last time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from builder.engine.events import Event
from builder.report.lines import NAME, coloured, harmless
from builder.report.screen import Screen

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["LiveTable"]

_STATUS, _BAR = 10, 16  # columns, as in the lines of what has finished
_WIDE = 72  # columns from which there is room for the status and a bar
_NARROW = 48  # columns below which there is none for earlier times
_COUNTS = 2  # lines below the rows


@dataclass
class _Row:
    """A running action."""

    name: str
    estimate: float | None
    done: int = 0
    total: int = 0
    what: str = ""
    started: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    @property
    def left(self) -> float | None:
        """Seconds until it ends if it takes as long as the last time, None where that is unknown or over."""
        return self.estimate - self.elapsed if self.estimate and self.estimate > self.elapsed else None

    def words(self) -> str:
        return f"{self.done:,}/{self.total:,} {self.what}" if self.total else self.what

    def times(self, *, brief: bool) -> str:
        if brief or not self.estimate:
            return _seconds(self.elapsed)
        if self.elapsed > self.estimate:
            return f"{_seconds(self.elapsed)}, last time {_seconds(self.estimate)}"
        return f"{_seconds(self.elapsed)} of ~{_seconds(self.estimate)}"


class LiveTable:
    """A reader of events that keeps a table at the foot of a terminal while anything runs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._screen = Screen(stream, self._render)
        self._rows: dict[tuple[str, str], _Row] = {}
        self._finished = 0
        self._total = 0
        self._width = NAME
        self.above = self._screen.above
        self.close = self._screen.close

    def __call__(self, event: Event) -> None:
        name = (event.build, event.action)
        with self._screen.lock:
            self._width = max(self._width, event.width)
            if event.kind == "planned":
                if not event.action:  # else it is one more
                    self._rows.clear()
                    self._finished = 0
                self._total = event.total
            elif event.kind == "started":
                self._rows[name] = _Row(event.name, event.estimate)
                self._screen.start()
            elif event.kind == "progress" and name in self._rows:
                row = self._rows[name]
                row.done, row.total = event.done, event.total
                row.what = " ".join(harmless(event.message).split())
            elif event.kind == "finished":
                self._rows.pop(name, None)
                self._finished += 1

    def _render(self, width: int, height: int) -> Sequence[str]:
        if not self._rows:
            return []
        from rich.console import Console, Group
        from rich.text import Text

        console = Console(
            file=self._stream,
            width=max(width - 1, 1),  # a full line would leave the cursor on the next one
            force_terminal=True,
            color_system="auto" if coloured(self._stream) else None,
        )
        rows = list(self._rows.values())
        shown = rows[: max(height // 2 - _COUNTS, 1)]  # the other half is for what was printed
        more = [f"  and {len(rows) - len(shown)} more"] if len(shown) < len(rows) else []
        foot = [Text(line, "dim", no_wrap=True, overflow="ellipsis") for line in (*more, self._count())]
        with console.capture() as capture:
            console.print(Group(_table(shown, width - 1, self._width), *foot), highlight=False)
        return capture.get().splitlines()

    def _count(self) -> str:
        rows = self._rows.values()
        known = [row.left for row in rows if row.left is not None]
        waiting = self._total - self._finished - len(rows)
        complete = waiting <= 0 and len(known) == len(rows)
        words = [f"{self._finished}/{self._total} done"] if self._total else []
        words.append(f"{len(rows)} running")
        if known:
            words.append(f"{'about' if complete else 'at least'} {_seconds(max(known))} left")
        return f"  {', '.join(words)}"


def _table(rows: Sequence[_Row], width: int, names: int) -> Table:
    """Return the rows side by side, under those of what has finished; a narrow terminal gets name and time."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    wide = width >= _WIDE
    times = [row.times(brief=width < _NARROW) for row in rows]
    time_width = max(map(len, times))
    name_width = max(len(row.name) for row in rows)
    table = Table.grid(padding=(0, 1), expand=True)
    if wide:
        table.add_column(width=_STATUS)
        table.add_column(width=min(max(names, name_width), width // 3), no_wrap=True)
        table.add_column(width=_BAR)
    else:
        table.add_column(width=max(min(name_width + 1, width - time_width - 4), 4), no_wrap=True)
    table.add_column(ratio=1, no_wrap=True)
    table.add_column(width=time_width, no_wrap=True, justify="right")
    for row, taken in zip(rows, times, strict=True):
        done, total = (row.done, row.total) if row.total else (row.elapsed, row.estimate)
        bar = ProgressBar(total, done, _BAR, pulse=not total, complete_style="cyan", finished_style="cyan")
        start = [Text("  running", "cyan"), Text(row.name), bar] if wide else [Text(f" {row.name}")]
        table.add_row(*start, Text(row.words()), Text(taken))
    return table


def _seconds(seconds: float) -> str:
    """Return whole seconds: `12 s`, `2 min 05 s`, `1 h 03 min`; at least one, since the figures are no finer."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
