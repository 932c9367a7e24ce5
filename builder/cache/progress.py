"""How far a long reading is, on a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Self, TextIO

from builder.cache.words import size
from builder.report.lines import coloured
from builder.report.screen import Screen, can_move

__all__ = ["Progress"]

_BAR = 20  # columns


class Progress:
    """A line at the foot of a terminal, nothing elsewhere; called with each number of bytes that was read."""

    def __init__(self, stream: TextIO, total_bytes: int) -> None:
        self._stream = stream
        self._total = total_bytes
        self._done = 0
        self._began = time.monotonic()
        self._screen = Screen(stream, self._render) if can_move(stream) else None

    def __enter__(self) -> Self:
        if self._screen:
            self._screen.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._screen:
            self._screen.close()

    def __call__(self, read_bytes: int) -> None:
        self._done += read_bytes

    def _render(self, width: int, _height: int) -> Sequence[str]:
        from rich.console import Console
        from rich.progress_bar import ProgressBar

        whole = max(self._total, self._done)  # the delivered files come on top of the store
        text = f"  reading  {size(self._done)} of {size(whole)}, {time.monotonic() - self._began:.0f} s  "
        console = Console(
            file=self._stream,
            width=max(width - 1, 1),
            force_terminal=True,
            color_system="auto" if coloured(self._stream) else None,
        )
        with console.capture() as capture:
            console.print(text[: width - 1], end="", highlight=False)
            if width > len(text) + _BAR:
                console.print(ProgressBar(whole or 1, self._done, _BAR), end="")
        return capture.get().splitlines()
