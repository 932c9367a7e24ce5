"""Run a model on a split of a dataset for its predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from builder.data.dataset import expected_count, samples
from builder.data.feeder import Feeder
from builder.data.sample import Sample
from builder.errors import DataError
from builder.runtimes.interface import Loaded
from builder.specs import Data, Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Predictions", "predict"]


@dataclass(frozen=True, eq=False)
class Predictions:
    """A model's first output for each sample, [n, ...], its label, [n], where there are any, and its sequence.

    Where pairs of samples are scored, `pairs` [p, 3] are the numbers of both samples and the score.
    """

    outputs: NDArray[Any]
    labels: NDArray[Any] | None
    sequences: list[str]
    pairs: NDArray[Any] | None


def predict(
    session: Loaded,
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
    fed_samples: list[Sample] = []
    for fed in feeder.run(islice(samples(data, split), limit)):
        blocks.append(feeder.rows(fed.outputs[0], len(fed.samples)))
        fed_samples += [replace(sample, value={}) for sample in fed.samples]
        if progress:
            progress(len(fed_samples), max(total, len(fed_samples)))
    if not blocks:
        raise DataError(f"data '{data.name}': the split '{split}' has no samples")
    if len({block.shape[1:] for block in blocks}) > 1:
        raise DataError(
            f"data '{data.name}': the model's first output has another shape from sample to sample",
            hint="bring samples to one size with data.preprocess.resize or crop",
        )
    labels = _labels([sample.label for sample in fed_samples], data, split)
    sequences = [sample.sequence for sample in fed_samples]
    return Predictions(np.concatenate(blocks), labels, sequences, _pairs(fed_samples))


def _pairs(fed: list[Sample]) -> NDArray[Any] | None:
    """Return the pairs of which both samples were run, by their numbers."""
    import numpy as np

    numbers = {sample.name: number for number, sample in enumerate(fed)}
    scored = [(number, numbers.get(other), score) for number, one in enumerate(fed) for other, score in one.scores]
    found = [pair for pair in scored if pair[1] is not None]
    return np.array(found, np.float64) if found else None


def _labels(labels: list[int | float | None], data: Data, split: str) -> NDArray[Any] | None:
    import numpy as np

    missing = labels.count(None)
    if missing == len(labels):
        return None
    if missing:
        raise DataError(f"data '{data.name}': {missing} of {len(labels)} samples of '{split}' have no label")
    return np.array(labels)
