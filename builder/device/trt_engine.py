"""An engine on this machine's GPU: load it, give it inputs, run it, take its outputs, say what it is made of.

The same calls serve `tensorrt` (8.5 to 11) and `tensorrt_rtx`. Memory is libcuda's, through `cuda`: no other package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.device.cuda import Cuda
from builder.device.trt_api import TrtError, logger_of

__all__ = ["Engine", "Port"]

# TensorRT's name of a type -> numpy's, and the bytes of a value.
TYPES = {
    "FLOAT": ("float32", 4),
    "HALF": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "INT64": ("int64", 8),
    "INT32": ("int32", 4),
    "INT8": ("int8", 1),
    "UINT8": ("uint8", 1),
    "BOOL": ("bool", 1),
}


@dataclass(frozen=True)
class Port:
    """An input or output of an engine; -1 stands for an open axis."""

    name: str
    dtype: str  # numpy's name
    shape: tuple[int, ...]
    is_input: bool
    item_bytes: int

    def bytes_of(self, shape: Sequence[int]) -> int:
        size = self.item_bytes
        for each in shape:
            size *= each
        return size


class Engine:
    """A loaded engine with one execution context. Raises TrtError where it does not belong to this machine.

    `load` inputs, `execute` as often as you like, `fetch` outputs: only `execute` is what is worth timing.
    """

    def __init__(self, trt: Any, plan: bytes, *, dla_core: int | None = None, cuda: Cuda | None = None) -> None:
        self._cuda = cuda or Cuda()
        self._logger = logger_of(trt)
        runtime = trt.Runtime(self._logger)
        if dla_core is not None:
            runtime.DLA_core = dla_core
        self._engine = runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            last = f": {self._logger.errors[-1]}" if self._logger.errors else ""
            raise TrtError(f"TensorRT {trt.__version__} cannot load the engine here{last}")
        self._trt = trt
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise TrtError("the engine was loaded, and there is not enough memory on the GPU to run it")
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        self.ports = tuple(map(self._port, names))
        self._stream = self._cuda.stream()
        self._memory: dict[str, tuple[int, int]] = {}  # name -> address, bytes

    def load(self, feeds: Mapping[str, tuple[Sequence[int], bytes]]) -> None:
        """Copy inputs to the GPU, each a shape and its bytes in C order, and make room for the outputs."""
        for port in (port for port in self.ports if port.is_input):
            if port.name not in feeds:
                raise TrtError(f"the engine takes an input '{port.name}', and there is none of that name")
            shape, values = feeds[port.name]
            if len(values) != port.bytes_of(shape):
                raise TrtError(f"input '{port.name}' is {port.dtype}{list(shape)}, and {len(values)} bytes were given")
            if not self._context.set_input_shape(port.name, tuple(shape)):
                raise TrtError(f"the engine does not take {list(shape)} for '{port.name}': {list(port.shape)} is built")
            self._cuda.write(self._room(port.name, len(values)), values)
        for port in (port for port in self.ports if not port.is_input):
            self._room(port.name, port.bytes_of(self._shape(port)))

    def execute(self) -> None:
        """Run once and wait for the end. Raises TrtError."""
        if not self._context.execute_async_v3(self._stream):
            last = f": {self._logger.errors[-1]}" if self._logger.errors else ""
            raise TrtError(f"the engine did not run{last}")
        self._cuda.wait(self._stream)

    def fetch(self) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
        """Return each output: dtype, shape, bytes in C order."""
        found = {}
        for port in (port for port in self.ports if not port.is_input):
            shape = self._shape(port)
            found[port.name] = port.dtype, shape, self._cuda.read(self._memory[port.name][0], port.bytes_of(shape))
        return found

    def layers(self) -> str:
        """Return what TensorRT's inspector says of the layers, as JSON with sorted keys."""
        inspector = self._engine.create_engine_inspector()
        text = str(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))
        return json.dumps(json.loads(text), sort_keys=True, indent=1) + "\n"

    def _port(self, name: str) -> Port:
        kind = self._engine.get_tensor_dtype(name).name
        if kind not in TYPES:
            raise TrtError(f"'{name}' is {kind}, of which no tensor can be made here")
        dtype, size = TYPES[kind]
        is_input = self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT
        return Port(name, dtype, tuple(self._engine.get_tensor_shape(name)), is_input, size)

    def _shape(self, port: Port) -> tuple[int, ...]:
        shape = tuple(self._context.get_tensor_shape(port.name))
        if min(shape, default=0) < 0:
            raise TrtError(f"the shape of the output '{port.name}' depends on the values of the inputs: {list(shape)}")
        return shape

    def _room(self, name: str, size: int) -> int:
        """Return where a tensor lies on the GPU; at least one byte, since TensorRT takes no null."""
        address, held = self._memory.get(name, (0, 0))
        if held < size or not address:
            if address:
                self._cuda.free(address)
            address = self._cuda.allocate(max(size, 1))
            self._memory[name] = address, size
        self._context.set_tensor_address(name, address)
        return address
