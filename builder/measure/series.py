"""What was measured of one subject: its runs in blocks, and what else its process and the machine tell of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from builder.measure.ratio import median

__all__ = ["Series"]


@dataclass
class Series:
    """What was measured of one subject; `blocks_ns` holds its runs in the order they were run."""

    name: str
    load_ms: float
    warmup_runs: int
    memory_mib: float | None = 0.0  # None where nothing tells it
    execution: dict[str, Any] = field(default_factory=dict)  # what really ran, see runtimes.interface.Execution
    blocks_ns: list[list[int]] = field(default_factory=list)
    refused: int = 0  # blocks taken again because another subject was not asleep
    memory_loaded_mib: float | None = None  # before the first run
    first_inference_ms: float | None = None
    shapes: dict[str, list[int]] = field(default_factory=dict)  # of the inputs
    joules: float | None = None  # of `metered_runs`
    metered_runs: int = 0
    interruptions: int | None = None  # of its blocks, by the system

    @property
    def energy_mj(self) -> float | None:
        """Return the energy of one run in mJ; None where nothing counts it."""
        return None if self.joules is None else 1e3 * self.joules / self.metered_runs

    @property
    def medians_ms(self) -> list[float]:
        """Return each block's median latency in ms."""
        return [median(block) / 1e6 for block in self.blocks_ns]

    @property
    def samples_ms(self) -> list[float]:
        """Return every run's latency in ms."""
        return [sample / 1e6 for block in self.blocks_ns for sample in block]
