"""ONNX Runtime on the processor, or with its CUDA provider: load a model, run it, say what ran."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError
from builder.runtimes.cpuinfo import processor_name
from builder.runtimes.interface import Execution, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ENGINES", "NAME", "TITLE", "Session", "holds", "load", "missing", "precision_of", "prepare"]

NAME = "onnxruntime"
TITLE = "ONNX Runtime"
ENGINES = False
MODEL = "model.onnx"

_PROVIDERS = {"cpu": ["CPUExecutionProvider"], "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"]}
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
# The precision that a node computes in, by the type of its first input; whole numbers are places and sizes.
_PRECISIONS = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16", "double": "fp64"} | dict.fromkeys(
    ("int8", "uint8"), "int8"
)
# Nodes that compute nothing: they hold, move or convert numbers.
_MOVES = {
    *("Cast", "Concat", "Constant", "DequantizeLinear", "Expand", "Flatten", "Gather", "Identity", "MemcpyFromHost"),
    *("MemcpyToHost", "Pad", "QuantizeLinear", "ReorderInput", "ReorderOutput", "Reshape", "Shape", "Slice", "Split"),
    *("Squeeze", "Transpose", "Unsqueeze", "Where"),
}
_NOISE = (
    re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : "),
    re.compile(r"Load model from \S+ failed: ?"),
    re.compile(r"/onnxruntime_src/\S+:\d+ [^()]*\((?:[^()]|\([^()]*\))*\)(?: const)? "),  # a C++ function
)


def holds(folder: Path) -> bool:
    return (folder / MODEL).is_file()


def missing() -> str:
    return "" if find_spec("onnxruntime") else "the Python package onnxruntime is not installed here"


def prepare() -> None:
    _imported()


def load(folder: Path, *, threads: int = 1, spin: bool = True, device: str = "") -> Session:
    return Session(folder / MODEL, threads=threads, spin=spin, device=device)


class Session:
    """A model loaded in ONNX Runtime with a fixed number of threads, on `cpu` (the default) or `cuda`.

    Without `spin` its threads wait for work asleep, so that a session that does nothing costs nothing.

    With `profile`, the beginning of a file's name, every run is profiled until `end_profile`.

    Raises ModelError where the file is no ONNX model, ONNX Runtime rejects it, or has no such device here.
    """

    def __init__(
        self,
        model: Path,
        *,
        threads: int = 1,
        optimize: bool = True,
        spin: bool = True,
        device: str = "",
        profile: str = "",
    ) -> None:
        self._made = (model, threads, optimize, device or "cpu")
        self._feed: Mapping[str, NDArray[Any]] | None = None
        self._session = _session(*self._made, spin=spin, profile=profile)
        self.inputs = tuple(_tensor(value) for value in self._session.get_inputs())
        self.outputs = tuple(_tensor(value) for value in self._session.get_outputs())

    def run(self, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs in order. Raises ModelError where the feed does not fit or an operator fails."""
        self._feed = feed
        try:
            return list(self._session.run(None, dict(feed)))
        except Exception as error:
            raise ModelError(f"ONNX Runtime could not run the model: {_brief(error)}") from error

    def describe(self) -> Execution:
        """Return what the last run ran, from the profile of another run of it, in a session made alike."""
        if self._feed is None:
            raise ModelError("ONNX Runtime can say what ran only after a run")
        nodes = list(_profiled(self._made, self._feed))
        precisions = Counter(found for node in nodes if (found := precision_of(node)))
        providers = Counter(node["provider"].removesuffix("ExecutionProvider") for node in nodes)
        cuda = self._made[-1] == "cuda"
        device = _gpu_name() if cuda else processor_name()
        return Execution(NAME, _imported().__version__, device, precisions, providers, "CUDA" if cuda else "")

    def end_profile(self) -> list[dict[str, Any]]:
        """Return the profiler's events in the order in which they ended; its file is left where it was asked for."""
        events: list[dict[str, Any]] = json.loads(Path(self._session.end_profiling()).read_text(encoding="utf-8"))
        return events


def _session(model: Path, threads: int, optimize: bool, device: str, *, spin: bool, profile: str = "") -> Any:
    ort = _imported()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    if not spin:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    providers = _PROVIDERS[device]
    if providers[0] not in ort.get_available_providers():
        raise ModelError(_no_device(device, "its build has no such provider"), "install onnxruntime-gpu")
    try:
        session = ort.InferenceSession(str(model), options, providers=providers)
    except Exception as error:  # ONNX Runtime's own exceptions share no base class
        raise ModelError(f"ONNX Runtime {ort.__version__} rejects the model: {_brief(error)}") from error
    if session.get_providers()[0] != providers[0]:  # it goes on without what it cannot start
        raise ModelError(_no_device(device, "the provider does not start"), "look at the driver and the CUDA libraries")
    return session


def _imported() -> Any:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime


def _no_device(device: str, why: str) -> str:
    return f"ONNX Runtime {_imported().__version__} cannot run on {device} here: {why}"


def _profiled(made: tuple[Path, int, bool, str], feed: Mapping[str, NDArray[Any]]) -> Iterator[dict[str, Any]]:
    """Yield what the profiler says of each node that one run ran."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="profile-") as folder:
        session = _session(*made, spin=False, profile=str(Path(folder) / "profile"))
        session.run(None, dict(feed))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes = {(event["name"], event["args"].get("node_index")): event["args"] for event in events if _is_node(event)}
    yield from nodes.values()  # each once, however often a loop ran it


def _is_node(event: Mapping[str, Any]) -> bool:
    return event.get("cat") == "Node" and "provider" in event.get("args", {})


def precision_of(node: Mapping[str, Any]) -> str:
    """Return the precision that a node computes in, from the profiler's facts; '' where it computes nothing."""
    if node["op_name"] in _MOVES:
        return ""
    if node["op_name"].startswith("DynamicQuantize"):  # takes fp32, and makes int8 of it first
        return "int8"
    types = [name for entry in node.get("input_type_shape", []) for name in entry]
    return _PRECISIONS.get(types[0], "") if types else ""


def _gpu_name() -> str:
    """Return the first GPU's name as NVIDIA's driver tells it."""
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        return file.read_text(encoding="utf-8").partition("Model:")[2].partition("\n")[0].strip()
    return "an NVIDIA GPU"


def _tensor(value: Any) -> Tensor:
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return Tensor(value.name, shape, _DTYPES.get(value.type, value.type))


def _brief(error: Exception) -> str:
    """Return what ONNX Runtime means, without its codes, its source files and the names of our own folders."""
    text = " ".join(str(error).split())
    for noise in _NOISE:
        text = noise.sub("", text)
    return text if len(text) <= 400 else f"{text[:190]} ... {text[-190:]}"
