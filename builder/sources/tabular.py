"""Models that learn from tables: fitted to a split or read from a file, and compared row by row with their source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import DataError, ModelError
from builder.specs import DType, Task
from builder.step import Job

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

__all__ = ["COMPARED", "Table", "check_classes", "check_width", "fit_or_read", "table_of", "write_table"]

COMPARED = 10_000  # rows of 'test' that are compared with the source; all go in at once
_LABEL = "label"  # what skl2onnx and onnxmltools call the output that is no score


@dataclass(frozen=True, eq=False)
class Table:
    """A split at once: features [n, width], labels [n], and the shape of one sample as it is stored."""

    features: NDArray[Any]
    labels: NDArray[Any]
    shape: tuple[int, ...]


def table_of(job: Job, split: str, most: int | None = None) -> Table:
    """Return a split's first rows in the type of the model's input, each sample as one row. Raises DataError."""
    import numpy as np

    from builder.data.dataset import samples

    if job.data is None or split not in job.data.splits:
        needs = "'train' and 'test'" if job.model.code else "'test'"
        raise DataError(
            f"a model of format {job.model.format} needs data with {needs}, and there is no split '{split}'",
            "choose data (data=NAME), or add the split to conf/data/",
        )
    found = [*islice(samples(job.data, split), most)]
    if not found:
        raise DataError(f"data '{job.data.name}': the split '{split}' has no samples")
    shapes = {() if isinstance(sample.value, dict) else sample.value.shape for sample in found}
    if len(shapes) > 1 or not shapes.isdisjoint({()}):
        raise DataError(
            f"data '{job.data.name}': expected one array of the same shape for each sample of '{split}'",
            "store each sample as one row of numbers",
        )
    dtype = next((tensor.dtype for tensor in job.model.inputs.values()), DType.FLOAT32)
    features = np.stack([np.asarray(sample.value, dtype=dtype.value).reshape(-1) for sample in found])
    return Table(features, np.array([sample.label for sample in found]), shapes.pop())


def fit_or_read(job: Job, read: Callable[[Path], Any]) -> Any:
    """Return what `model.code` makes of the features and labels of 'train', or what `read` finds in the model's file.

    Raises ModelError where the model has both, or neither.
    """
    folder = job.inputs.get("weights")
    if (folder is None) == (job.model.code is None):
        got = "neither" if folder is None else "both"
        raise ModelError(
            f"a model of format {job.model.format} is read from a file or fitted by code, got {got}",
            "set model.path=FILE, or model.code=FILE.py:NAME of a function of (features, labels)",
        )
    if folder is not None:
        return read(next(folder.iterdir()))
    from builder.sources.code import call_code

    train = table_of(job, "train")
    return call_code(job, train.features, train.labels)


def check_width(job: Job, table: Table, width: int | None) -> None:
    """Raise DataError where a row has not as many numbers as the model takes."""
    assert job.data is not None
    if width not in {None, table.features.shape[1]}:
        raise DataError(
            f"data '{job.data.name}': a sample has {table.features.shape[1]} numbers, the model takes {width}",
            "is this the data that it was fitted to?",
        )


def check_classes(job: Job, classes: Any) -> None:
    """Raise ModelError where a classifier's scores are not in the order of the data's labels: 0 to n - 1, or names."""
    assert job.data is not None
    if job.model.task is not Task.CLASSIFICATION or not hasattr(classes, "tolist"):
        return
    found, names = classes.tolist(), job.data.classes
    wanted = names if isinstance(found[0], str) else [*range(len(names) or len(found))]
    if found != wanted and wanted:
        raise ModelError(
            f"the model scores the classes {_few(found)}, the labels of data '{job.data.name}' are {_few(wanted)}",
            "fit it to the labels as they come, with samples of each class",
        )


def write_table(
    job: Job, model: ModelProto, table: Table, source: str, outputs: Mapping[str, NDArray[Any]], remedy: str
) -> dict[str, Any]:
    """Write the ports `model` and `samples` and return facts; the label stands after the scores, since the first
    output is what is evaluated.

    `outputs` is what the source makes of the rows, by the converter's names; `remedy` what to do where a gate finds
    it too far from the exported model. Raises ModelError where `model.inputs` or `model.outputs` do not fit.
    """
    from builder.sources.exported import name_ports, write_exported
    from builder.sources.samples import write_samples

    assert job.data is not None
    ordered = sorted(model.graph.output, key=lambda output: output.name == _LABEL)
    del model.graph.output[:]
    model.graph.output.extend(ordered)
    if len(table.shape) > 1:
        _take_as_stored(model, table.shape)
    _check_input(job, table)
    converters = [output.name for output in model.graph.output]
    ports = name_ports(model, [*job.model.inputs] or [model.graph.input[0].name], job.model.outputs)
    facts = write_exported(job, model)
    made = {
        port: outputs[name].astype(str) if outputs[name].dtype.kind == "O" else outputs[name]
        for port, name in zip(ports, converters, strict=True)
        if name in outputs
    }
    feed = {model.graph.input[0].name: table.features.reshape(-1, *table.shape)}
    origin = f"'test' of {job.data.name}"
    write_samples(job, source, origin, [feed], [made], rows=len(table.features), remedy=remedy)
    return facts


def _take_as_stored(model: ModelProto, shape: tuple[int, ...]) -> None:
    """Let the model take samples of several axes, such as 8 x 8 pixels: its first node makes rows of them."""
    from onnx import helper

    from builder.sources.exported import rename

    entry = model.graph.input[0]
    name, row = entry.name, f"{entry.name}_row"
    rename(model, {name: row})
    stored = helper.make_tensor_value_info(name, entry.type.tensor_type.elem_type, [None, *shape])
    entry.CopyFrom(stored)
    model.graph.node.insert(0, helper.make_node("Flatten", [name], [row], axis=1))


def _check_input(job: Job, table: Table) -> None:
    """Raise ModelError where `model.inputs` says of the input what it cannot be."""
    for name, tensor in job.model.inputs.items():
        first, *rest = tensor.shape or [0]
        if isinstance(first, int) or rest != [*table.shape] or tensor.dtype not in {DType.FLOAT32, DType.FLOAT64}:
            raise ModelError(
                f"model.inputs.{name}: expected the shape [batch, {', '.join(map(str, table.shape))}] in float32 or "
                f"float64, got {tensor.shape} in {tensor.dtype}",
                "the first axis is open, the others are those of a sample",
            )


def _few(classes: list[Any], most: int = 4) -> str:
    shown = ", ".join(map(str, classes[:most]))
    return f"{shown}, … ({len(classes)})" if len(classes) > most else shown
