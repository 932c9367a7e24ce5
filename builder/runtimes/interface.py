"""What every runtime is to the rest of the program: does it run here, load an artifact, run it, say what really ran.

A runtime is a module with the names of `Runtime`; `builder.runtimes.find` tells by an artifact's files which one it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from builder.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Device", "Execution", "Loaded", "Runtime", "Tensor"]


class Device(StrEnum):
    """What ONNX Runtime computes on; every other runtime has a device of its own."""

    CPU = "cpu"
    CUDA = "cuda"  # with a build of it that has this provider, as in a toolchain with onnxruntime-gpu


@dataclass(frozen=True)
class Tensor:
    """An input or output: a name, a shape with None for what is open, and a numpy dtype name.

    Of a type that numpy has no number for (strings, bfloat16, sequences), `dtype` is the runtime's own word for it,
    such as 'tensor(string)': no sample fits it.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    @property
    def words(self) -> str:
        """Return type and shape as 'float32[?, 3, 224, 224]', with ? for what is open."""
        return f"{self.dtype}[{', '.join('?' if size is None else str(size) for size in self.shape)}]"

    def closed(self, declared: Sequence[int] | None) -> tuple[int, ...]:
        """Return the shape with open axes as declared (a model's `shapes`), else 1.

        Raises ModelError where what is declared has other axes than the model.
        """
        if not declared:
            return tuple(size or 1 for size in self.shape)
        if len(declared) != len(self.shape):
            raise ModelError(
                f"input '{self.name}' has {len(self.shape)} dimensions, and the model's `shapes` gives {len(declared)}"
            )
        if any(size not in {None, wanted} for size, wanted in zip(self.shape, declared, strict=True)):
            raise ModelError(f"input '{self.name}' is {self.words}, and the model's `shapes` gives {list(declared)}")
        return tuple(declared)


@dataclass(frozen=True)
class Execution:
    """What really ran, as the runtime itself tells: never what was asked for.

    `precisions` counts the nodes that computed in each precision (fp32, fp16, bf16, int8, ...), without those that only
    hold or move numbers; `providers` counts the nodes that each provider ran.
    """

    runtime: str
    version: str
    device: str  # the processor's or GPU's own name
    precisions: Mapping[str, int]
    providers: Mapping[str, int]
    accelerator: str = ""  # the provider that is one; '' where all of it ran on the processor

    @property
    def precision(self) -> str:
        """Return the precisions in words, the one of most nodes first: 'int8, fp32'."""
        return ", ".join(sorted(self.precisions, key=lambda name: (-self.precisions[name], name)))

    @property
    def accelerated(self) -> float | None:
        """Return the share of nodes that ran on the accelerator; None where there is none."""
        nodes = sum(self.providers.values())
        return self.providers.get(self.accelerator, 0) / nodes if self.accelerator and nodes else None

    def plain(self) -> dict[str, Any]:
        """Return it as evaluation.json and measurement.json hold it."""
        return {
            "runtime": self.runtime,
            "runtime_version": self.version,
            "device": self.device,
            "precision": self.precision,
            "nodes": {"precisions": dict(self.precisions), "providers": dict(self.providers)},
            "accelerated": self.accelerated,
        }


class Loaded(Protocol):
    """An artifact that is ready to run; inputs and outputs are in the artifact's order."""

    @property
    def inputs(self) -> tuple[Tensor, ...]: ...

    @property
    def outputs(self) -> tuple[Tensor, ...]: ...

    def run(self, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs in order. Raises ModelError where the feed does not fit or an operator fails."""
        ...

    def describe(self) -> Execution:
        """Return what ran at the last run. Raises ModelError where nothing has run yet."""
        ...


class Runtime(Protocol):
    """A module of this package. Importing it, and asking what is missing, takes the standard library alone."""

    @property
    def NAME(self) -> str: ...  # noqa: N802  a constant of the module

    @property
    def TITLE(self) -> str: ...  # noqa: N802  what people call it

    @property
    def ENGINES(self) -> bool: ...  # noqa: N802  whether what it loads was built for one kind of GPU

    def holds(self, folder: Path, /) -> bool:
        """Say whether a folder holds what this runtime loads."""
        ...

    def missing(self) -> str:
        """Return why this runtime cannot run here, in one sentence; '' where it can."""
        ...

    def prepare(self) -> None:
        """Load the runtime itself, without a model."""
        ...

    def load(self, folder: Path, /, *, threads: int = 1, spin: bool = True, device: str = "") -> Loaded:
        """Load an artifact on a device ('': the one that the runtime is for) with a fixed number of threads.

        Without `spin` they wait for work asleep.

        Raises ModelError where the runtime rejects it, or has no such device.
        """
        ...
