"""What samples say: percentiles, spread, and the ratio of two subjects with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Ratio", "fewest", "median", "median_interval", "ratio", "summary"]

_P99_RUNS = 1000  # ten samples beyond the percentile; with fewer it is the luck of one or two
_NOISY = 0.1


def summary(samples_ms: Sequence[float]) -> dict[str, Any]:
    """Return latency percentiles (linear interpolation), mean, extremes, standard deviation and spread, in ms."""
    import numpy as np

    values = np.asarray(samples_ms, dtype=np.float64)
    p25, p50, p75, p90, p99 = (float(value) for value in np.percentile(values, [25, 50, 75, 90, 99]))
    latency = {
        "p50": p50,
        "p90": p90,
        "p99": p99,
        "mean": float(values.mean()),
        "min": float(values.min()),
        "max": float(values.max()),
        "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
    }
    return {
        "latency_ms": {name: round(value, 6) for name, value in latency.items()},
        "p99_valid": len(values) >= _P99_RUNS,
        "runs": len(values),
        "spread": {"name": "iqr_over_median", "value": round((p75 - p25) / p50, 6)},
    }


def median(values: Sequence[float]) -> float:
    """Return the median; of an even number of values, the mean of the middle two."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def median_interval(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """Return an interval that holds the true median with at least this confidence.

    It is the one between two order statistics, exact for any distribution of independent values: the number of values
    below the median is binomial(n, 1/2). Asked for latencies, which are not normal and have outliers, by Hoefler and
    Belli, "Scientific Benchmarking of Parallel Computing Systems", SC 2015, rule 8; the proof is in Le Boudec,
    "Performance Evaluation of Computer and Communication Systems", 2010, theorem 2.1.
    With fewer than `fewest(confidence)` values nothing can be told, and the interval is (-inf, inf).
    """
    count, tail, rank = len(values), 0.0, 0
    while True:
        tail += math.comb(count, rank) / 2**count
        if 2 * tail > 1 - confidence:
            break
        rank += 1
    if rank == 0:
        return -math.inf, math.inf
    ordered = sorted(values)
    return ordered[rank - 1], ordered[count - rank]


def fewest(confidence: float) -> int:
    """Return the least number of values that give a median an interval: n with 2 * (1/2)^n <= 1 - confidence."""
    return math.ceil(1 - math.log2(1 - confidence))


@dataclass(frozen=True)
class Ratio:
    """The latency of one subject over that of another: below 1 is faster."""

    of: str
    to: str
    value: float
    interval: tuple[float, float]
    confidence: float

    @property
    def ranked(self) -> bool:
        """Whether the two differ for all that can be told: the interval does not hold 1."""
        return not self.interval[0] <= 1 <= self.interval[1]

    @property
    def half_width(self) -> float:
        """Half the interval's width as a fraction of the value."""
        return (self.interval[1] - self.interval[0]) / 2 / self.value

    @property
    def noisy(self) -> bool:
        """Whether nothing was learnt: not ranked, and known to no better than 10 %."""
        return not self.ranked and self.half_width > _NOISY

    @property
    def short(self) -> str:
        """Say it in a few words: "1.80 x faster [1.71, 1.92]"."""
        low, high = self.interval
        if not self.ranked:
            return f"no difference can be told [{low:.3f}, {high:.3f}]"
        faster = self.value < 1
        value, low, high = (1 / self.value, 1 / high, 1 / low) if faster else (self.value, low, high)
        decimals = 2
        while round(low, decimals) == 1:  # ranked, so the interval's end must not read as 1
            decimals += 1
        word = "faster" if faster else "slower"
        return f"{value:.{decimals}f} x {word} [{low:.{decimals}f}, {high:.{decimals}f}]"

    @property
    def words(self) -> str:
        """Say it in a sentence that names both."""
        if not self.ranked:
            return f"{self.short.replace('difference', f'difference between {self.of} and {self.to}')}"
        speed, _, interval = self.short.partition(" [")
        return f"{self.of} is {speed} than {self.to} [{interval}"

    def plain(self) -> dict[str, Any]:
        """Return it as measurement.json holds it."""
        return {
            "of": self.of,
            "to": self.to,
            "value": round(self.value, 6),
            "interval": [round(end, 6) for end in self.interval],
            "confidence": self.confidence,
            "ranked": self.ranked,
            "words": self.words,
        }


def ratio(of: str, to: str, pairs: Sequence[tuple[float, float]], confidence: float) -> Ratio:
    """Return the ratio of two subjects from the median latencies of blocks that were run next to each other.

    What slows the machine for a while slows both blocks of a pair, and leaves their ratio alone (Kalibera and Jones,
    "Rigorous Benchmarking in Reasonable Time", ISMM 2013, on ratios as effect sizes). The value is the median of the
    pairs' ratios; in logarithms, so that swapping the subjects gives the reciprocal.
    """
    logs = [math.log(first / second) for first, second in pairs]
    low, high = median_interval(logs, confidence)
    return Ratio(of, to, math.exp(median(logs)), (_exp(low), _exp(high)), confidence)


def _exp(value: float) -> float:
    return math.inf if value == math.inf else math.exp(value)
