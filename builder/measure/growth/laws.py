"""How a model's cost grows with the batch, and how it shrinks with threads, from blocks that were run in turns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builder.measure.ratio import median, median_interval

__all__ = ["Fit", "batch_exponent", "parallel_share"]


@dataclass(frozen=True)
class Fit:
    """A parameter of a law, its interval over the rounds, and how far the law is from any one median, as a share."""

    value: float
    interval: tuple[float, float]
    misfit: float


def batch_exponent(rounds: Mapping[int, Sequence[float]], confidence: float) -> Fit:
    """Return k of latency = a * batch^k, given the latency of each batch in each round: 1 is in proportion, 0 is free.

    Least squares in logarithms, as S. F. Goldsmith, A. S. Aiken, D. S. Wilkerson, "Measuring Empirical Computational
    Complexity", ESEC/FSE 2007, fit the cost of programs. Each round gives a k; the value is their median and the
    interval that of a median (`median_interval`), which asks for no distribution of the errors.
    """
    sizes = [math.log(batch) for batch in rounds]
    slopes = [_slope(sizes, [math.log(value) for value in each]) for each in zip(*rounds.values(), strict=True)]
    exponent = median(slopes)
    medians = [math.log(median(values)) for values in rounds.values()]
    offset = median([value - exponent * size for value, size in zip(medians, sizes, strict=True)])
    apart = (abs(math.exp(v - offset - exponent * s) - 1) for v, s in zip(medians, sizes, strict=True))
    return Fit(exponent, median_interval(slopes, confidence), max(apart))


def parallel_share(rounds: Mapping[int, Sequence[float]], confidence: float) -> Fit:
    """Return p of latency(n) = latency(1) * (1 - p + p / n), given the latency with 1 and more threads in each round.

    p is the share of the work that n threads divide (G. M. Amdahl, "Validity of the single processor approach to
    achieving large scale computing capabilities", AFIPS 1967); below 0, threads cost more than they bring. Least
    squares for each round, then value and interval as for `batch_exponent`.
    """
    threads = [count for count in rounds if count > 1]
    saved = [1 - 1 / count for count in threads]

    def share(latencies: Mapping[int, float]) -> float:
        gained = [1 - latencies[count] / latencies[1] for count in threads]
        return sum(x * y for x, y in zip(saved, gained, strict=True)) / sum(x * x for x in saved)

    shares = [share(dict(zip(rounds, each, strict=True))) for each in zip(*rounds.values(), strict=True)]
    value = median(shares)
    medians = {count: median(values) for count, values in rounds.items()}
    apart = (abs(medians[1] * (1 - value * x) / medians[n] - 1) for x, n in zip(saved, threads, strict=True))
    return Fit(value, median_interval(shares, confidence), max(apart))


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)
