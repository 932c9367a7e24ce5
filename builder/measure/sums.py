"""Signal, error and their products, summed in float64 as values come: nothing is kept of the values themselves."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10, sqrt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Sums", "summable"]

_LARGEST = 1e70  # of a value: products of two sums of larger ones' squares do not fit into float64


def summable(values: NDArray[Any]) -> NDArray[Any]:
    """Tell of each value whether `Sums` can take it: whether it is a number, and not beyond 1e70."""
    import numpy as np

    found: NDArray[Any] = np.abs(values) < _LARGEST
    return found


@dataclass
class Sums:
    """What is known of a reference r and a candidate c from all of their values so far."""

    signal: float = 0.0  # sum r^2
    other: float = 0.0  # sum c^2
    product: float = 0.0  # sum r c
    noise: float = 0.0  # sum (r - c)^2
    largest: float = 0.0  # |r - c|
    count: int = 0

    def add(self, reference: NDArray[Any], candidate: NDArray[Any]) -> None:
        """Add summable values of equal shape, float64."""
        import numpy as np

        difference = reference - candidate
        self.signal += float(np.square(reference).sum())
        self.other += float(np.square(candidate).sum())
        self.noise += float(np.square(difference).sum())
        self.product += float((reference * candidate).sum())
        self.largest = max(self.largest, float(np.abs(difference).max(initial=0.0)))
        self.count += reference.size

    @property
    def snr_db(self) -> float | None:
        """Return 10 log10(sum r^2 / sum (r - c)^2); None where they are equal (infinite) or the reference is zeros."""
        return 10 * log10(self.signal / self.noise) if self.signal and self.noise else None

    @property
    def cosine(self) -> float | None:
        """Return the cosine of the angle between both as vectors; None where one is all zeros."""
        return min(1.0, self.product / sqrt(self.signal * self.other)) if self.signal and self.other else None
