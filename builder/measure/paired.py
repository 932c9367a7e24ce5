"""Confidence intervals for the difference of two models' metrics on the same samples."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Interval", "auc_difference", "f1_difference", "proportion_difference"]

Interval = tuple[float, float]

RESAMPLES = 2000
SEED = 0


def proportion_difference(reference: NDArray[Any], candidate: NDArray[Any], confidence: float) -> Interval:
    """Return the interval of mean(reference) - mean(candidate) for paired hits, bool[n].

    Method 10 of R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based
    on paired data", Statistics in Medicine 17 (1998), 2635-2650: Wilson intervals of both proportions, combined with
    their correlation. Where few pairs differ, as between a model and its quantized form, it is rather too wide than
    too narrow.
    """
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
    return p1 - p2 - down, p1 - p2 + up


def f1_difference(
    labels: NDArray[Any], reference: NDArray[Any], candidate: NDArray[Any], confidence: float
) -> Interval:
    """Return the interval of F1(reference) - F1(candidate) for paired decisions, bool[n].

    Percentile bootstrap of the samples (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).
    F1 depends only on how often each of the 8 combinations of label and decisions occurs, so a resample is one
    multinomial draw of these counts.
    """
    import numpy as np

    cells = np.bincount(4 * labels.astype(int) + 2 * reference + candidate, minlength=8)
    counts = np.random.default_rng(SEED).multinomial(len(labels), cells / len(labels), RESAMPLES)
    truth, first, second = (np.array([cell >> bit & 1 for cell in range(8)], bool) for bit in (2, 1, 0))
    drops = _f1(counts, truth, first) - _f1(counts, truth, second)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drops, [tail, 1 - tail])
    return float(low), float(high)


def auc_difference(
    labels: NDArray[Any], reference: NDArray[Any], candidate: NDArray[Any], confidence: float
) -> Interval:
    """Return the interval of AUC(reference) - AUC(candidate) for paired scores, float[n].

    E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, "Comparing the areas under two or more correlated receiver
    operating characteristic curves: a nonparametric approach", Biometrics 44 (1988), 837-845. Needs two samples of
    each label.
    """
    positive = labels.astype(bool)
    hits1, alarms1 = placements(positive, reference)
    hits2, alarms2 = placements(positive, candidate)
    drop = float(hits1.mean() - hits2.mean())
    variance = (hits1 - hits2).var(ddof=1) / len(hits1) + (alarms1 - alarms2).var(ddof=1) / len(alarms1)
    half = _z(confidence) * sqrt(variance)
    return drop - half, drop + half


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
