"""Confidence intervals for the difference of two models' metrics on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "RESAMPLES",
    "SEED",
    "Blocks",
    "Interval",
    "auc_difference",
    "blocks_of",
    "f1_difference",
    "percentiles",
    "placements",
    "proportion_difference",
]

Interval = tuple[float, float]

RESAMPLES = 2000
SEED = 0


@dataclass(frozen=True, eq=False)
class Blocks:
    """Stretches of samples that follow each other, every one that there is: samples first[i] to after[i] - 1."""

    first: NDArray[Any]
    after: NDArray[Any]
    length: int  # of each; of a sequence that is shorter, all of it

    def sums(self, columns: NDArray[Any]) -> NDArray[Any]:
        """Return the sums of columns [n, k] over each block."""
        import numpy as np

        before = np.zeros((len(columns) + 1, *columns.shape[1:]), columns.dtype)
        np.cumsum(columns, axis=0, out=before[1:])
        found: NDArray[Any] = before[self.after] - before[self.first]
        return found

    def resamples(self, columns: NDArray[Any]) -> NDArray[Any]:
        """Return the sums of columns [n, k] over resamples of about n samples: [2000, k].

        A resample is as many blocks as make up n samples, drawn with replacement: the moving-block bootstrap of
        H. R. Künsch, "The jackknife and the bootstrap for general stationary observations", Annals of Statistics 17
        (1989), 1217-1241.
        """
        import numpy as np

        random, sums = np.random.default_rng(SEED), self.sums(columns)
        draws = max(1, int(len(columns) / (self.after - self.first).mean()))
        # one resample at a time, so that a long recording fits in memory
        return np.stack([sums[random.integers(len(sums), size=draws)].sum(axis=0) for _ in range(RESAMPLES)])


def blocks_of(sequences: Sequence[str]) -> Blocks | None:
    """Return the blocks of samples given the sequence of each ('' for none); None where none follows another.

    Their length is n^(1/3), the order that makes the error of the variance least (P. Hall, J. L. Horowitz, B.-Y. Jing,
    "On blocking rules for the bootstrap with dependent data", Biometrika 82 (1995), 561-574).
    """
    import numpy as np

    starts = [at for at, name in enumerate(sequences) if not name or at == 0 or name != sequences[at - 1]]
    if len(starts) == len(sequences):
        return None
    sizes = np.diff([*starts, len(sequences)])
    ends = np.repeat(np.array(starts) + sizes, sizes)  # of the sequence that each sample is in
    at, length = np.arange(len(sequences)), round(len(sequences) ** (1 / 3))
    whole = (at + length <= ends) | np.isin(at, starts)
    return Blocks(at[whole], np.minimum(at + length, ends)[whole], length)


def proportion_difference(
    reference: NDArray[Any], candidate: NDArray[Any], confidence: float, blocks: Blocks | None = None
) -> Interval:
    """Return the interval of mean(reference) - mean(candidate) for paired hits, bool[n].

    Method 10 of R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based
    on paired data", Statistics in Medicine 17 (1998), 2635-2650: Wilson intervals of both proportions, combined with
    their correlation. Where few pairs differ, as between a model and its quantized form, it is rather too wide than
    too narrow. Samples in `blocks` depend on each other: it is no narrower than the bootstrap of blocks says.
    """
    import numpy as np

    n = len(reference)
    both = int((reference & candidate).sum())
    only_reference = int((reference & ~candidate).sum())
    only_candidate = int((~reference & candidate).sum())
    neither = n - both - only_reference - only_candidate
    p1, p2 = (both + only_reference) / n, (both + only_candidate) / n
    low1, high1 = _wilson(p1, n, confidence)
    low2, high2 = _wilson(p2, n, confidence)
    phi = _phi(both, only_reference, only_candidate, neither)
    down = sqrt(max(0.0, (p1 - low1) ** 2 - 2 * phi * (p1 - low1) * (high2 - p2) + (high2 - p2) ** 2))
    up = sqrt(max(0.0, (p2 - low2) ** 2 - 2 * phi * (p2 - low2) * (high1 - p1) + (high1 - p1) ** 2))
    interval = p1 - p2 - down, p1 - p2 + up
    if blocks is None:
        return interval
    sums = blocks.resamples(np.stack([reference.astype(int) - candidate.astype(int), np.ones(n, int)], axis=1))
    return _wider(interval, percentiles(sums[:, 0] / sums[:, 1], confidence))


def f1_difference(
    labels: NDArray[Any],
    reference: NDArray[Any],
    candidate: NDArray[Any],
    confidence: float,
    blocks: Blocks | None = None,
) -> Interval:
    """Return the interval of F1(reference) - F1(candidate) for paired decisions, bool[n].

    Percentile bootstrap of the samples (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).
    F1 depends only on how often each of the 8 combinations of label and decisions occurs, so a resample is one
    multinomial draw of these counts. Samples in `blocks` depend on each other: it is no narrower than their bootstrap.
    """
    import numpy as np

    kinds = 4 * labels.astype(int) + 2 * reference + candidate
    cells = np.bincount(kinds, minlength=8)
    truth, first, second = (np.array([cell >> bit & 1 for cell in range(8)], bool) for bit in (2, 1, 0))

    def interval(counts: NDArray[Any]) -> Interval:
        return percentiles(_f1(counts, truth, first) - _f1(counts, truth, second), confidence)

    independent = interval(np.random.default_rng(SEED).multinomial(len(labels), cells / len(labels), RESAMPLES))
    if blocks is None:
        return independent
    return _wider(independent, interval(blocks.resamples(np.eye(8, dtype=int)[kinds])))


def auc_difference(
    labels: NDArray[Any],
    reference: NDArray[Any],
    candidate: NDArray[Any],
    confidence: float,
    blocks: Blocks | None = None,
) -> Interval:
    """Return the interval of AUC(reference) - AUC(candidate) for paired scores, float[n].

    E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, "Comparing the areas under two or more correlated receiver
    operating characteristic curves: a nonparametric approach", Biometrics 44 (1988), 837-845. Needs two samples of
    each label. Of samples in `blocks`, which depend on each other, the variance is that of the bootstrap of blocks for
    the mean of what each sample adds, or DeLong's where that is larger.
    """
    positive = labels.astype(bool)
    hits1, alarms1 = placements(positive, reference)
    hits2, alarms2 = placements(positive, candidate)
    drop = float(hits1.mean() - hits2.mean())
    variance = (hits1 - hits2).var(ddof=1) / len(hits1) + (alarms1 - alarms2).var(ddof=1) / len(alarms1)
    if blocks is not None:
        variance = max(variance, _block_variance(blocks, positive, hits1 - hits2 - drop, alarms1 - alarms2 - drop))
    half = _z(confidence) * sqrt(variance)
    return drop - half, drop + half


def _block_variance(blocks: Blocks, positive: NDArray[Any], hits: NDArray[Any], alarms: NDArray[Any]) -> float:
    """Return the moving-block variance of a difference of AUCs, from its deviations at positives and negatives."""
    import numpy as np

    n = len(positive)
    influence = np.empty((n, 1))
    influence[positive, 0] = hits * n / len(hits)
    influence[~positive, 0] = alarms * n / len(alarms)
    sums, sizes = blocks.sums(influence)[:, 0], blocks.after - blocks.first
    return float(np.square(sums).mean() / (n * sizes.mean()))


def placements(positive: NDArray[Any], scores: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return for each positive the share of negatives below it, and for each negative that of positives above it.

    Ties count one half. The mean of either is the area under the ROC curve.
    """
    import numpy as np

    ones, zeros = np.sort(scores[positive]), np.sort(scores[~positive])

    def below(values: NDArray[Any], among: NDArray[Any]) -> NDArray[Any]:
        left, right = np.searchsorted(among, values, "left"), np.searchsorted(among, values, "right")
        return (left + right) / (2 * len(among))

    return below(scores[positive], zeros), 1 - below(scores[~positive], ones)


