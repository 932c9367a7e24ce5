"""What runs a model on this device: the Python package of a runtime, or NVIDIA's program trtexec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Mapping, Sequence

from builder.device.trt_api import BuildRequest

__all__ = ["Block", "Driver", "Feed"]

Feed = Mapping[str, Path]  # input -> file with its numbers


class Block:
    """Some runs of a model in a process of their own."""

    def __init__(
        self,
        latencies_ns: list[int],
        load_ms: float | None = None,
        warmup_runs: int | None = None,
        per_second: float | None = None,
    ) -> None:
        self.latencies_ns = latencies_ns
        self.load_ms = load_ms
        self.warmup_runs = warmup_runs
        mean_ns = sum(latencies_ns) / len(latencies_ns) if latencies_ns else 0
        self.per_second = per_second or (1e9 / mean_ns if mean_ns else 0.0)


class Driver(ABC):
    """One way to build and run engines.

    `tensors` is {"inputs": [...], "outputs": [...]}, each {"name", "dtype", "shape"} of one call.
    """

    runtime = "tensorrt"
    name = ""
    artifact = "engine.plan"  # the file that it builds, and loads
    at_once = 1  # feeds for one loading of the engine

    @property
    def timed_by(self) -> str:
        """What a latency is, in this driver's words: a call without the copies to and from the GPU."""
        return f"{self.name}: one call and the wait for its end, without copies"

    def __init__(self, version: str) -> None:
        self.version = version

    @abstractmethod
    def build(self, request: BuildRequest, layers: Path, log: Path) -> dict[str, Any]:
        """Build an engine, with what its layers are where it can tell; return facts. Raises Failed."""

    @abstractmethod
    def run(self, engine: Path, feeds: Sequence[Feed], tensors: Mapping[str, Any], files: Sequence[Path]) -> None:
        """Run each feed and write its outputs, one after another, to its file. Raises Failed."""

    @abstractmethod
    def time(self, engine: Path, feed: Feed, tensors: Mapping[str, Any], log: Path, **how: float) -> Block:
        """Load an engine and time its runs, without the copies to and from the GPU. Raises Failed.

        `how`: `runs` at least, `seconds` at least, and `warmup_ms` before them. With `seconds`, single runs may be left
        out, and only how many there are in a second is told.
        """
