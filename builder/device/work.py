"""What every action on the device works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.device.driver import Driver
from builder.device.journal import Journal
from builder.device.kit import Given, Kit

__all__ = ["Work"]


@dataclass(frozen=True)
class Work:
    """A kit, what runs its models here, where finished work is kept, and who is told of it."""

    kit: Kit
    driver: Driver
    journal: Journal
    facts: Mapping[str, Any]  # of the device
    say: Callable[[str], None]
    given: Given  # what the action is given to run
    used: Mapping[str, str] = field(default_factory=dict)  # action that it takes from -> digest of what that made

    def log(self, name: str) -> Path:
        """Return where a program that works for an action writes what it says."""
        path = self.journal.folder / "logs" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def engine(self) -> Path:
        """The candidate: the engine that was built here or at home, or the model itself where none has to be."""
        built = self.kit.compiled
        given = self.kit.folder / ("engine" if self.kit.engine else "model")
        folder = self.journal.place(built) / "engine" if built else given
        return (folder / self.driver.artifact).resolve()

    def tensors(self, subject: str = "candidate") -> dict[str, Any]:
        """Return what a driver must know of a model's inputs and outputs."""
        core = (self.kit.build_options or {}).get("dla_core")
        own = core if subject == "candidate" else None
        inputs = [{**tensor, "open": tensor["name"] in self.kit.profiles} for tensor in self.given.tensors("input")]
        return {"inputs": inputs, "outputs": self.given.tensors("expected"), "dla_core": own}
