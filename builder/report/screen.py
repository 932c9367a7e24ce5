"""A few lines at the foot of a terminal, drawn again and again, that let other lines pass above them."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

__all__ = ["Screen", "can_move"]

_PERIOD_S = 0.25
_ERASE = "\r\x1b[J"  # from the cursor to the end of the screen


def can_move(stream: TextIO) -> bool:
    """Say whether a stream is a terminal that knows how to go back to an earlier line."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


class Screen:
    """Draws the lines that `render(width, height)` returns; `lock` keeps them as they are while they are drawn.

    The cursor rests, visible, on the first of them. There a terminal keeps it when it becomes narrower and breaks lines
    anew, and there begins what another process prints (`| tee log`). rich.live, which counts lines back from the last
    one, leaves debris in a narrower window, and no cursor where the process is killed.
    """

    def __init__(self, stream: TextIO, render: Callable[[int, int], Sequence[str]]) -> None:
        self._stream = stream
        self._render = render
        self._drawn = False
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self.lock = threading.RLock()

    def start(self) -> None:
        """Draw from now on, first after a moment: what is done by then needs no drawing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_drawing, daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Leave nothing on the terminal."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(OSError):
            self._erase()

    @contextmanager
    def above(self, stream: TextIO) -> Iterator[None]:
        """Make room for what is printed to a stream meanwhile."""
        with self.lock:
            visible = self._drawn
            self._erase()
            yield
            if visible and _same_terminal(stream, self._stream):
                self._draw()

    def _keep_drawing(self) -> None:
        with contextlib.suppress(OSError):  # the terminal has gone
            while not self._closing.wait(_PERIOD_S):
                with self.lock:
                    self._draw()

    def _draw(self) -> None:
        size = os.get_terminal_size(self._stream.fileno())
        lines = self._render(size.columns or 80, size.lines or 24)  # a serial line tells neither
        back = f"\r\x1b[{len(lines) - 1}A" if len(lines) > 1 else "\r"
        self._write(_ERASE + "\r\n".join(lines) + back if lines else _ERASE)
        self._drawn = bool(lines)

    def _erase(self) -> None:
        if self._drawn:
            self._write(_ERASE)
        self._drawn = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _same_terminal(one: TextIO, other: TextIO) -> bool:
    return one.isatty() and os.fstat(one.fileno()).st_rdev == os.fstat(other.fileno()).st_rdev
