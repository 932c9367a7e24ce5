"""What the target's runtime loads, made of a model: the compiler of each runtime is a file of `builder/compilers/`."""

from __future__ import annotations

from dataclasses import replace

from builder.compilers import tensorrt
from builder.compilers.options import Options
from builder.specs import Target

__all__ = ["Options", "compile"]


def _runtime(options: Options, target: Target) -> str:
    return options.runtime or target.runtime.value


compile = replace(tensorrt.compile, variant=_runtime, runtimes=())  # noqa: A001  what NVIDIA calls it
