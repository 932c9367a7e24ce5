"""A runtime that is a Python package of this device: TensorRT, TensorRT-RTX, or ONNX Runtime.

Each engine, each bundle of feeds and each block has a process of its own: native code may crash.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from builder.device.child import ask
from builder.device.driver import Block, Driver, Feed
from builder.device.stop import Failed
from builder.device.trt_api import MODULES, BuildRequest

__all__ = ["PACKAGES", "OnnxRuntime", "Package", "request_of"]


class Package(Driver):
    name = "python"
    module = "builder.device.run_tensorrt"  # of the child
    at_once = 64

    def build(self, request: BuildRequest, layers: Path, log: Path) -> dict[str, Any]:
        return self._ask("build", {"request": asdict(request), "layers": str(layers)}, log)

    def run(self, engine: Path, feeds: Sequence[Feed], tensors: Mapping[str, Any], files: Sequence[Path]) -> None:
        request = {**request_of(engine, feeds, tensors), "files": list(map(str, files))}
        self._ask("run", request, files[0].with_suffix(".log"))
        files[0].with_suffix(".log").unlink()

    def time(self, engine: Path, feed: Feed, tensors: Mapping[str, Any], log: Path, **how: float) -> Block:
        said = self._ask("time", {**request_of(engine, [feed], tensors), **how}, log)
        return Block(said["latencies_ns"], said["load_ms"], said["warmup_runs"])

    @classmethod
    def install(cls, version: str = "") -> str:
        """Return what to do where the runtime is not here, or not of the version that is wanted."""
        return f"python3 -m pip install {cls.runtime}{version and f'=={version}'}"

    @classmethod
    def _ask(cls, what: str, request: Mapping[str, Any], log: Path) -> dict[str, Any]:
        return ask(cls.module, what, {"runtime": cls.runtime, **request}, log)

    @classmethod
    def find(cls) -> Package | None:
        """Return the runtime where this Python has its package and can import it, else None."""
        if not any(importlib.util.find_spec(name) for name in MODULES.get(cls.runtime, (cls.runtime,))):
            return None
        with tempfile.TemporaryDirectory() as folder:
            try:
                said = cls._ask("version", {}, Path(folder, "log"))
            except Failed:
                return None
        return cls(said["version"])


class TensorRt(Package):
    """Builds its engines here."""

    @classmethod
    def install(cls, version: str = "") -> str:
        del version  # a Jetson has that of its JetPack
        return "on a Jetson: apt install tensorrt; else put trtexec on PATH"


class TensorRtRtx(Package):
    """Runs engines that were built at home; their kernels are made where they are loaded."""

    runtime = "tensorrt_rtx"


class OnnxRuntime(Package):
    """Takes the model as it is."""

    runtime = "onnxruntime"
    module = "builder.device.run_onnxruntime"
    artifact = "model.onnx"


PACKAGES: Mapping[str, type[Package]] = {kind.runtime: kind for kind in (TensorRt, TensorRtRtx, OnnxRuntime)}


def request_of(engine: Path, feeds: Sequence[Feed], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a child is told of an engine and what it shall take."""
    named = [{name: str(file) for name, file in feed.items()} for feed in feeds]
    return {"engine": str(engine), "feeds": named, **tensors}
