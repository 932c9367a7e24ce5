"""An action on its way through a build, and what becomes of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import BuilderError
from builder.outcomes import Reproducible, Status
from builder.plan.action import Action
from builder.plan.decide import Decision
from builder.recipe.schema import Limits
from builder.step import Need
from builder.store.actions import Record
from builder.store.devices import Entry
from builder.store.folders import remove_folder
from builder.store.locks import Lock
from builder.store.machine import Machine
from builder.store.store import Store

if TYPE_CHECKING:
    from builder.engine.there import There

__all__ = ["Node", "Outcome"]

_LOG_BYTES = 20_000  # of a failed action's output, for build.log


@dataclass(frozen=True)
class Outcome:
    """What became of an action."""

    status: Status
    reason: str = ""
    key: str = ""
    parts: Mapping[str, Any] = field(default_factory=dict)
    record: Record | None = None
    seconds: float | None = None
    error: BuilderError | None = None
    tail: str = ""  # the end of what a failed action printed
    not_kept: str = ""  # the reason why a result is not served again
    entry: Entry | None = None  # of the device that made it

    @classmethod
    def of_hit(cls, decision: Decision) -> Outcome:
        """Return the outcome of an action whose result was there already, or cannot be had here."""
        record, entry = decision.record, decision.entry
        here = record is not None and entry is None and decision.action.reproducible is Reproducible.MEASURED
        reason = f"measured {record.created}" if record and here else decision.reason
        return cls(decision.status, reason, decision.key, decision.parts, record, entry=entry)

    def shared(self) -> Outcome:
        """Return the outcome for another build of the sweep that wants the same action."""
        if self.status is not Status.BUILT:
            return replace(self, seconds=None)
        return replace(self, status=Status.CACHED, reason="", seconds=None)


@dataclass
class Node:
    """An action of one build; its folder, lock and share in the machine are there while it runs."""

    build: str
    recipe: str
    action: Action
    inputs: dict[str, Node]
    limits: Limits = field(default_factory=Limits)
    toolchain: Node | None = None  # what puts the packages together that it runs with
    after: Node | None = None  # what must have succeeded before, though nothing is taken from it
    there: There | None = None  # with what else of its build needs the target
    outcome: Outcome | None = None
    portable: str = ""  # its portable key, where at least a part of it waits for a device
    decision: Decision | None = None
    lock: Lock | None = None
    machine: Machine | None = None
    folder: Path | None = None
    log: Path | None = None  # where what it printed is kept
    started: float = 0.0

    @property
    def alone(self) -> bool:
        """Whether it needs the machine for itself."""
        return self.action.step.need is Need.HOST

    @property
    def waits_for(self) -> list[Node]:
        """The nodes that must have an outcome before this one can be settled."""
        given = self.there.given if self.there else ()
        return [*self.inputs.values(), *([self.after] if self.after else []), *given]

    def blocked(self) -> Outcome | None:
        """Return the outcome that an input without a result gives, or None."""
        if self.after and self.after.outcome and self.after.outcome.status in (Status.FAILED, Status.SKIPPED):
            return Outcome(Status.SKIPPED, f"{self.after.action.name} {self.after.outcome.status.word}")
        for port, source in self.inputs.items():
            assert source.outcome is not None
            if source.outcome.status in (Status.FAILED, Status.SKIPPED):
                return Outcome(Status.SKIPPED, f"{source.action.name} {source.outcome.status.word}")
            output = self.action.inputs[port][1]
            if source.outcome.record is None or output not in source.outcome.record.outputs:
                return Outcome(Status.DEFERRED, f"needs {source.action.name}, which is deferred")
        return None

    def toolless(self) -> Outcome | None:
        """Return the outcome that a toolchain without a result gives to an action that must run in it, or None."""
        tools = self.toolchain.outcome if self.toolchain else None
        if self.toolchain is None or tools is None or tools.record is not None:
            return None
        why = f": {tools.reason}" if self.action.optional and tools.reason else ""
        return Outcome(Status.SKIPPED, f"{self.toolchain.action.name} {tools.status.word}{why}")

    def digests(self) -> dict[str, str]:
        """Return the tree digest of each input, when all inputs have a result."""
        digests = {}
        for port, source in self.inputs.items():
            assert source.outcome is not None
            assert source.outcome.record is not None
            digests[port] = source.outcome.record.outputs[self.action.inputs[port][1]]
        return digests

    def portables(self) -> dict[str, str] | None:
        """Return what a portable key says of each input, or None where an input was not made and does not wait."""
        found = {}
        for port, source in self.inputs.items():
            record, output = source.outcome.record if source.outcome else None, self.action.inputs[port][1]
            if source.portable:
                found[port] = f"portable:{source.portable}"
            elif record is not None and output in record.outputs:
                found[port] = record.outputs[output]
            else:
                return None
        return found

    def tail(self) -> str:
        """Return the end of what the action printed so far."""
        if self.folder is None:
            return ""
        with contextlib.suppress(OSError), (self.folder / "log").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES))
            return log.read(_LOG_BYTES).decode(errors="replace")
        return ""

    def keep_log(self, store: Store) -> Path | None:
        """Keep what the action printed, and return where; None if it printed nothing."""
        written = self.folder / "log" if self.folder else None
        if written is None or self.decision is None or not written.is_file() or not written.stat().st_size:
            return None
        return store.keep_log(self.decision.key, written)

    def close(self) -> None:
        """Give up the private folder, the lock and the share in the machine."""
        if self.folder:
            remove_folder(self.folder)
            self.folder = None
        for held in (self.machine, self.lock):
            if held:
                held.release()
        self.machine = self.lock = None
