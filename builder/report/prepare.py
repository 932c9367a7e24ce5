"""The page's templates compiled while workers are at work, so that nobody waits for it at the end."""

from __future__ import annotations

import contextlib
from threading import Thread

from builder.engine.events import Event

__all__ = ["Prepare"]


class Prepare:
    """Reads a build's events: when the first action starts, there is time."""

    def __init__(self) -> None:
        self._thread: Thread | None = None

    def __call__(self, event: Event) -> None:
        if event.kind == "started" and self._thread is None:
            self._thread = Thread(target=_compile, daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Return when it is done: what comes now may need every file handle that there is."""
        if self._thread is not None:
            self._thread.join()


def _compile() -> None:
    with contextlib.suppress(Exception):  # whoever writes the page is told
        from builder.report.page import environment

        templates = environment()
        for name in templates.list_templates(extensions=["html"]):  # a page includes most of them
            templates.get_template(name)
