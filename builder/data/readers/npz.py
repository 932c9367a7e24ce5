"""Arrays of numpy: an .npz with `samples`, or one array for each model input, and `labels`; or a plain .npy.

Rows of different lengths lie one after another in each array, and `__lengths__` says where they end.
`__pairs__` [p, 3] says how alike samples are: the numbers of both, counted from 0, and a score. Any other name may be a
model input's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.data.files import in_portion, locate, sample_and_label_files
from builder.data.sample import Sample
from builder.errors import DataError, did_you_mean
from builder.specs import Data, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["count", "files", "samples"]


def files(data: Data, split: Split) -> list[Path]:
    return sample_and_label_files(data, split)


def count(data: Data, split: Split) -> int:
    return len(_read(data, split))


def samples(data: Data, split: Split) -> Iterator[Sample]:
    """Yield the rows of the arrays, in order."""
    table = _read(data, split)
    for index in range(len(table)):
        row = {name: rows[index] for name, rows in table.rows.items()}
        if in_portion(b"".join(row[name].tobytes() for name in sorted(row)), split):
            value = row.get("samples", row) if len(row) == 1 else row
            label = None if table.labels is None else table.labels[index].item()
            scores = tuple((f"{split.path}#{other}", score) for other, score in table.scores.get(index, ()))
            yield Sample(f"{split.path}#{index}", value, label, scores=scores)


@dataclass(frozen=True, eq=False)
class _Table:
    """Rows by array, their labels, and for a row those that it is compared with."""

    rows: Mapping[str, Sequence[NDArray[Any]]]
    labels: NDArray[Any] | None
    scores: Mapping[int, list[tuple[int, float]]]

    def __len__(self) -> int:
        return len(next(iter(self.rows.values())))


def _read(data: Data, split: Split) -> _Table:
    import numpy as np

    path = locate(data, split.path, "file")
    arrays = _load(data, path, "samples")
    labels, lengths, pairs = (arrays.pop(name, None) for name in ("labels", "__lengths__", "__pairs__"))
    if split.labels:
        labels = _load(data, locate(data, split.labels, "file of labels"), "labels").get("labels")
    if not arrays:
        raise DataError(f"data '{data.name}': {path} holds no array 'samples', nor one named after a model input")
    rows = {name: _rows(data, path, array, lengths) for name, array in arrays.items()}
    sizes = {name: np.shape(each)[:1] if lengths is None else lengths.shape for name, each in rows.items()}
    if labels is not None:
        sizes["labels"] = labels.shape
    if len(set(sizes.values())) > 1 or () in sizes.values():
        shapes = ", ".join(f"{name} {shape}" for name, shape in sizes.items())
        raise DataError(f"data '{data.name}': the arrays of {path} are of different lengths: {shapes}")
    return _Table(rows, _numbered(data, path, labels), _scores(data, path, pairs, len(next(iter(rows.values())))))


def _numbered(data: Data, path: Path, labels: NDArray[Any] | None) -> NDArray[Any] | None:
    """Return labels as numbers: the name of a class stands for its place among the declared ones."""
    import numpy as np

    if labels is None or labels.dtype.kind != "U":
        return labels
    strange = sorted({*labels.tolist()} - {*data.classes})
    if strange:
        raise DataError(
            f"data '{data.name}': the label '{strange[0]}' in {path} is no class",
            hint=did_you_mean(strange[0], data.classes) if data.classes else "list their names under data.classes",
        )
    return np.array([data.classes.index(name) for name in labels.tolist()])


def _rows(data: Data, path: Path, array: Any, lengths: NDArray[Any] | None) -> Sequence[NDArray[Any]]:
    """Return an array as it is, or cut into rows of these lengths."""
    import numpy as np

    if lengths is not None:
        if lengths.dtype.kind not in "iu" or lengths.ndim != 1 or (lengths < 0).any() or lengths.sum() != len(array):
            raise DataError(f"data '{data.name}': the lengths in {path} do not add up to {len(array)}, its arrays do")
        array = np.split(array, np.cumsum(lengths)[:-1])
    rows: Sequence[NDArray[Any]] = array
    return rows


def _scores(data: Data, path: Path, pairs: NDArray[Any] | None, count: int) -> dict[int, list[tuple[int, float]]]:
    """Return, for the first row of each pair, the other one and the score."""
    if pairs is None:
        return {}
    if pairs.ndim != 2 or pairs.shape[1] != 3 or not ((pairs[:, :2] >= 0) & (pairs[:, :2] < count)).all():
        raise DataError(
            f"data '{data.name}': the pairs in {path} are of shape {list(pairs.shape)}",
            hint=f"each is the numbers of two samples, from 0 to {count - 1}, and a score",
        )
    found: dict[int, list[tuple[int, float]]] = {}
    for one, other, score in pairs.tolist():
        found.setdefault(int(one), []).append((int(other), score))
    return found


def _load(data: Data, path: Path, name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file; that of an .npy file is called `name`."""
    from zipfile import BadZipFile

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
