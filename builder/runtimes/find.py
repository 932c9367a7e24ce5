"""Which runtime an artifact is for, told by its files."""

from __future__ import annotations

from pathlib import Path

from builder.errors import StepError, ToolchainError
from builder.runtimes import onnxruntime, openvino, tensorrt, tensorrt_rtx
from builder.runtimes.interface import Loaded, Runtime

__all__ = ["RUNTIMES", "find_runtime", "load", "named", "prepared"]

RUNTIMES: tuple[Runtime, ...] = (onnxruntime, openvino, tensorrt, tensorrt_rtx)


def find_runtime(folder: Path) -> Runtime:
    """Return the runtime of an artifact. Raises StepError where a folder holds none."""
    found = next((runtime for runtime in RUNTIMES if runtime.holds(folder)), None)
    if found is None:
        names = ", ".join(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else "nothing"
        raise StepError(
            f"there is nothing to run: expected model.onnx, model.xml or engine.plan, got {names or 'an empty folder'}"
        )
    return found


def named(name: str) -> Runtime | None:
    """Return the runtime of a name; None for one that is not ours."""
    return next((runtime for runtime in RUNTIMES if name == runtime.NAME), None)


def prepared(folder: Path) -> Runtime:
    """Return the runtime of an artifact, loaded itself. Raises ToolchainError where it is not installed here."""
    runtime = find_runtime(folder)
    if why := runtime.missing():
        raise ToolchainError(why, f"run the step in a toolchain that has it: toolchain: {runtime.NAME}")
    runtime.prepare()
    return runtime


def load(folder: Path, *, threads: int = 1, spin: bool = True, device: str = "") -> Loaded:
    """Load an artifact in its runtime. Raises ModelError, or ToolchainError where that is not installed here."""
    return prepared(folder).load(folder, threads=threads, spin=spin, device=device)