def _f1(counts: NDArray[Any], truth: NDArray[Any], decision: NDArray[Any]) -> NDArray[Any]:
    """Return F1 of each row of counts; 0 where nothing is true and nothing was found."""
    import numpy as np

    hits = counts[:, truth & decision].sum(axis=1)
    errors = counts[:, truth ^ decision].sum(axis=1)
    scores: NDArray[Any] = 2 * hits / np.maximum(2 * hits + errors, 1)
    return scores


def percentiles(drops: NDArray[Any], confidence: float) -> Interval:
    """Return what lies between the tails of bootstrapped drops."""
    import numpy as np

    tail = (1 - confidence) / 2
    low, high = np.quantile(drops, [tail, 1 - tail])
    return float(low), float(high)


def _wider(one: Interval, other: Interval) -> Interval:
    return min(one[0], other[0]), max(one[1], other[1])


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _wilson(proportion: float, n: int, confidence: float) -> Interval:
    """Return the score interval of one proportion (E. B. Wilson, JASA 22 (1927), 209-212)."""
    z2 = _z(confidence) ** 2
    centre = (proportion + z2 / (2 * n)) / (1 + z2 / n)
    half = sqrt(z2 * (proportion * (1 - proportion) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return centre - half, centre + half


def _phi(a: int, b: int, c: int, d: int) -> float:
    """Return the correlation of the two columns of hits, with Newcombe's continuity correction where it is positive."""
    product = (a + b) * (c + d) * (a + c) * (b + d)
    if product == 0:
        return 0.0
    covariance = a * d - b * c
    corrected = max(covariance - (a + b + c + d) / 2, 0.0) if covariance > 0 else covariance
    return corrected / sqrt(product)
