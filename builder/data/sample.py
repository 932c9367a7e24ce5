"""A sample: what a reader yields, and what preprocessing makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Sample"]


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample and its label; `value` is an array, or one array for each model input by name.

    Samples that share a `sequence` follow each other in time: a model's state is carried from one to the next.
    `segments` are the labelled stretches of a sound that is not yet cut into frames, as (start, end) in seconds.
    `scores` say how alike this sample and others are, as (name of the other, score); each pair stands at one of them.
    """

    name: str
    value: NDArray[Any] | dict[str, NDArray[Any]]
    label: int | float | None = None
    sequence: str = ""
    segments: tuple[tuple[float, float], ...] | None = None
    scores: tuple[tuple[str, float], ...] = ()
