"""What can be read from an ONNX file: its inputs and outputs, and that ONNX Runtime takes it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from builder.digest import digest_file
from builder.errors import ModelError
from builder.runtimes.interface import Tensor
from builder.runtimes.onnxruntime import Session

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Inspected", "inspect_model"]

_THREADS = 4


@dataclass(frozen=True)
class Inspected:
    """A model that ONNX Runtime has loaded."""

    path: Path
    session: Session
    opset: int
    nodes: int
    bytes: int  # with its external data

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self.session.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return self.session.outputs

    @cached_property
    def sha256(self) -> str:
        return digest_file(self.path)


def inspect_model(path: Path) -> Inspected:
    """Load a model. Raises ModelError where the file is no float ONNX model or ONNX Runtime rejects it."""
    from builder.onnxtools.files import load_graph
    from builder.onnxtools.graph import walk
    from builder.onnxtools.opset import opset

    loaded = load_graph(path, str(path))
    quantized = [
        node for node in loaded.graph.node if node.op_type.endswith("QuantizeLinear") or "QLinear" in node.op_type
    ]
    if quantized:
        raise ModelError(
            f"{path} is quantized already: {len(quantized)} of its nodes are, such as {quantized[0].op_type}",
            "give the float model that it was made from",
        )
    session = Session(path, threads=min(_THREADS, len(os.sched_getaffinity(0))))
    if not session.inputs:
        raise ModelError(f"{path} takes no input", "export it with its input, not as constants")
    size = path.stat().st_size + _external_bytes(loaded, path)
    return Inspected(path, session, opset(loaded), sum(1 for _ in walk(loaded.graph)), size)


def _external_bytes(loaded: ModelProto, path: Path) -> int:
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    names = {ExternalDataInfo(tensor).location for tensor in loaded.graph.initializer if uses_external_data(tensor)}
    return sum(file.stat().st_size for name in names if (file := path.parent / name).is_file())
