"""Modules of PyTorch on their way to ONNX: weights from files that run no code, and the export itself."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError
from builder.sources.exported import name_ports, write_exported
from builder.sources.samples import feeds_of, write_samples
from builder.specs import Tensor
from builder.step import Job, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto
    from torch import nn

__all__ = ["export", "fill", "read_state", "settle"]

_STATES = ("state_dict", "model_state_dict", "model")  # where training loops keep the weights in a checkpoint
_PARALLEL = "module."  # what torch.nn.parallel puts before every name
_SAFE = "save it as safetensors: safetensors.torch.save_file(module.state_dict(), 'model.safetensors')"
_SEED = 0
_LEAST = 2  # torch.export takes an axis of size 1 for one that is always 1


def settle() -> None:
    """Let everything that PyTorch does from here on be the same each time on a processor: one thread, one seed."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(_SEED)


def read_state(job: Job) -> dict[str, Any]:
    """Return the weights in the file of a model, by name. Raises ModelError for a pickle of more than tensors."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = next(Path(job.inputs["weights"]).iterdir())
    try:
        found = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except SafetensorError as error:
        raise ModelError(
            f"{file.name} is no safetensors file: {error}", "download it again, or save it anew"
        ) from error
    except Exception as error:  # pickle, zip and torch raise classes of their own
        traceback.print_exc()
        if not _is_torch(file):
            raise ModelError(
                f"the file is no file of PyTorch, or only a part of one ({file.stat().st_size:,} bytes)",
                "download it again, or save it anew",
            ) from error
        raise ModelError(
            f"{file.name} is no file of weights alone: it cannot be read without running code in it", _SAFE
        ) from error
    for name in _STATES:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict) or not all(isinstance(each, torch.Tensor) for each in found.values()):
        raise ModelError(f"{file.name} holds no weights by name, but {type(found).__name__}", _SAFE)
    return {name.removeprefix(_PARALLEL): tensor for name, tensor in found.items()}


def _is_torch(file: Path) -> bool:
    """Say whether a file is a whole zip archive, or begins like the pickles that PyTorch wrote before 1.6."""
    from zipfile import is_zipfile

    with file.open("rb") as opened:
        return is_zipfile(file) or opened.read(2) in (b"\x80\x02", b"\x80\x04")


def fill(module: nn.Module, state: Mapping[str, Any]) -> None:
    """Put weights into a module, each of its own into its place. Raises ModelError that names what does not fit."""
    own = module.state_dict()
    wrong = [f"{name} is {_size(state[name])}, not {_size(own[name])}" for name in own.keys() & state.keys()
             if own[name].shape != state[name].shape]  # fmt: skip
    for word, names in (
        ("the file lacks", sorted(own.keys() - state.keys())),
        ("the module has no", sorted(state.keys() - own.keys())),
        ("of another size:", sorted(wrong)),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ModelError(
                f"the weights do not fit {type(module).__name__}: {word} {names[0]}{more}",
                "check model.arguments: they say which variant it is",
            )
    module.load_state_dict(state)


def export(job: Job, module: nn.Module) -> Result:
    """Write a module as ONNX, named and shaped as `model.inputs` and `model.outputs` say, and what it makes of samples.

    An input goes to the parameter of `forward` of its name, or to the one in its place where there is none. Named
    axes are open. Raises ModelError where the module fails on samples, or torch.onnx cannot export it.
    """
    import torch

    inputs = job.model.inputs
    if not inputs:
        raise ModelError(
            "model.inputs says nothing, and a module does not tell what it takes",
            "write them in conf/model, as: inputs: {image: {shape: [batch, 3, 224, 224]}}",
        )
    module.eval()
    origin, feeds = feeds_of(job, inputs)
    results = [_run(module, feed) for feed in feeds]
    model = _exported(module, _sizes(inputs, feeds), job)
    names = name_ports(model, [*inputs], job.model.outputs)
    facts = write_exported(job, model)
    outputs = [dict(zip(names, result, strict=True)) for result in results]
    write_samples(job, f"PyTorch {torch.__version__}", origin, feeds, outputs)
    count = sum(parameter.numel() for parameter in module.parameters())
    return Result({**facts, "module": type(module).__name__, "parameters": f"{count:,}"})


def _run(module: nn.Module, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """Return what the module makes of one feed, as a flat list of arrays."""
    import torch
    from torch.utils import _pytree

    positional, named = _call(module, {name: torch.tensor(array) for name, array in feed.items()})
    try:
        with torch.inference_mode():
            made = module(*positional, **named)
    except Exception as error:
        traceback.print_exc()
        words = " ".join(str(error).split())[:200]
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in feed.items())
        raise ModelError(
            f"{type(module).__name__} fails on {shapes}: {words}", "compare model.inputs with what its forward takes"
        ) from error
    return [tensor.numpy() for tensor in _pytree.tree_leaves(made) if isinstance(tensor, torch.Tensor)]


def _call(module: nn.Module, values: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return how `forward` is called: by name where it has parameters of all these names, else in their order."""
    if values.keys() <= signature(module.forward).parameters.keys():
        return (), values
    return tuple(values.values()), {}


