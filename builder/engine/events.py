"""What happens during a build, as a stream; the terminal, the JSON lines and the log are its readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Event", "Events"]


@dataclass(frozen=True)
class Event:
    """One thing that happened: `planned`, `started`, `progress`, `finished`, `warning`, `note`, and what about it.

    `planned` tells how many actions there are; one that names an action, that this one has come to them.
    """

    kind: str
    build: str = ""
    action: str = ""
    status: str = ""
    key: str = ""
    reason: str = ""
    bytes: int | None = None
    seconds: float | None = None
    estimate: float | None = None  # seconds it took the last time, when it starts
    facts: tuple[tuple[str, str], ...] = ()
    message: str = ""
    hint: str = ""
    log: str = ""  # where what the action printed is kept
    done: int = 0
    total: int = 0

    def document(self) -> dict[str, Any]:
        """Return what is set, for JSON."""
        document = {name: value for name, value in asdict(self).items() if value not in ("", None, (), 0)}
        if self.facts:
            document["facts"] = dict(self.facts)
        return document


class Events:
    """Passes every event to every reader, in order."""

    def __init__(self, *readers: Callable[[Event], None]) -> None:
        self._readers = list(readers)

    def add(self, reader: Callable[[Event], None]) -> None:
        self._readers.append(reader)

    def __call__(self, event: Event) -> None:
        for reader in self._readers:
            reader(event)
