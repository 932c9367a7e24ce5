"""The page's templates compiled while workers are at work, so that nobody waits for it at the end."""

from __future__ import annotations

from threading import Thread

from builder.engine.events import Event

__all__ = ["Prepare"]


class Prepare:
    """Reads a build's events: when the first action starts, there is time."""

    def __init__(self) -> None:
        self._begun = False

    def __call__(self, event: Event) -> None:
        if event.kind == "started" and not self._begun:
            self._begun = True
            Thread(target=_compile, daemon=True).start()


def _compile() -> None:
    from builder.report.page import environment

    environment().get_template("page.html")
