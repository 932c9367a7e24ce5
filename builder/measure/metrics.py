"""The metrics that compare a candidate with its reference on labelled samples, by task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.errors import DataError, StepError, did_you_mean
from builder.measure.paired import (
    RESAMPLES,
    Blocks,
    Interval,
    auc_difference,
    blocks_of,
    f1_difference,
    placements,
    proportion_difference,
)
from builder.measure.similarity import cosines, rank_correlation, rank_correlation_difference, repeated
from builder.specs import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["METRICS", "THRESHOLD", "Comparison", "Metric", "chosen", "compare", "probabilities"]

THRESHOLD = 0.5  # a binary model says yes from this probability on


@dataclass(frozen=True)
class Comparison:
    """A metric of both models, 1 at best; `interval` is that of the drop, reference minus candidate."""

    reference: float
    candidate: float
    interval: Interval
    method: str

    @property
    def drop(self) -> float:
        return self.reference - self.candidate


# labels [n] (of similarity: pairs [p, 3]), outputs of the reference and of the candidate [n, ...], confidence,
# blocks of samples that are dependent
Compare = Callable[["NDArray[Any]", "NDArray[Any]", "NDArray[Any]", float, Blocks | None], Comparison]


@dataclass(frozen=True)
class Metric:
    """A metric: the task it is for, and how two models are compared by it."""

    task: Task
    compare: Compare


def chosen(names: list[str], task: Task, labels: NDArray[Any], classes: int) -> list[str]:
    """Return the metrics to take, the primary one first: those asked for, or the task's where they say something.

    Raises StepError for a metric that is not there or is of another task.
    """
    ours = [name for name, metric in METRICS.items() if metric.task is task]
    for name in names:
        if name not in ours:
            raise StepError(f"there is no metric '{name}' for the task {task.value}", hint=did_you_mean(name, ours))
    says_nothing = {"top5"} if classes <= 5 else set()
    if min((labels == 0).sum(), (labels == 1).sum()) < 2:
        says_nothing.add("auc")
    return names or [name for name in ours if name not in says_nothing]


def compare(
    name: str,
    labels: NDArray[Any],
    reference: NDArray[Any],
    candidate: NDArray[Any],
    confidence: float,
    sequences: Sequence[str] = (),
) -> Comparison:
    """Compare two models by a metric; of the task similarity `labels` are scored pairs, [p, 3].

    Samples that share one of the `sequences` [n] ('' for none) follow each other in time, so neighbours tell less than
    independent ones: the interval allows for it. Raises StepError where outputs are not what the task says, DataError
    where labels are not among its classes.
    """
    return METRICS[name].compare(labels, reference, candidate, confidence, blocks_of(sequences))


def probabilities(outputs: NDArray[Any]) -> NDArray[Any]:
    """Return one probability for each sample, [n]. Raises StepError where outputs are none."""
    flat = outputs.reshape(len(outputs), -1)
    if flat.shape[1] != 1:
        raise StepError(
            f"the task is binary, but the model gives {flat.shape[1]} numbers for a sample",
            hint="set model.task: classification",
        )
    low, high = float(flat.min()), float(flat.max())
    if low < -0.01 or high > 1.01:  # int8 may step over the ends by a fraction of its scale
        raise StepError(
            f"the task is binary, but the model's output goes from {low:.3g} to {high:.3g}",
            hint="it must be a probability: end the model with a Sigmoid",
        )
    return flat[:, 0]


def _top(k: int) -> Compare:
    """Return the comparison by how often the label is among the k highest scores (ties: the lower class wins)."""

    def hits(labels: NDArray[Any], scores: NDArray[Any]) -> NDArray[Any]:
        import numpy as np

        if scores.ndim != 2:
            raise StepError(
                f"the task is classification, but the model's output is of shape {['n', *scores.shape[1:]]}",
                hint="it must be one score for each class; else set model.task: none",
            )
        _check_labels(labels, scores.shape[1])
        column = labels.astype(np.int64)[:, None]
        own = np.take_along_axis(scores, column, axis=1)
        tied_before = (scores == own) & (np.arange(scores.shape[1]) < column)
        found: NDArray[Any] = ((scores > own) | tied_before).sum(axis=1) < k
        return found

    return _by_hits(hits)


def _accuracy(labels: NDArray[Any], outputs: NDArray[Any]) -> NDArray[Any]:
    _check_labels(labels, 2)
    right: NDArray[Any] = (probabilities(outputs) >= THRESHOLD) == labels.astype(bool)
    return right


def _by_hits(hits: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]) -> Compare:
    """Return the comparison of two shares of hits."""

    def compared(
        labels: NDArray[Any],
        reference: NDArray[Any],
        candidate: NDArray[Any],
        confidence: float,
        blocks: Blocks | None,
    ) -> Comparison:
        ours, theirs = hits(labels, reference), hits(labels, candidate)
        interval = proportion_difference(ours, theirs, confidence, blocks)
        method = _method("Newcombe 1998, method 10", blocks)
        return Comparison(float(ours.mean()), float(theirs.mean()), interval, method)

    return compared


def _method(independent: str, blocks: Blocks | None) -> str:
    if blocks is None:
        return independent
    return f"moving-block bootstrap (Künsch 1989) of {blocks.length} samples, no narrower than {independent}"


def _f1(
    labels: NDArray[Any],
    reference: NDArray[Any],
    candidate: NDArray[Any],
    confidence: float,
    blocks: Blocks | None,
) -> Comparison:
    _check_labels(labels, 2)
    ours, theirs = probabilities(reference) >= THRESHOLD, probabilities(candidate) >= THRESHOLD
    interval = f1_difference(labels, ours, theirs, confidence, blocks)
    method = _method("paired bootstrap, 2000 resamples", blocks)
    return Comparison(_f1_of(labels, ours), _f1_of(labels, theirs), interval, method)


def _f1_of(labels: NDArray[Any], decisions: NDArray[Any]) -> float:
    truth = labels.astype(bool)
    errors, hits = int((truth ^ decisions).sum()), int((truth & decisions).sum())
    return 2 * hits / (2 * hits + errors) if hits else 0.0


def _auc(
    labels: NDArray[Any],
    reference: NDArray[Any],
    candidate: NDArray[Any],
    confidence: float,
    blocks: Blocks | None,
) -> Comparison:
    _check_labels(labels, 2)
    positive = labels.astype(bool)
    if min(positive.sum(), (~positive).sum()) < 2:
        raise DataError("auc needs at least two samples of each label", hint="leave auc out of metrics")
    ours, theirs = probabilities(reference), probabilities(candidate)
    interval = auc_difference(labels, ours, theirs, confidence, blocks)
    first, second = (float(placements(positive, scores)[0].mean()) for scores in (ours, theirs))
    return Comparison(first, second, interval, _method("DeLong 1988", blocks))


def _spearman(
    pairs: NDArray[Any],
    reference: NDArray[Any],
    candidate: NDArray[Any],
    confidence: float,
    _blocks: Blocks | None,
) -> Comparison:
    if reference.ndim != 2 or reference.shape[1] < 2:
        raise StepError(
            f"the task is similarity, but the model's output is of shape {['n', *reference.shape[1:]]}",
            hint="it must be one vector for each sample, as a model with pooling gives; else set model.task: none",
        )
    if len(set(pairs[:, 2])) < 2:
        raise DataError("spearman needs pairs with different scores", hint="set the task to none, or score the pairs")
    ours, theirs = cosines(pairs, reference), cosines(pairs, candidate)
    first, second = (rank_correlation(pairs[:, 2], each) for each in (ours, theirs))
    drawn = "samples (Snijders and Borgatti 1999)" if repeated(pairs) else "pairs"
    interval = rank_correlation_difference(pairs, ours, theirs, confidence)
    return Comparison(first, second, interval, f"paired bootstrap of {drawn}, {RESAMPLES} resamples")


def _check_labels(labels: NDArray[Any], classes: int) -> None:
    if labels.dtype.kind not in "iub" or labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"labels go from {labels.min()} to {labels.max()}, expected whole numbers from 0 to {classes - 1}",
            hint="is this the model's data, and are the classes in the order of the model's outputs?",
        )


METRICS: dict[str, Metric] = {
    "top1": Metric(Task.CLASSIFICATION, _top(1)),
    "top5": Metric(Task.CLASSIFICATION, _top(5)),
    "f1": Metric(Task.BINARY, _f1),
    "auc": Metric(Task.BINARY, _auc),
    "accuracy": Metric(Task.BINARY, _by_hits(_accuracy)),
    "spearman": Metric(Task.SIMILARITY, _spearman),
}