def _sizes(inputs: Mapping[str, Tensor], feeds: list[dict[str, NDArray[Any]]]) -> dict[str, int]:
    """Return a size for each open axis: that of the samples, which the model is known to take, but at least 2."""
    sizes: dict[str, int] = {}
    for name, tensor in inputs.items():
        for axis, size in zip(tensor.shape, feeds[0][name].shape, strict=True):
            if isinstance(axis, str):
                sizes[axis] = max(size, sizes.get(axis, _LEAST))
    return sizes


def _exported(module: nn.Module, sizes: Mapping[str, int], job: Job) -> ModelProto:
    import torch
    from torch.export import Dim

    axes = {name: Dim(name) for name in sizes}
    examples, shapes = {}, {}
    for name, tensor in job.model.inputs.items():
        shape = [sizes[axis] if isinstance(axis, str) else axis for axis in tensor.shape]
        examples[name] = torch.zeros(shape, dtype=getattr(torch, tensor.dtype.value))
        shapes[name] = {index: axes[axis] for index, axis in enumerate(tensor.shape) if isinstance(axis, str)}
    positional, named = _call(module, examples)
    dynamic: Any = tuple(shapes.values()) if positional else shapes
    try:
        program = torch.onnx.export(
            module, positional, kwargs=named, dynamo=True, dynamic_shapes=dynamic, opset_version=job.model.opset
        )
    except Exception as error:  # torch.onnx raises its own classes, and lets others through
        raise _refused(error) from error
    assert program is not None
    model: ModelProto = program.model_proto
    _check_open(model, job.model.inputs)
    return model


def _check_open(model: ModelProto, inputs: Mapping[str, Tensor]) -> None:
    """Raise ModelError where torch.onnx has fixed an axis that is to be open: it does so without a word."""
    for port, (name, tensor) in zip(model.graph.input, inputs.items(), strict=False):
        for axis, size in zip(tensor.shape, port.type.tensor_type.shape.dim, strict=False):
            if isinstance(axis, str) and not size.dim_param:
                raise ModelError(
                    f"the axis '{axis}' of '{name}' cannot be open: the module's code fixes it to {size.dim_value}",
                    f"write its size in model.inputs.{name}.shape, or let forward go by the shape of its input",
                )


def _refused(error: Exception) -> ModelError:
    """Say the innermost reason, without what PyTorch advises its developers."""
    import torch

    traceback.print_exc()
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    words = " ".join(str(error).partition("\n")[0].split())[:300]
    return ModelError(
        f"torch.onnx {torch.__version__} cannot export it: {words}",
        "the log has the traceback and the line; model.opset chooses another opset",
    )


def _size(tensor: Any) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"
