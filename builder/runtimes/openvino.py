"""OpenVINO on the processor: load an intermediate representation (IR), run it, say what ran.

The precision is always said: left to itself, OpenVINO computes in bf16 wherever the processor can (seen with 2026.4 on
a Zen 4: errors of 1e-2 instead of 1e-6). What is quantized computes in int8 all the same.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError
from builder.runtimes.interface import Execution, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ENGINES", "NAME", "TITLE", "Layer", "Session", "core", "holds", "load", "missing", "prepare"]

NAME = "openvino"
TITLE = "OpenVINO"
ENGINES = False
MODEL = "model.xml"
PRECISION = "f32"  # of what is not quantized
_DEVICES = {"cpu": "CPU"}

_DTYPES = {
    "f32": "float32",
    "f16": "float16",
    "f64": "float64",
    "i64": "int64",
    "i32": "int32",
    "i16": "int16",
    "i8": "int8",
    "u8": "uint8",
    "boolean": "bool",
}
_PRECISIONS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "f64": "fp64", "i8": "int8", "u8": "int8"}
# Layers that compute nothing: they hold, move or convert numbers.
_MOVES = {
    *("Broadcast", "Concatenation", "Const", "Convert", "FakeQuantize", "Gather", "Input", "Output", "Pad", "Reorder"),
    *("Reshape", "Split", "StridedSlice", "Subgraph_Reorder", "Transpose"),
}


def holds(folder: Path) -> bool:
    return (folder / MODEL).is_file()


def missing() -> str:
    return "" if find_spec("openvino") else "the Python package openvino is not installed here"


def prepare() -> None:
    core().get_property(_DEVICES["cpu"], "FULL_DEVICE_NAME")  # which loads the plugin of the processor


def load(folder: Path, *, threads: int = 1, spin: bool = True, device: str = "") -> Session:
    return Session(folder / MODEL, threads=threads, spin=spin, device=device)


def core() -> Any:
    """Return OpenVINO's core. Its Python package tells Intel of every import, unless its telemetry is not there."""
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]  # None: importing it fails
    modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino.Core()


@dataclass(frozen=True)
class Layer:
    """A layer of the graph that OpenVINO made, with all that it has fused into it."""

    name: str
    kind: str  # its type, such as 'Convolution'
    kernel: str  # what it runs in, such as 'brgconv_avx512_I8'
    fused: tuple[str, ...]  # the layers of the file that it stands for, its own first; none: OpenVINO added it
    shape: tuple[int, ...] | None  # of its first output; None where that is open

    @property
    def precision(self) -> str:
        """Return what it computes in, by its kernel; '' where it computes nothing, or that does not tell.

        A kernel's name ends in the type of its first input (Node::getPrimitiveDescriptorType), which of an element-wise
        layer may be a mask. Not by its `runtimePrecision`: that is f16 for a layer that has f16 weights and computes in
        f32.
        """
        found = "" if self.kind in _MOVES else _PRECISIONS.get(self.kernel.rpartition("_")[2].lower(), "")
        return "" if (self.kind, found) == ("Eltwise", "int8") else found


class Session:
    """A model compiled by OpenVINO for the processor, with a fixed number of threads and one stream of runs.

    With `profile` it counts how long its layers take, from the first run on. Raises ModelError where OpenVINO rejects
    the file, or for a device that is not `cpu`. Its threads sleep between runs, with or without `spin`.
    """

    def __init__(
        self, model: Path, *, threads: int = 1, spin: bool = True, device: str = "", profile: bool = False
    ) -> None:
        del spin
        if (device or "cpu") not in _DEVICES:
            raise ModelError(f"OpenVINO is used on the processor only, not on {device}", "leave device at cpu")
        self._core, self._ran = core(), False
        settings = {
            "INFERENCE_PRECISION_HINT": PRECISION,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # the system places threads, as it does ONNX Runtime's
            "PERF_COUNT": profile,
        }
        try:
            self._compiled = self._core.compile_model(str(model), _DEVICES[device or "cpu"], settings)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO {_version()} rejects the model: {_brief(error)}") from error
        self._request = self._compiled.create_infer_request()
        self.inputs = tuple(_tensor(port) for port in self._compiled.inputs)
        self.outputs = tuple(_tensor(port) for port in self._compiled.outputs)

    def run(self, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs in order. Raises ModelError where the feed does not fit or an operator fails."""
        self._ran = True
        try:
            results = self._request.infer(dict(feed), share_inputs=True)
        except (RuntimeError, TypeError, ValueError, KeyError) as error:
            raise ModelError(f"OpenVINO could not run the model: {_brief(error)}") from error
        return [results[index] for index in range(len(self.outputs))]

    def describe(self) -> Execution:
        """Return what runs: the precision of each layer of the graph that OpenVINO made, and where."""
        if not self._ran:
            raise ModelError("OpenVINO can say what ran only after a run")
        layers = self.layers()
        precisions = Counter(layer.precision for layer in layers if layer.precision)
        devices = self._compiled.get_property("EXECUTION_DEVICES")
        name = self._core.get_property(devices[0], "FULL_DEVICE_NAME")
        return Execution(NAME, _version(), str(name), precisions, {devices[0]: len(layers)})

    def layers(self) -> list[Layer]:
        """Return the layers of the graph that OpenVINO made, in the order in which they run."""
        nodes = self._compiled.get_runtime_model().get_ordered_ops()
        return [layer for layer in map(_layer, nodes) if layer.kind not in ("Const", "Input", "Output")]

    def mean_us(self) -> dict[str, int]:
        """Return how long each layer took by name, in us: the mean of all runs so far, of a session with `profile`."""
        found: Counter[str] = Counter()
        for entry in self._request.get_profiling_info():  # what is fused has an entry of its own, of 0
            found[entry.node_name] += entry.real_time // timedelta(microseconds=1)
        return found


def _layer(node: Any) -> Layer:
    told = node.get_rt_info()
    kind, kernel, fused = (told[name].astype(str) for name in ("layerType", "primitiveType", "originalLayersNames"))
    shape = node.get_output_partial_shape(0) if node.get_output_size() else None
    sizes = tuple(size.get_length() for size in shape) if shape is not None and shape.is_static else None
    return Layer(node.get_friendly_name(), kind, kernel, tuple(filter(None, fused.split(","))), sizes)


def _version() -> str:
    import openvino

    return str(openvino.get_version()).partition("-")[0]


def _tensor(port: Any) -> Tensor:
    shape = tuple(size.get_length() if size.is_static else None for size in port.get_partial_shape())
    kind = port.get_element_type().to_string()
    return Tensor(port.get_any_name(), shape, _DTYPES.get(kind, kind))


def _brief(error: Exception) -> str:
    """Return what OpenVINO means, without the lines that name its source files."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    text = " ".join((told or lines)[-3:])
    return text if len(text) <= 400 else f"{text[:190]} ... {text[-190:]}"
