"""Stands in for NVIDIA's packages `tensorrt` and `tensorrt_rtx`, by its name, where there is no GPU.

An engine is a model, which ONNX Runtime runs. Only what we call is here. An engine begins as theirs do, and then says
how it was built.
"""

from __future__ import annotations

import ctypes
import json
import os
from enum import Enum, IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

RTX = __name__ == "tensorrt_rtx"
MAGIC = b"vtrt" if RTX else b"ftrt"
__version__ = os.environ.get("STAND_IN_VERSION", "1.7.1.116" if RTX else "10.3.0")
WRONG = float(os.environ.get("STAND_IN_FACTOR", "1"))  # what outputs are multiplied with, for an engine that is wrong
_MAJOR = int(__version__.partition(".")[0])


class ILogger:
    INTERNAL_ERROR, ERROR = 0, 1


class NetworkDefinitionCreationFlag(IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class DataType(Enum):
    FLOAT = 0


class TensorIOMode(Enum):
    INPUT, OUTPUT = 1, 2


DeviceType = Enum("DeviceType", ["GPU", "DLA"])
MemoryPoolType = Enum("MemoryPoolType", ["WORKSPACE"])
ProfilingVerbosity = Enum("ProfilingVerbosity", ["DETAILED"])
LayerInformationFormat = Enum("LayerInformationFormat", ["JSON"])
ComputeCapability = Enum("ComputeCapability", ["SM86", "SM89", "SM120"])
_TYPED = RTX or _MAJOR >= 11  # by the graph alone
BuilderFlag = Enum("BuilderFlag", "GPU_FALLBACK" if _TYPED else "GPU_FALLBACK INT8 FP16")  # type: ignore[misc]


class Cache:
    def __init__(self, held: bytes) -> None:
        self.held = held

    def serialize(self) -> bytes:
        return self.held + b"+"


class Config:
    def __init__(self) -> None:
        self.said: dict[str, Any] = {"flags": [], "profiles": {}}
        self.builder_optimization_level = 3
        self.default_device_type, self.DLA_core = DeviceType.GPU, -1
        self.profiling_verbosity: Any = None
        self.cache: Any = None
        self.num_compute_capabilities = 0

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        self.said[pool.name] = size

    def set_compute_capability(self, capability: Any, index: int) -> None:
        assert RTX, "TensorRT builds for the GPU at hand"
        assert index < self.num_compute_capabilities
        self.said["capability"] = capability.name

    def set_flag(self, flag: Any) -> None:
        self.said["flags"].append(flag.name)

    def create_timing_cache(self, held: bytes) -> Cache:
        return Cache(held)

    def set_timing_cache(self, cache: Cache, _ignore: bool) -> bool:
        self.cache = cache
        return not cache.held.startswith(b"other")

    def get_timing_cache(self) -> Any:
        return self.cache

    def add_optimization_profile(self, profile: Any) -> None:
        self.said["profiles"] = profile.shapes


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, low: Any, best: Any, high: Any) -> None:
        self.shapes[name] = [low, best, high]


class Builder:
    num_DLA_cores = 2  # noqa: N815  TensorRT calls it so

    def __init__(self, _logger: Any) -> None:
        if os.environ.get("STAND_IN_NO_GPU") and not RTX:
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags: int) -> Any:
        return SimpleNamespace(flags=flags, num_layers=4, onnx=b"", num_inputs=0)

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Any, config: Config) -> bytes:
        device = config.default_device_type.name
        said = {**config.said, "network": network.flags, "device": device, "core": config.DLA_core}
        return MAGIC + json.dumps(said).encode() + b"\0" + bytes(network.onnx)


class OnnxParser:
    num_errors = 0

    def __init__(self, network: Any, _logger: Any) -> None:
        self._network = network

    def parse_from_file(self, path: str) -> bool:
        with open(path, "rb") as file:  # noqa: PTH123  as it is in C++
            self._network.onnx = file.read()
        ports = [*onnxruntime.InferenceSession(path).get_inputs()]
        shapes = [tuple(size if isinstance(size, int) else -1 for size in port.shape) for port in ports]
        tensors = [SimpleNamespace(name=port.name, shape=shape) for port, shape in zip(ports, shapes, strict=True)]
        self._network.num_inputs, self._network.get_input = len(tensors), tensors.__getitem__
        return True


class Context:
    def __init__(self, session: Any) -> None:
        self._session = session
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return min(shape) > 0

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return address != 0

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        zeros = {each: np.zeros(shape, np.float32) for each, shape in self._shapes.items()}
        return tuple(self._session.run([name], zeros)[0].shape)

    def execute_async_v3(self, stream: int) -> bool:
        feed = {}
        for name, shape in self._shapes.items():
            held = ctypes.string_at(self._addresses[name], int(np.prod(shape)) * 4)
            feed[name] = np.frombuffer(held, np.float32).reshape(shape)
        names = [port.name for port in self._session.get_outputs()]
        for name, found in zip(names, self._session.run(names, feed), strict=True):
            values = (found * np.float32(WRONG)).tobytes()
            ctypes.memmove(self._addresses[name], values, len(values))
        return stream == 0x5678


class Engine:
    def __init__(self, onnx: bytes) -> None:
        self._session = onnxruntime.InferenceSession(onnx)
        self._inputs = [port.name for port in self._session.get_inputs()]
        self._ports = [*self._session.get_inputs(), *self._session.get_outputs()]
        self.num_io_tensors = len(self._ports)

    def create_execution_context(self) -> Context:
        return Context(self._session)

    def get_tensor_name(self, index: int) -> str:
        return str(self._ports[index].name)

    def get_tensor_dtype(self, _name: str) -> DataType:
        return DataType.FLOAT

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        shape = next(port.shape for port in self._ports if port.name == name)
        return tuple(size if isinstance(size, int) else -1 for size in shape)

    def create_engine_inspector(self) -> Any:
        outputs = [{"Name": "c", "Format/Datatype": "Row major Int8 format"}]
        layers = [{"Name": "conv", "LayerType": "Convolution", "Outputs": outputs}]
        return SimpleNamespace(get_engine_information=lambda _format: json.dumps({"Layers": layers}))


class Runtime:
    DLA_core = -1

    def __init__(self, _logger: Any) -> None:
        pass

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        if not plan.startswith(MAGIC):
            return None
        if model := os.environ.get("STAND_IN_MODEL"):  # the engine is NVIDIA's own
            with open(model, "rb") as file:  # noqa: PTH123  as it is in C++
                return Engine(file.read())
        said, _, onnx = plan[4:].partition(b"\0")
        return Engine(onnx) if json.loads(said)["core"] == self.DLA_core else None
