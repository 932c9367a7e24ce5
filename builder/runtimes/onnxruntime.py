"""ONNX Runtime on the CPU: load a model, run it, describe it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Session", "Tensor"]

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}

_NOISE = (
    re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : "),
    re.compile(r"Load model from \S+ failed: ?"),
    re.compile(r"/onnxruntime_src/\S+:\d+ [^()]*\((?:[^()]|\([^()]*\))*\)(?: const)? "),  # a C++ function
)


@dataclass(frozen=True)
class Tensor:
    """An input or output: a name, a shape with None for what is open, and a numpy dtype name.

    Of a type that numpy has no number for (strings, bfloat16, sequences), `dtype` is ONNX Runtime's own word for it,
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


class Session:
    """A model loaded in ONNX Runtime's CPU provider with a fixed number of threads.

    Without `spin` its threads wait for work asleep, so that a session that does nothing costs nothing.

    Raises ModelError where the file is no ONNX model or ONNX Runtime rejects it.
    """

    def __init__(self, model: Path, *, threads: int = 1, optimize: bool = True, spin: bool = True) -> None:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        if not spin:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if not optimize:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions share no base class
            raise ModelError(f"ONNX Runtime {ort.__version__} rejects the model: {_brief(error)}") from error
        self.inputs = tuple(_tensor(value) for value in self._session.get_inputs())
        self.outputs = tuple(_tensor(value) for value in self._session.get_outputs())

    def run(self, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs in order. Raises ModelError where the feed does not fit or an operator fails."""
        try:
            return list(self._session.run(None, dict(feed)))
        except Exception as error:
            raise ModelError(f"ONNX Runtime could not run the model: {_brief(error)}") from error


def _tensor(value: Any) -> Tensor:
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return Tensor(value.name, shape, _DTYPES.get(value.type, value.type))


def _brief(error: Exception) -> str:
    """Return what ONNX Runtime means, without its codes, its source files and the names of our own folders."""
    text = " ".join(str(error).split())
    for noise in _NOISE:
        text = noise.sub("", text)
    return text if len(text) <= 400 else f"{text[:190]} ... {text[-190:]}"
