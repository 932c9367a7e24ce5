"""What Keras and TFLite share on their way to ONNX: TensorFlow made repeatable, what tf2onnx makes of it tidied."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError
from builder.specs import Tensor

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

__all__ = ["OPERATORS", "OPSET", "converted", "settle"]

OPSET = 18  # the highest that tf2onnx 1.17 writes

# Read when TensorFlow and Keras are imported. oneDNN's order of sums depends on the processor's load.
_ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}


def settle() -> None:
    """Let all that TensorFlow does from here on be the same each time: one thread, and no settings of the user's."""
    home = Path(tempfile.gettempdir()) / "keras"  # else Keras reads ~/.keras/keras.json, and writes one
    os.environ.update(_ENVIRONMENT, KERAS_HOME=str(home))
    import tf2onnx.convert  # noqa: F401  it counts when it is imported, too
    from tf2onnx import graph, utils

    utils.INTERNAL_NAME = 1  # what it numbers names from; it counts on from one model to the next
    graph.Node.__hash__ = lambda node: hash(node.name)  # else its sets of nodes are in the order of their addresses


def converted(convert: Callable[[], tuple[ModelProto, Any]], inputs: Mapping[str, Tensor]) -> ModelProto:
    """Return what tf2onnx makes of a model, its open axes named as `inputs` say, in order.

    Raises ModelError where tf2onnx fails, or leaves operators as they were: then ONNX has nothing for them.
    """
    import onnx
    from tf2onnx import __version__

    from builder.onnxtools.graph import walk

    try:
        model, _ = convert()
    except Exception as error:  # it raises what it likes
        traceback.print_exc()
        words = " ".join(str(error).split())[:300]
        raise ModelError(f"tf2onnx {__version__} cannot convert it: {words}", "the log has the traceback") from error
    nodes = [*walk(model.graph)]
    left = sorted({node.op_type for node in nodes if not onnx.defs.has(node.op_type, node.domain)})
    if left:
        raise ModelError(
            f"tf2onnx {__version__} has nothing in ONNX for the operators {', '.join(left)}",
            "replace the layers that use them, or move that part into the data's preprocessing",
        )
    used = {node.domain for node in nodes} | {""}
    versions = {entry.domain: entry.version for entry in model.opset_import if entry.domain in used}
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in versions.items())
    _name_axes(model.graph, [*inputs.values()])
    return model


def _erfc(context: Any, node: Any, name: str, _arguments: Any) -> None:
    """Write Erfc, which Keras's exact GELU is made of, as 1 - Erf: tf2onnx 1.17 has nothing for it."""
    import numpy as np
    from tf2onnx import utils

    dtype = context.get_dtype(node.output[0])
    one = np.array(1, dtype=utils.map_onnx_to_numpy_type(dtype))
    context.remove_node(name)
    erf = context.make_node("Erf", [node.input[0]], dtypes=[dtype])
    one_name = context.make_const(utils.make_name("one"), one).output[0]
    context.make_node("Sub", [one_name, erf.output[0]], name=name, outputs=node.output, dtypes=[dtype])


OPERATORS: dict[str, Any] = {"Erfc": (_erfc, [])}  # what tf2onnx is told of TensorFlow's operators


def _name_axes(graph: GraphProto, inputs: list[Tensor]) -> None:
    """Name open axes after those of the inputs: tf2onnx numbers them, each for itself."""
    del graph.value_info[:]  # they name axes too, and can be inferred again
    for port, tensor in zip(graph.input, inputs, strict=True):
        for dim, size in zip(port.type.tensor_type.shape.dim, tensor.shape, strict=True):
            if isinstance(size, str):
                dim.dim_param = size
            else:
                dim.dim_value = size
    first = next((tensor.shape[0] for tensor in inputs if tensor.shape and isinstance(tensor.shape[0], str)), "batch")
    for number, port in enumerate(graph.output):
        for axis, dim in enumerate(port.type.tensor_type.shape.dim):
            if dim.dim_param:
                dim.dim_param = str(first) if axis == 0 else f"output{number}_{axis}"
