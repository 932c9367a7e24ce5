"""A runtime that is a Python package of this device: TensorRT, or ONNX Runtime.

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
from builder.device.trt_api import BuildRequest

__all__ = ["OnnxRuntime", "Package", "find_package", "request_of"]


class Package(Driver):
    name = "python"
    module = "builder.device.run_tensorrt"  # of the child
    at_once = 64

    def build(self, request: BuildRequest, layers: Path, log: Path) -> dict[str, Any]:
        return ask(self.module, "build", {"request": asdict(request), "layers": str(layers)}, log)

    def run(self, engine: Path, feeds: Sequence[Feed], tensors: Mapping[str, Any], files: Sequence[Path]) -> None:
        request = {**request_of(engine, feeds, tensors), "files": list(map(str, files))}
        ask(self.module, "run", request, files[0].with_suffix(".log"))
        files[0].with_suffix(".log").unlink()

    def time(self, engine: Path, feed: Feed, tensors: Mapping[str, Any], log: Path, **how: float) -> Block:
        said = ask(self.module, "time", {**request_of(engine, [feed], tensors), **how}, log)
        return Block(said["latencies_ns"], said["load_ms"], said["warmup_runs"])


class OnnxRuntime(Package):
    """Takes the model as it is."""

    runtime = "onnxruntime"
    module = "builder.device.run_onnxruntime"
    artifact = "model.onnx"


def find_package(kind: type[Package]) -> Package | None:
    """Return the runtime where this Python has its package and can import it, else None."""
    if importlib.util.find_spec(kind.runtime) is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        try:
            said = ask(kind.module, "version", {}, Path(folder, "log"))
        except Failed:
            return None
    return kind(said["version"])


def request_of(engine: Path, feeds: Sequence[Feed], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a child is told of an engine and what it shall take."""
    named = [{name: str(file) for name, file in feed.items()} for feed in feeds]
    return {"engine": str(engine), "feeds": named, **tensors}
