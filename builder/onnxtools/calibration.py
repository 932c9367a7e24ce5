"""Which range of each activation int8 should cover, from runs on real samples.

Each tensor is observed once, as a minimum, a maximum and a histogram whose edges are powers of two: growing it merges
bins two by two, so the result depends neither on the order of the samples nor on the first of them, and memory does
not grow with their number. (ONNX Runtime 1.31's own calibrators keep every activation of every sample, and its entropy
method, as `quantize_static` calls it, has 128 bins for 128 levels: one candidate, the plain maximum.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any

from builder.errors import DataError, ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from builder.data.feeder import Fed
    from builder.runtimes.onnxruntime import Session

__all__ = ["Method", "Observer", "observe"]

BINS = 4096  # of the magnitude; at least half of them lie below the largest value
LEVELS = 128  # magnitudes of a signed 8-bit integer
CLIPPED = 1e-4  # the most that entropy may clip: exact repeats (a plain background) look like information to it


class Method(Enum):
    """How an activation's range is chosen from what was seen."""

    MINMAX = "minmax"  # all that was seen
    ENTROPY = "entropy"  # the cut that loses the least information, of at most one value in 10,000
    PERCENTILE = "percentile"  # all but the outermost values


class Observer:
    """Minimum, maximum and histogram of one tensor."""

    def __init__(self) -> None:
        import numpy as np

        self.low = math.inf
        self.high = -math.inf
        self._exponent: int | None = None  # the histogram covers [-2^exponent, 2^exponent)
        self._bins = np.zeros(2 * BINS, np.int64)

    def add(self, values: NDArray[Any]) -> None:
        """Count the finite values of an array; an empty one changes nothing."""
        import numpy as np

        flat = values.astype(np.float64).ravel()
        flat = flat[np.isfinite(flat)]
        if not flat.size:
            return
        self.low, self.high = min(self.low, float(flat.min())), max(self.high, float(flat.max()))
        largest = max(-self.low, self.high)
        if largest > 0:
            self._grow(math.frexp(largest)[1])
        width = BINS / 2.0 ** (self._exponent or 0)
        index = np.clip(np.floor(flat * width).astype(np.int64) + BINS, 0, 2 * BINS - 1)
        self._bins += np.bincount(index, minlength=2 * BINS)

    def _grow(self, exponent: int) -> None:
        import numpy as np

        if self._exponent is None:  # only zeros until now, and they lie in the same bin at every width
            self._exponent = exponent
        for _ in range(exponent - self._exponent):
            merged = self._bins.reshape(BINS, 2).sum(axis=1)
            self._bins = np.concatenate([np.zeros(BINS // 2, np.int64), merged, np.zeros(BINS // 2, np.int64)])
        self._exponent = max(exponent, self._exponent)

    def range(self, method: Method, percentile: float, *, symmetric: bool) -> tuple[float, float]:
        """Return the lowest and highest value that int8 should cover, never beyond what was seen.

        `percentile` (50, 100] is the share of values kept, of magnitudes where the range will be symmetric, else with
        half of the rest cut at each end.
        """
        if not math.isfinite(self.low):
            return 0.0, 0.0
        width = 2.0 ** (self._exponent or 0) / BINS
        magnitudes = self._bins[BINS:] + self._bins[BINS - 1 :: -1]
        low = high = math.inf
        if method is Method.ENTROPY:
            low = high = width * max(least_divergence(magnitudes), _kept(magnitudes, 1 - CLIPPED))
        elif method is Method.PERCENTILE and symmetric:
            low = high = width * _kept(magnitudes, percentile / 100)
        elif method is Method.PERCENTILE:
            share = 0.5 + percentile / 200
            high = width * (_kept(self._bins, share) - BINS)
            low = width * (_kept(self._bins[::-1], share) - BINS)
        return max(self.low, -low), min(self.high, high)


def _kept(bins: NDArray[np.int64], share: float) -> int:
    """Return how many bins from the start hold at least this share of the counts."""
    import numpy as np

    return int(np.searchsorted(np.cumsum(bins), math.ceil(share * int(bins.sum())))) + 1


def least_divergence(magnitudes: NDArray[np.int64], stride: int = 8) -> int:
    """Return after how many bins to clip so that 128 levels keep the most information.

    Of each candidate, the clipped distribution is compared with itself at 128 levels by Kullback-Leibler divergence.
    Source: S. Migacz, "8-bit Inference with TensorRT", GTC 2017. As in NVIDIA's pytorch-quantization, the first bin,
    where a ReLU piles up exact zeros (which int8 holds without loss), counts like the second.
    """
    import numpy as np

    counts = magnitudes.astype(np.float64)
    counts[0] = counts[1]
    filled = int(np.flatnonzero(magnitudes)[-1]) + 1
    best = (math.inf, filled)
    for stop in range(LEVELS, filled + stride, stride):
        end = min(stop, filled)
        reference = counts[:end].copy()
        reference[-1] += counts[end:].sum()
        best = min(best, (_divergence(reference, counts[:end]), end))
    return best[1]


def _divergence(reference: NDArray[np.float64], clipped: NDArray[np.float64]) -> float:
    import numpy as np

    from builder.onnxtools.exact import log, total  # so that every processor makes the same cut

    level = np.arange(len(clipped)) * LEVELS // len(clipped)
    present = clipped > 0
    share = np.bincount(level, clipped, LEVELS) / np.maximum(np.bincount(level, present, LEVELS), 1)
    candidate = np.where(present, share[level], 0.0)
    if not candidate.any():
        return math.inf
    p, q = reference / reference.sum(), candidate / candidate.sum()
    seen = p > 0
    if (q[seen] == 0).any():
        q = np.maximum(q, 1e-12)
    return float(total(p[seen] * log(p[seen] / q[seen]), (0,))[0])


def observe(
    session: Session, feds: Iterable[Fed], tensors: list[str], progress: Callable[[int], None]
) -> tuple[dict[str, Observer], int]:
    """Run every feed and observe the named inputs and outputs; return the observers and the number of samples."""
    observers = {name: Observer() for name in tensors}
    names = [output.name for output in session.outputs]
    count = 0
    for fed in feds:
        _check_finite(fed)
        values = {**fed.feed, **dict(zip(names, session.run(fed.feed), strict=True))}
        for name, observer in observers.items():
            observer.add(values[name])
        count += len(fed.samples)
        progress(count)
    for name, observer in observers.items():
        if count and observer.low > observer.high:
            raise ModelError(f"tensor '{name}' of the model is never a finite number, so it has no range")
    return observers, count


def _check_finite(fed: Fed) -> None:
    """Refuse broken samples; infinities inside the model are another matter, attention masks are made of them."""
    import numpy as np

    for name, values in fed.feed.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            samples = ", ".join(sample.name for sample in fed.samples[:3])
            raise DataError(
                f"calibration: input '{name}' is not finite in sample {samples}", "mend or remove the sample"
            )
