"""Run a model on a split of a dataset for its predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from builder.data.dataset import expected_count, samples
from builder.data.feeder import Feeder
from builder.errors import DataError
from builder.runtimes.onnxruntime import Session
from builder.specs import Data, Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Predictions", "predict"]


@dataclass(frozen=True, eq=False)
class Predictions:
    """A model's first output for each sample, [n, ...], its label, [n], where there are any, and its sequence."""

    outputs: NDArray[Any]
    labels: NDArray[Any] | None
    sequences: list[str]


def predict(
    session: Session,
    model: Model,
    data: Data,
    split: str,
    *,
    batch: int = 64,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Run the model on a split (its first `limit` samples) and return its first output for each.

    `progress` gets how many samples are done and about how many there are. Raises DataError where a sample does not
    fit the model, ModelError where the model fails.
    """
    import numpy as np

    feeder = Feeder(session, model, data, batch)
    total = min(expected_count(data, split), limit or 2**62)
    blocks: list[NDArray[Any]] = []
    labels: list[int | float | None] = []
    sequences: list[str] = []
    for fed in feeder.run(islice(samples(data, split), limit)):
        blocks.append(feeder.rows(fed.outputs[0], len(fed.samples)))
        labels += [sample.label for sample in fed.samples]
        sequences += [sample.sequence for sample in fed.samples]
        if progress:
            progress(len(labels), max(total, len(labels)))
    if not blocks:
        raise DataError(f"data '{data.name}': the split '{split}' has no samples")
    if len({block.shape[1:] for block in blocks}) > 1:
        raise DataError(
            f"data '{data.name}': the model's first output has another shape from sample to sample",
            hint="bring samples to one size with data.preprocess.resize or crop",
        )
    return Predictions(np.concatenate(blocks), _labels(labels, data, split), sequences)


def _labels(labels: list[int | float | None], data: Data, split: str) -> NDArray[Any] | None:
    import numpy as np

    missing = labels.count(None)
    if missing == len(labels):
        return None
    if missing:
        raise DataError(f"data '{data.name}': {missing} of {len(labels)} samples of '{split}' have no label")
    return np.array(labels)
