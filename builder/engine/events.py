"""What happens during a build, as a stream; the terminal, the JSON lines and the log are its readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Event", "Events", "shown_name"]


@dataclass(frozen=True)
class Event:
    """One thing that happened: `planned`, `started`, `progress`, `finished`, `warning`, `note`, and what about it.

    `planned` tells how many actions there are, and how long their names are at most; one that names an action, that
    this one has come to them.
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
    width: int = 0  # of the longest name, in characters

    @property
    def name(self) -> str:
        """The action's name; in a sweep with the number of its build."""
        return shown_name(self.build, self.action)

    def document(self) -> dict[str, Any]:
        """Return what is set, for JSON."""
        document = {name: value for name, value in asdict(self).items() if value not in ("", None, (), 0)}
        document.pop("width", None)  # it is for who prints columns
        if self.facts:
            document["facts"] = dict(self.facts)
        return document


def shown_name(build: str, action: str) -> str:
    """Return what an action is called; in a sweep with the number of its build."""
    return f"{build}/{action}" if build.isdigit() else action


class Events:
    """Passes every event to every reader, in order."""

    def __init__(self, *readers: Callable[[Event], None]) -> None:
        self._readers = list(readers)

    def add(self, reader: Callable[[Event], None]) -> None:
        self._readers.append(reader)

    def __call__(self, event: Event) -> None:
        for reader in self._readers:
            reader(event)
