"""How near a candidate's outputs are to its reference's, with no labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.errors import StepError
from builder.measure.metrics import THRESHOLD, probabilities
from builder.measure.sums import Sums, summable
from builder.specs import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Fidelity", "fidelity"]

ROWS = 4096  # compared at a time, in float64


@dataclass(frozen=True)
class Fidelity:
    """The first outputs of two models compared over all samples.

    `snr_db` is 10 log10(sum r^2 / sum (r - c)^2) for reference r and candidate c; None where they are identical
    (infinite) or the reference is all zeros. `cosine` is that of the angle between all outputs as two vectors; None
    where one is all zeros. `agreement` is the share of samples with the same decision: the highest score, or the side
    of the threshold; None for a task without decisions. `max_abs_difference` is in the output's unit.
    """

    snr_db: float | None
    cosine: float | None
    agreement: float | None
    max_abs_difference: float
    identical: bool


def fidelity(reference: NDArray[Any], candidate: NDArray[Any], task: Task) -> Fidelity:
    """Compare outputs [n, ...]. Raises StepError where their shapes differ or a value is not finite."""
    if reference.shape != candidate.shape:
        raise StepError(
            f"the reference's output is of shape {list(reference.shape)}, the candidate's {list(candidate.shape)}"
        )
    sums = Sums()
    for start in range(0, len(reference), ROWS):
        sums.add(
            _finite(reference[start : start + ROWS], "reference"), _finite(candidate[start : start + ROWS], "candidate")
        )
    return Fidelity(
        snr_db=sums.snr_db,
        cosine=sums.cosine,
        agreement=_agreement(reference, candidate, task),
        max_abs_difference=sums.largest,
        identical=sums.largest == 0.0,
    )


def _agreement(reference: NDArray[Any], candidate: NDArray[Any], task: Task) -> float | None:
    if task is Task.BINARY:
        return float(((probabilities(reference) >= THRESHOLD) == (probabilities(candidate) >= THRESHOLD)).mean())
    if task is Task.CLASSIFICATION and reference.ndim == 2:
        return float((reference.argmax(axis=-1) == candidate.argmax(axis=-1)).mean())
    return None


def _finite(outputs: NDArray[Any], whose: str) -> NDArray[Any]:
    import numpy as np

    values = outputs.astype(np.float64)
    bad = int((~summable(values)).sum())
    if bad:
        found = f"{bad} of {values.size}"
        raise StepError(f"the {whose} gives values that are not finite (NaN, infinite or beyond 1e70): {found}")
    return values
