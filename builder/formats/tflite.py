"""Models of TensorFlow Lite (LiteRT): .tflite files, float or quantized."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError
from builder.specs import DType, Tensor
from builder.step import Job, Result, exporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["tflite"]


_MAGIC = b"TFL3"  # after the first four bytes (tensorflow/compiler/mlir/lite/schema/schema.fbs, file_identifier)
_INPUT = re.compile(r"(?:\w*serving_default_)?(.+?)(?::\d+)?")  # serving_default_image:0
_OUTPUT = re.compile(r"(?:StatefulPartitionedCall(?:_\d+)?|Identity(?:_\d+)?)(?::\d+)?")  # says nothing


@exporter(toolchain="tensorflow", weights=True)
def tflite(_options: None, job: Job) -> Result:
    """Convert a .tflite file with tf2onnx, and run it in LiteRT's own interpreter for comparison.

    Its inputs keep their layout, which is NHWC for images. A quantized one becomes QDQ, and its whole-number outputs
    are compared by how many differ. Raises ModelError for operators that ONNX or LiteRT has nothing for.
    """
    from builder.sources.exported import name_ports, write_exported
    from builder.sources.samples import feeds_of, write_samples
    from builder.sources.tensorflow import OPSET, converted, settle

    settle()
    import tf2onnx
    from ai_edge_litert.interpreter import Interpreter

    file = _file(job)
    interpreter = Interpreter(str(file), num_threads=1)
    inputs = job.model.inputs or _inputs(interpreter)
    origin, feeds = feeds_of(job, inputs)
    results = [_run(interpreter, [feed[name] for name in inputs]) for feed in feeds]
    opset = job.model.opset or OPSET
    model = converted(lambda: tf2onnx.convert.from_tflite(str(file), opset=opset), inputs)
    names = name_ports(model, [*inputs], job.model.outputs or _outputs(interpreter))
    facts = write_exported(job, model)
    made = [dict(zip(names, result, strict=True)) for result in results]
    write_samples(job, "LiteRT", origin, feeds, made)
    return Result(facts)


def _file(job: Job) -> Path:
    file = next(Path(job.inputs["weights"]).iterdir())
    with file.open("rb") as opened:
        if opened.read(8)[4:] != _MAGIC:
            raise ModelError(
                "the file is no model of TensorFlow Lite: it does not say TFL3 where one does",
                "a SavedModel or .h5 is converted to one with tf.lite.TFLiteConverter",
            )
    return file


def _inputs(interpreter: Any) -> dict[str, Tensor]:
    """Return what a model takes: names as in its signature where they tell, open axes named."""
    found = {}
    for number, about in enumerate(interpreter.get_input_details()):
        match = _INPUT.fullmatch(about["name"])
        name = match[1] if match else f"input{number}"
        sizes = [int(size) for size in about["shape_signature"]]
        shape = [size if size >= 0 else ("batch" if axis == 0 else f"{name}_{axis}") for axis, size in enumerate(sizes)]
        found[name] = Tensor(shape, DType(about["dtype"].__name__))
    return found


def _outputs(interpreter: Any) -> list[str]:
    names = [about["name"] for about in interpreter.get_output_details()]
    return [
        f"output{number}" if _OUTPUT.fullmatch(name) else name.partition(":")[0] for number, name in enumerate(names)
    ]


def _run(interpreter: Any, arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Return what LiteRT makes of one feed. Raises ModelError, as for operators that are not its own (Flex)."""
    from ai_edge_litert import __version__

    try:
        for about, array in zip(interpreter.get_input_details(), arrays, strict=True):
            interpreter.resize_tensor_input(about["index"], array.shape)
        interpreter.allocate_tensors()
        for about, array in zip(interpreter.get_input_details(), arrays, strict=True):
            interpreter.set_tensor(about["index"], array)
        interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        words = " ".join(str(error).split())
        hint = "compare model.inputs with the file"
        if "TensorFlow op" in words:
            hint = "convert it with the operators of TFLite alone (tf.lite.OpsSet.TFLITE_BUILTINS)"
        raise ModelError(f"LiteRT {__version__} cannot run it: {words[:200]}", hint) from error
    return [interpreter.get_tensor(about["index"]).copy() for about in interpreter.get_output_details()]
