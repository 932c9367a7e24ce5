"""TensorRT-RTX: engines for consumer GPUs, which are built on any machine and run where such a GPU is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from builder.device.trt_api import NAMES, import_api
from builder.runtimes import tensorrt

if TYPE_CHECKING:
    from builder.runtimes.engine import Session

__all__ = ["ENGINES", "NAME", "TITLE", "holds", "load", "missing", "prepare"]

NAME = "tensorrt_rtx"
TITLE = NAMES[NAME]
ENGINES = True


def holds(folder: Path) -> bool:
    return (folder / tensorrt.ENGINE).is_file() and not tensorrt.holds(folder)


def missing() -> str:
    return tensorrt.missing(NAME)


def prepare() -> None:
    import_api(NAME)


def load(folder: Path, *, threads: int = 1, spin: bool = True, device: str = "") -> Session:
    """Load an engine on the first GPU; its kernels are made now. Raises ModelError where it does not belong to it."""
    from builder.runtimes.engine import Session

    del threads, spin, device  # all of an engine runs on the GPU
    return Session(folder / tensorrt.ENGINE, NAME)
