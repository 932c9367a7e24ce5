"""Models of Keras 3: kept in a .keras file, or built by a project's own code."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError
from builder.outcomes import Reproducible
from builder.specs import DType, Tensor
from builder.step import Job, Kind, Result, step

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

__all__ = ["keras"]

FACTS = ("format", "code", "arguments", "inputs", "outputs", "opset", "constants", "shapes")

# Layers that hold code, or bring it from elsewhere; functions are kept as `__lambda__`.
_CODE = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
_SEED = 0


def splits(_options: Any) -> tuple[str, ...]:
    return ("test?",)


@step(
    options=type(None),
    rank=5,
    inputs={"weights": Kind.WEIGHTS},
    outputs={"model": Kind.ONNX, "samples": Kind.SAMPLES},
    reproducible=Reproducible.PER_CPU,  # TensorFlow folds constants, and computes what is compared
    toolchain="tensorflow",
    model_facts=FACTS,
    splits=splits,
)
def keras(_options: None, job: Job) -> Result:
    """Load a model of Keras, or have `model.code` build it, and convert it with tf2onnx.

    With code, a file holds its weights (`.weights.h5`), else they are as the code made them, from a fixed seed.
    Raises ModelError for a file that brings code of its own, and for what tf2onnx cannot convert.
    """
    from builder.sources.exported import name_ports, write_exported
    from builder.sources.samples import feeds_of, write_samples
    from builder.sources.tensorflow import settle

    settle()
    import keras as framework

    framework.backend.clear_session()
    framework.utils.set_random_seed(_SEED)
    model = _build(job) if job.model.code else _load(job)
    inputs = job.model.inputs or _inputs(model)
    origin, feeds = feeds_of(job, inputs)
    results = [_run(model, [feed[name] for name in inputs]) for feed in feeds]
    exported = _convert(model, inputs, job)
    names = name_ports(exported, [*inputs], job.model.outputs or _outputs(model, len(results[0])))
    facts = write_exported(job, exported)
    made = [dict(zip(names, result, strict=True)) for result in results]
    write_samples(job, f"Keras {framework.__version__} on TensorFlow", origin, feeds, made)
    return Result({**facts, "model": type(model).__name__, "parameters": f"{model.count_params():,}"})


def _load(job: Job) -> Any:
    """Return the model in a .keras file, which is refused where it brings code. Raises ModelError."""
    from keras import __version__
    from keras.models import load_model

    file = next(Path(job.inputs["weights"]).iterdir()) if "weights" in job.inputs else None
    if file is None or file.suffix != ".keras":
        raise ModelError(
            f"a model of format keras lies in a .keras file, not in {file.suffix if file else 'nothing'}",
            "load it with Keras once and save it: model.save('model.keras'); or build it: model.code=FILE.py:NAME",
        )
    _refuse_code(_config(file))
    try:
        return load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises what it likes
        traceback.print_exc()
        words = " ".join(str(error).split())[:300]
        raise ModelError(f"Keras {__version__} cannot load the file: {words}", "the log has the traceback") from error


def _config(file: Path) -> Any:
    from zipfile import BadZipFile, ZipFile

    try:
        with ZipFile(file) as archive:
            return json.loads(archive.read("config.json"))
    except (BadZipFile, KeyError, ValueError) as error:
        raise ModelError(
            "the file is no model of Keras 3: it holds no config.json", "save it anew: model.save('model.keras')"
        ) from error


def _refuse_code(config: Any) -> None:
    """Raise ModelError for a layer that holds code, or whose class is not one of Keras."""
    for entry in _entries(config):
        name, module = str(entry["class_name"]), str(entry.get("module") or "keras")
        if name in _CODE or (module.partition(".")[0] not in ("keras", "builtins") and "config" in entry):
            raise ModelError(
                f"the file holds a '{name}' of {module}, and loading it would run code that is not Keras's own",
                "build the model in your own code, and keep its weights in a file: model.code=FILE.py:NAME with "
                "model.path=NAME.weights.h5 (model.save_weights)",
            )


def _entries(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every serialized object below a node of the config."""
    if isinstance(node, dict):
        if "class_name" in node:
            yield node
        node = [*node.values()]
    if isinstance(node, list):
        for child in node:
            yield from _entries(child)


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


def _outputs(model: Any, count: int) -> list[str]:
    """Return the names of a model's outputs: those of the layers that make them, where they are known."""
    names = list(getattr(model, "output_names", None) or ())
    if not names and getattr(model, "layers", None):
        names = [model.layers[-1].name]
    return names if len(names) == count == len(set(names)) else [f"output{number}" for number in range(count)]


def _call(model: Any, arrays: Any) -> list[Any]:
    from keras import tree

    return list(tree.flatten(model(arrays[0] if len(arrays) == 1 else [*arrays], training=False)))


def _run(model: Any, arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
    import numpy as np

    try:
        return [np.asarray(made) for made in _call(model, arrays)]
    except Exception as error:  # Keras raises what it likes
        traceback.print_exc()
        shapes = ", ".join(str([*array.shape]) for array in arrays)
        words = " ".join(str(error).split())[:200]
        raise ModelError(f"the model fails on samples of shape {shapes}: {words}", "compare with its inputs") from error


def _convert(model: Any, inputs: dict[str, Tensor], job: Job) -> ModelProto:
    import tensorflow as tf
    import tf2onnx

    from builder.sources.tensorflow import OPSET, converted

    specs = [
        tf.TensorSpec([None if isinstance(size, str) else size for size in tensor.shape], tensor.dtype.value, name)
        for name, tensor in inputs.items()
    ]
    traced = tf.function(lambda *arrays: _call(model, arrays), input_signature=specs)
    return converted(
        lambda: tf2onnx.convert.from_function(traced, specs, opset=job.model.opset or OPSET), inputs
    )
