"""Arrays of numpy: an .npz with `samples`, or one array for each model input, and `labels`; or a plain .npy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from builder.data.files import in_portion, locate, sample_and_label_files
from builder.data.sample import Sample
from builder.errors import DataError
from builder.specs import Data, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["count", "files", "samples"]


def files(data: Data, split: Split) -> list[Path]:
    return sample_and_label_files(data, split)


def count(data: Data, split: Split) -> int:
    arrays, _ = _arrays(data, split)
    return len(next(iter(arrays.values())))


def samples(data: Data, split: Split) -> Iterator[Sample]:
    """Yield the rows of the arrays, in order."""
    arrays, labels = _arrays(data, split)
    for index in range(len(next(iter(arrays.values())))):
        row = {name: array[index] for name, array in arrays.items()}
        if in_portion(b"".join(row[name].tobytes() for name in sorted(row)), split):
            label = None if labels is None else labels[index].item()
            yield Sample(f"{split.path}#{index}", row.get("samples", row) if len(row) == 1 else row, label)


def _arrays(data: Data, split: Split) -> tuple[dict[str, NDArray[Any]], NDArray[Any] | None]:
    path = locate(data, split.path, "file")
    arrays = _load(data, path, "samples")
    labels = arrays.pop("labels", None)
    if split.labels:
        labels = _load(data, locate(data, split.labels, "file of labels"), "labels").get("labels")
    if not arrays:
        raise DataError(f"data '{data.name}': {path} holds no array 'samples', nor one named after a model input")
    lengths = {name: array.shape[:1] for name, array in arrays.items()}
    if labels is not None:
        lengths["labels"] = labels.shape
    if len(set(lengths.values())) > 1 or () in lengths.values():
        shapes = ", ".join(f"{name} {shape}" for name, shape in lengths.items())
        raise DataError(f"data '{data.name}': the arrays of {path} are of different lengths: {shapes}")
    return arrays, labels


def _load(data: Data, path: Path, name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file; that of an .npy file is called `name`."""
    import numpy as np

    try:
        loaded = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {name: loaded}
        with loaded:
            return dict(loaded)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DataError(
            f"data '{data.name}': {path} cannot be read as arrays of numpy: {error}",
            hint="write it with numpy.savez; arrays of Python objects are not read",
        ) from error
