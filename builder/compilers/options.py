"""What a recipe may say about compiling; each runtime reads what means something to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Options", "ParserCheck", "Profile", "Stored"]


class Stored(StrEnum):
    """What the weights in OpenVINO's files are stored as; what is not quantized is computed in fp32 all the same."""

    AUTO = "auto"  # as the model has them
    F32 = "f32"
    F16 = "f16"  # half the bytes
    INT8 = "int8"  # of a model that is quantized already


class ParserCheck(StrEnum):
    """Whether TensorRT-RTX's parser is asked about a model that goes to TensorRT."""

    AUTO = "auto"  # wherever its toolchain can be had; else it is skipped, and the build goes on
    REQUIRE = "require"  # a build fails without it
    NEVER = "never"


@dataclass
class Profile:
    """The shapes of an input that an engine takes: from `min` to `max`, and fastest at `opt` (TensorRT's words)."""

    min: list[int]
    opt: list[int]
    max: list[int]

    def __post_init__(self) -> None:
        if not len(self.min) == len(self.opt) == len(self.max):
            raise ValueError(f"min, opt and max have as many axes, got {self.min}, {self.opt} and {self.max}")
        if any(not 1 <= low <= best <= high for low, best, high in zip(self.min, self.opt, self.max, strict=True)):
            axes = [sorted(max(1, size) for size in axis) for axis in zip(self.min, self.opt, self.max, strict=True)]
            low, best, high = ([*end] for end in zip(*axes, strict=True))
            raise ValueError(
                f"1 <= min <= opt <= max on every axis, got {self.min}, {self.opt} and {self.max}; "
                f"in order: {{min: {low}, opt: {best}, max: {high}}}"
            )


@dataclass
class Options:
    runtime: str = ""  # what the model is compiled for; empty: the runtime of the target
    precision: Stored = Stored.AUTO  # of what OpenVINO stores
    profiles: dict[str, Profile] = field(default_factory=dict)  # of inputs with open axes
    parser: ParserCheck = ParserCheck.AUTO
    workspace_mib: int = 1024  # scratch memory that TensorRT's kernels may use on the device
    optimization_level: int = 3  # 0 builds fast, 5 searches longest
    timing_cache: str = ""  # a file with the times of an earlier build on the same device, to choose the same kernels
    dla_core: int | None = None  # the DLA to run on, counted from 0; none: the GPU
    allow_gpu_fallback: bool = False  # what the DLA cannot do runs on the GPU

    def __post_init__(self) -> None:
        if self.workspace_mib < 1:
            raise ValueError(f"workspace_mib is {self.workspace_mib}; it must be at least 1")
        if not 0 <= self.optimization_level <= 5:
            raise ValueError(f"optimization_level is {self.optimization_level}; TensorRT has 0 to 5")
        if self.dla_core is not None and self.dla_core < 0:
            raise ValueError(f"dla_core is {self.dla_core}; cores are counted from 0")
        if self.allow_gpu_fallback and self.dla_core is None:
            raise ValueError("allow_gpu_fallback goes with dla_core; without a DLA everything runs on the GPU")
