"""Rows of features for models that learn from tables: all of a split at once, and what the source makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from builder.errors import DataError
from builder.step import Job

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["rows", "write_table"]


def rows(job: Job, split: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a split's features, [n, width], and labels, [n]. Raises DataError where there are none."""
    import numpy as np

    from builder.data.dataset import samples

    if job.data is None or split not in job.data.splits:
        raise DataError(f"a model of format {job.model.format} needs data with the splits 'train' and 'test'")
    found = [*samples(job.data, split)]
    if not found:
        raise DataError(f"data '{job.data.name}': the split '{split}' has no samples")
    features = np.stack([np.asarray(sample.value, dtype=np.float32).reshape(-1) for sample in found])
    return features, np.array([sample.label for sample in found])


def write_table(
    job: Job, source: str, features: NDArray[Any], outputs: Callable[[list[str]], dict[str, NDArray[Any]]]
) -> None:
    """Write the output port `samples`: all rows in one batch. `outputs` gets the names of the model's outputs."""
    import onnx

    from builder.sources.samples import write_samples

    assert job.data is not None
    graph = onnx.load(str(job.folder("model") / "model.onnx"), load_external_data=False).graph
    feed = {graph.input[0].name: features}
    made = outputs([output.name for output in graph.output])
    write_samples(job, source, f"'test' of {job.data.name}, {len(features)} rows", [feed], [made])
