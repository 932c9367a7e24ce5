"""What a recipe may say about compiling; each runtime reads what means something to it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Options"]


@dataclass
class Options:
    runtime: str = ""  # what the model is compiled for; empty: the runtime of the target
    workspace_mib: int = 1024  # scratch memory that TensorRT's kernels may use on the device
    optimization_level: int = 3  # 0 builds fast, 5 searches longest

    def __post_init__(self) -> None:
        if self.workspace_mib < 1:
            raise ValueError(f"workspace_mib is {self.workspace_mib}; it must be at least 1")
        if not 0 <= self.optimization_level <= 5:
            raise ValueError(f"optimization_level is {self.optimization_level}; TensorRT has 0 to 5")
