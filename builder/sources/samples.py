"""What an export leaves beside the model: some inputs, and what the source's framework makes of them.

Written in a toolchain and read in another environment, so numpy's own format it is, without pickles.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import DataError, ModelError
from builder.sources.arrays import write_arrays
from builder.specs import DType, Model, Tensor
from builder.step import Job

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from builder.data.sample import Sample

    Feed = dict[str, NDArray[Any]]

__all__ = ["COUNT", "feeds_of", "read_samples", "write_samples"]

COUNT = 16  # samples that are compared
_MADE_UP = 4
_OPEN = {0: 2}  # an open first axis is a batch of two, so that a batch that was fixed by mistake is seen
_SEED = 20260101


def feeds_of(job: Job, inputs: Mapping[str, Tensor], count: int = COUNT) -> tuple[str, list[Feed]]:
    """Return where samples come from, in words, and what the model is fed with: real ones where there are any.

    A sample gets a batch axis in front where it lacks one. Raises DataError where one does not fit the inputs.
    """
    if job.data is None:
        return "made-up inputs", _made_up(inputs, job.model)
    from builder.data.dataset import samples

    split = next(iter(job.data.splits))
    feeds = [_fed(sample, inputs, job) for sample in islice(samples(job.data, split), count)]
    if not feeds:
        raise DataError(f"data '{job.data.name}': the split '{split}' has no samples")
    return f"'{split}' of {job.data.name}", feeds


def write_samples(
    job: Job,
    source: str,
    origin: str,
    feeds: Sequence[Feed],
    outputs: Sequence[Feed],
    *,
    rows: int | None = None,
    remedy: str = "",
) -> None:
    """Write the output port `samples`: feeds and the source's outputs, both by name, for each sample.

    `rows` is how many samples the feeds hold, where that is not one each; `remedy` what can be done where the exported
    model turns out to be too far from its source.
    """
    folder = job.folder("samples")
    for name, each in (("inputs", feeds), ("outputs", outputs)):
        arrays = {f"{index}/{key}": array for index, row in enumerate(each) for key, array in row.items()}
        write_arrays(folder / f"{name}.npz", arrays)
    about = {"source": source, "from": origin, "samples": rows or len(feeds), "feeds": len(feeds), "remedy": remedy}
    (folder / "about.json").write_text(json.dumps(about, sort_keys=True), encoding="utf-8")


def read_samples(folder: Path) -> tuple[dict[str, Any], list[Feed], list[Feed]]:
    """Return what `write_samples` wrote: source, from, samples and remedy; the feeds; the source's outputs."""
    import numpy as np

    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    count = about.pop("feeds")
    read: list[list[Feed]] = []
    for name in ("inputs", "outputs"):
        rows: list[Feed] = [{} for _ in range(count)]
        with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
            for key in arrays.files:
                index, _, inner = key.partition("/")
                rows[int(index)][inner] = arrays[key]
        read.append(rows)
    return about, read[0], read[1]


def _fed(sample: Sample, inputs: Mapping[str, Tensor], job: Job) -> Feed:
    """Return a sample as the model's inputs, in their types, with constants."""
    assert job.data is not None
    free = [name for name in inputs if name not in job.model.constants]
    value, where = sample.value, f"data '{job.data.name}', sample '{sample.name}'"
    values = value if isinstance(value, dict) else {job.data.input or free[0]: value}
    if set(values) != set(free):
        raise DataError(
            f"data '{job.data.name}' has {', '.join(sorted(values))} for each sample, the model takes "
            f"{', '.join(free)}",
            "name them alike in model.inputs and the data, or give some in model.constants",
        )
    constants = {name: _constant(inputs[name], job.model.constants[name]) for name in inputs if name not in free}
    return {**{name: _batched(array, name, inputs[name], where) for name, array in values.items()}, **constants}


def _batched(array: NDArray[Any], name: str, tensor: Tensor, where: str) -> NDArray[Any]:
    import numpy as np

    from builder.data.fit import check_fit
    from builder.runtimes.interface import Tensor as Port

    made = np.asarray(array, dtype=tensor.dtype.value)
    port = Port(name, tuple(size if isinstance(size, int) else None for size in tensor.shape), tensor.dtype.value)
    return made[None] if check_fit(port, made, where) else made


def _constant(tensor: Tensor, value: float) -> NDArray[Any]:
    import numpy as np

    return np.full([size if isinstance(size, int) else 1 for size in tensor.shape], value, tensor.dtype.value)


def _made_up(inputs: Mapping[str, Tensor], model: Model) -> list[Feed]:
    """Return inputs from a seeded generator: standard normal for fractions, small whole numbers for the rest."""
    import numpy as np

    if not inputs:
        raise ModelError("model.inputs says nothing, and there is no data", "name the inputs and their shapes")
    draw = np.random.default_rng(_SEED)
    ways: dict[str, Callable[[list[int]], Any]] = {
        "f": draw.standard_normal,
        "i": lambda shape: draw.integers(0, 8, shape),
        "b": lambda shape: draw.integers(0, 2, shape),
    }

    def one(name: str, tensor: Tensor) -> NDArray[Any]:
        if name in model.constants:
            return _constant(tensor, model.constants[name])
        open_shape = model.shapes.get(name)
        shape = open_shape or [
            size if isinstance(size, int) else _OPEN.get(axis, 4) for axis, size in enumerate(tensor.shape)
        ]
        kind = "f" if tensor.dtype.value.startswith("f") else "b" if tensor.dtype is DType.BOOL else "i"
        return np.asarray(ways[kind](shape), dtype=tensor.dtype.value)

    return [{name: one(name, tensor) for name, tensor in inputs.items()} for _ in range(_MADE_UP)]
