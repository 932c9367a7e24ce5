"""Models of Keras 3: kept in a .keras file, or built by a project's own code."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError
from builder.specs import DType, Tensor
from builder.step import Job, Result, exporter

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

__all__ = ["keras"]


_SEED = 0


@exporter(toolchain="tensorflow")
def keras(_options: None, job: Job) -> Result:
    """Load a model of Keras, or have `model.code` build it, and convert it with tf2onnx.

    With code, a file holds its weights (`.weights.h5`), else they are as the code made them, from a fixed seed.
    Raises ModelError for a file that brings code of its own, and for what tf2onnx cannot convert.
    """
    from builder.sources.exported import name_ports, write_exported
    from builder.sources.keras_file import load_keras
    from builder.sources.samples import feeds_of, write_samples
    from builder.sources.tensorflow import settle

    settle()
    import keras as framework

    framework.backend.clear_session()
    framework.utils.set_random_seed(_SEED)
    model = _build(job) if job.model.code else load_keras(job)
    inputs = job.model.inputs or _inputs(model)
    origin, feeds = feeds_of(job, inputs)
    made = [_run(model, feed) for feed in feeds]
    exported = _convert(model, inputs, job.model.opset)
    found = _outputs(model, made[0], len(exported.graph.output))
    names = name_ports(exported, [*inputs], job.model.outputs or found)
    facts = write_exported(job, exported)
    outputs = [dict(zip(names, _flat(each), strict=True)) for each in made]
    write_samples(job, f"Keras {framework.__version__} on TensorFlow", origin, feeds, outputs)
    return Result({**facts, "model": type(model).__name__, "parameters": f"{model.count_params():,}"})


def _build(job: Job) -> Any:
    """Return what the project's code makes, with the weights in the file where there is one. Raises ModelError."""
    from keras import Model

    from builder.sources.code import call_code

    model = call_code(job)
    if not isinstance(model, Model):
        raise ModelError(f"{job.model.code} made {type(model).__name__}, not a model of Keras (keras.Model)")
    if "weights" in job.inputs:
        file = next(Path(job.inputs["weights"]).iterdir())
        named = job.output / "model.weights.h5"  # Keras goes by the whole suffix
        named.symlink_to(file)
        try:
            model.load_weights(named)
        except Exception as error:  # Keras raises what it likes
            traceback.print_exc()
            words = " ".join(str(error).split())[:300]
            raise ModelError(f"the weights do not fit {job.model.code}: {words}", "check model.arguments") from error
        finally:
            named.unlink()
    return model


def _inputs(model: Any) -> dict[str, Tensor]:
    """Return what a model takes, by name, with open axes named. Raises ModelError where it does not say."""
    found = {}
    for number, tensor in enumerate(getattr(model, "inputs", None) or ()):
        name = str(tensor.name or f"input{number}")
        shape = [size or ("batch" if axis == 0 else f"{name}_{axis}") for axis, size in enumerate(tensor.shape)]
        found[name] = Tensor(shape, DType(tensor.dtype))
    if not found:
        raise ModelError(
            f"{type(model).__name__} does not say what it takes",
            "write it in conf/model, as: inputs: {image: {shape: [batch, 224, 224, 3]}}",
        )
    return found


def _outputs(model: Any, made: Any, count: int) -> list[str]:
    """Return the names of a model's outputs: its own keys for them, or the layers that make them, where known."""
    from keras import tree

    names = [str(path[-1]) for path, _ in tree.flatten_with_path(made) if path and isinstance(path[-1], str)]
    names = names or list(getattr(model, "output_names", None) or [layer.name for layer in model.layers[-1:]])
    return names if len(names) == count == len(set(names)) else [f"output{number}" for number in range(count)]


def _call(model: Any, named: Mapping[str, Any]) -> Any:
    """Return what a model makes of its inputs, each of which goes to the one of its name, or else in its place."""
    from keras import tree

    own = [tensor.name for tensor in getattr(model, "inputs", None) or ()]
    arrays = [named[name] for name in own] if set(own) == set(named) else [*named.values()]
    structure = getattr(model, "input", None)  # none before the first call, where there is no more to it than a list
    if structure is not None:
        return model(tree.pack_sequence_as(structure, arrays), training=False)
    return model(arrays[0] if len(arrays) == 1 else arrays, training=False)


def _run(model: Any, feed: Mapping[str, NDArray[Any]]) -> Any:
    """Return what Keras makes of a feed, in the model's own structure. Raises ModelError."""
    try:
        return _call(model, feed)
    except Exception as error:  # Keras raises what it likes
        traceback.print_exc()
        shapes = ", ".join(f"{name} {[*array.shape]}" for name, array in feed.items())
        words = " ".join(str(error).split())[:200]
        raise ModelError(f"the model fails on {shapes}: {words}", "compare model.inputs with what it takes") from error


def _flat(made: Any) -> list[NDArray[Any]]:
    import numpy as np
    from keras import tree

    return [np.asarray(each) for each in tree.flatten(made)]


def _convert(model: Any, inputs: Mapping[str, Tensor], opset: int | None) -> ModelProto:
    """Trace a model, put its weights into the graph as constants, and let tf2onnx convert that."""
    import tensorflow as tf
    from keras import tree
    from tf2onnx import convert, tf_loader

    from builder.sources.tensorflow import OPERATORS, OPSET, converted

    specs = [
        tf.TensorSpec([None if isinstance(size, str) else size for size in tensor.shape], tensor.dtype.value, name)
        for name, tensor in inputs.items()
    ]
    call = tf.function(lambda *arrays: tree.flatten(_call(model, dict(zip(inputs, arrays, strict=True)))))

    def run() -> tuple[ModelProto, Any]:
        traced = call.get_concrete_function(*specs)
        names = [tensor.name for tensor in traced.inputs[: len(specs)]]  # after them come the weights
        outputs = [tensor.name for tensor in traced.outputs]
        graph = tf_loader.from_function(traced, names, outputs)
        made: tuple[ModelProto, Any] = convert.from_graph_def(
            graph, input_names=names, output_names=outputs, opset=opset or OPSET, custom_op_handlers={**OPERATORS}
        )
        return made

    return converted(run, inputs)
