"""An engine of TensorRT or TensorRT-RTX as every other loaded artifact: numpy arrays in and out."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.device.cuda import Cuda, CudaError
from builder.device.trt_api import TrtError, import_api
from builder.device.trt_engine import Engine
from builder.errors import ModelError
from builder.runtimes.interface import Execution, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Session"]

# What the inspector writes of a tensor, such as 'Row major linear FP32', holds one of these words.
_PRECISIONS = {"int8": "int8", "fp16": "fp16", "half": "fp16", "bf16": "bf16", "fp32": "fp32", "float": "fp32"}
_WORDS = re.compile("|".join(_PRECISIONS), re.IGNORECASE)


class Session:
    """An engine on the first GPU, with one execution context. Raises ModelError where it cannot be loaded here."""

    def __init__(self, engine: Path, runtime: str, *, dla_core: int | None = None) -> None:
        self._runtime = runtime
        try:
            self._trt, self._cuda = import_api(runtime), Cuda()
            self._engine = Engine(self._trt, engine.read_bytes(), dla_core=dla_core, cuda=self._cuda)
        except (TrtError, CudaError) as error:
            raise ModelError(str(error)) from error
        ports = [(port.is_input, Tensor(port.name, _open(port.shape), port.dtype)) for port in self._engine.ports]
        self.inputs = tuple(tensor for is_input, tensor in ports if is_input)
        self.outputs = tuple(tensor for is_input, tensor in ports if not is_input)

    def run(self, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs in order. Raises ModelError where the feed does not fit or the GPU fails."""
        import numpy as np

        try:
            self._engine.load(
                {name: (value.shape, np.ascontiguousarray(value).tobytes()) for name, value in feed.items()}
            )
            self._engine.execute()
            found = self._engine.fetch()
        except (TrtError, CudaError) as error:
            raise ModelError(str(error)) from error
        return [np.frombuffer(found[each.name][2], each.dtype).reshape(found[each.name][1]) for each in self.outputs]

    def layers(self) -> str:
        """Return what TensorRT's inspector says of the layers, as JSON."""
        return self._engine.layers()

    def describe(self) -> Execution:
        """Return the precision of each layer, as the inspector tells it; all of an engine runs on the accelerator."""
        layers = json.loads(self.layers()).get("Layers", [])
        precisions = Counter(name for name in map(_precision, layers) if name)
        device = self._cuda.describe()["name"]
        providers = {self._runtime: len(layers)}
        return Execution(self._runtime, self._trt.__version__, device, precisions, providers, self._runtime)


def _open(shape: tuple[int, ...]) -> tuple[int | None, ...]:
    return tuple(None if size < 0 else size for size in shape)


def _precision(layer: Any) -> str:
    """Return what a layer's first output is written in; '' where the inspector gives names only."""
    outputs = layer.get("Outputs", []) if isinstance(layer, dict) else []
    found = _WORDS.search(str(outputs[0].get("Format/Datatype", ""))) if outputs else None
    return _PRECISIONS[found[0].lower()] if found else ""
