"""Do two models compute the same? Run both on the same made-up inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError
from builder.runtimes.inputs import made_up

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from builder.runtimes.interface import Loaded
    from builder.specs import Model

__all__ = ["largest_difference", "random_feeds"]


def random_feeds(session: Loaded, model: Model, count: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield inputs that a model takes, each from a seed of its own; states are random too. Raises ModelError."""
    for seed in range(count):
        yield made_up(session.inputs, shapes=model.shapes, constants=model.constants, seed=seed)


def largest_difference(reference: Loaded, candidate: Loaded, model: Model, count: int) -> float:
    """Return the largest difference between two models' outputs over `count` made-up inputs, relative to the reference.

    0.01 means: one hundredth of the largest magnitude in that output. NaN equals NaN, unequal words count 1.
    Raises ModelError where a model fails or the outputs differ in shape or type.
    """
    import numpy as np

    worst = 0.0
    for feed in random_feeds(reference, model, count):
        expected = reference.run(feed)
        for before, after, output in zip(expected, candidate.run(feed), reference.outputs, strict=True):
            if (before.shape, before.dtype) != (after.shape, after.dtype):
                was, now = (f"{value.dtype}{list(value.shape)}" for value in (before, after))
                raise ModelError(f"output '{output.name}' was {was} and is {now}")
            if before.dtype.kind == "O":  # words, such as the names of classes
                worst = max(worst, float((before != after).any()))
            else:
                worst = max(worst, _relative(before.astype(np.float64), after.astype(np.float64)))
    return worst


def _relative(before: NDArray[Any], after: NDArray[Any]) -> float:
    import numpy as np

    if not before.size:
        return 0.0
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    difference = np.where(same, 0.0, np.abs(before - after))
    scale = np.abs(before[np.isfinite(before)]).max(initial=0.0) or 1.0
    return float(np.where(np.isnan(difference), np.inf, difference).max() / scale)
