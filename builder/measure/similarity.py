"""How well the cosines of embeddings rank pairs of samples, against people's scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.measure.paired import RESAMPLES, SEED, Interval, percentiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["cosines", "rank_correlation", "rank_correlation_difference", "repeated"]


def cosines(pairs: NDArray[Any], embeddings: NDArray[Any]) -> NDArray[Any]:
    """Return the cosine of the angle between both samples of each pair, [p]; that with a vector of zeros is 0.

    `pairs` [p, 3] are the numbers of two samples and their score, `embeddings` [n, d].
    """
    import numpy as np

    vectors = embeddings.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    first, second = pairs[:, 0].astype(int), pairs[:, 1].astype(int)
    found: NDArray[Any] = np.einsum("pd,pd->p", vectors[first], vectors[second])
    return found


def rank_correlation(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return Spearman's rank correlation of two columns [p]; ties share the mean of their ranks, a constant gives 0.

    C. Spearman, "The proof and measurement of association between two things", American Journal of Psychology 15
    (1904), 72-101. For embeddings against people's scores: N. Reimers, I. Gurevych, "Sentence-BERT", EMNLP 2019.
    """
    import numpy as np

    return _correlation(_ordered(first), _ordered(second), np.ones(len(first)))


def rank_correlation_difference(
    pairs: NDArray[Any], reference: NDArray[Any], candidate: NDArray[Any], confidence: float
) -> Interval:
    """Return the interval of the drop in rank correlation with the scores of `pairs` [p, 3], from both cosines [p].

    Percentile bootstrap, the same resamples for both models. Where a sample stands in several pairs, these depend on
    each other, and samples are drawn, a pair as often as both of its samples together: T. A. B. Snijders, S. P.
    Borgatti, "Non-parametric standard errors and tests for network statistics", Connections 22 (1999), 161-170.
    """
    import numpy as np

    scores, ours, theirs = (_ordered(column) for column in (pairs[:, 2], reference, candidate))
    random, drops = np.random.default_rng(SEED), np.empty(RESAMPLES)
    first, second = pairs[:, 0].astype(int), pairs[:, 1].astype(int)
    samples, shared = max(first.max(), second.max()) + 1, repeated(pairs)
    for at in range(RESAMPLES):
        if shared:
            drawn = np.bincount(random.integers(samples, size=samples), minlength=samples)
            weights = drawn[first] * drawn[second]
        else:
            weights = np.bincount(random.integers(len(pairs), size=len(pairs)), minlength=len(pairs))
        drops[at] = _correlation(scores, ours, weights) - _correlation(scores, theirs, weights)
    return percentiles(drops, confidence)


def repeated(pairs: NDArray[Any]) -> bool:
    """Tell whether a sample stands in more than one pair."""
    import numpy as np

    return bool(np.unique(pairs[:, :2], return_counts=True)[1].max() > 1)


def _ordered(column: NDArray[Any]) -> NDArray[Any]:
    """Return each value's place among the distinct values, from 0."""
    import numpy as np

    places: NDArray[Any] = np.unique(column, return_inverse=True)[1]
    return places


def _correlation(first: NDArray[Any], second: NDArray[Any], weights: NDArray[Any]) -> float:
    """Return the correlation of the ranks, each pair counted as often as its weight says."""
    import numpy as np

    ranks = []
    for places in (first, second):
        tied = np.bincount(places, weights)
        ranks.append((np.cumsum(tied) - tied / 2)[places])
    centred = [column - np.average(column, weights=weights) for column in ranks] if weights.any() else ranks
    spread = np.sqrt((weights * centred[0] ** 2).sum() * (weights * centred[1] ** 2).sum())
    return float((weights * centred[0] * centred[1]).sum() / spread) if spread else 0.0
