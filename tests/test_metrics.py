"""Metrics of two models on the same samples, their intervals, and the fidelity of outputs."""

from __future__ import annotations

from math import log10
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from builder.errors import BuilderError, DataError, StepError
from builder.measure import paired, similarity
from builder.measure.fidelity import ROWS, fidelity
from builder.measure.metrics import METRICS, chosen, compare
from builder.measure.paired import auc_difference, blocks_of, f1_difference, placements, proportion_difference
from builder.measure.similarity import cosines, rank_correlation
from builder.specs import Task

Array = NDArray[Any]


def paired_hits(both: int, first: int, second: int, neither: int) -> tuple[Array, Array]:
    reference = np.repeat([True, True, False, False], [both, first, second, neither])
    candidate = np.repeat([True, False, True, False], [both, first, second, neither])
    return reference, candidate


@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [
        # M. W. Fagerland, S. Lydersen, P. Laake, "Statistical Analysis of Contingency Tables" (2017), chapter 8,
        # Newcombe's square-and-add interval: Cavo et al. (2012), and Bentur et al. (2009).
        ((59, 6, 16, 80), -0.1186, -0.0046),
        ((1, 1, 7, 12), -0.507, -0.026),
    ],
)
def test_the_paired_interval_is_the_published_one(cells: tuple[int, int, int, int], low: float, high: float) -> None:
    interval = proportion_difference(*paired_hits(*cells), 0.95)

    assert interval == pytest.approx((low, high), abs=6e-4 if high == -0.026 else 6e-5)


cells = st.tuples(*[st.integers(0, 400)] * 4).filter(any)


@given(cells, st.floats(0.5, 0.99))
def test_the_paired_interval_holds_the_drop_and_mirrors_when_the_models_change_places(
    counts: tuple[int, int, int, int], confidence: float
) -> None:
    reference, candidate = paired_hits(*counts)
    low, high = proportion_difference(reference, candidate, confidence)
    drop = reference.mean() - candidate.mean()

    assert -1 - 1e-9 <= low <= drop + 1e-12
    assert drop - 1e-12 <= high <= 1 + 1e-9
    assert proportion_difference(candidate, reference, confidence) == pytest.approx((-high, -low), abs=1e-12)


def coverage(interval: Any, draw: Any, truth: float, rounds: int = 600) -> float:
    random = np.random.default_rng(1)
    inside = 0
    for _ in range(rounds):
        low, high = interval(*draw(random), 0.95)
        inside += low <= truth <= high
    return inside / rounds


@pytest.mark.parametrize(
    ("keep", "lose", "gain", "most"),
    [(0.92, 0.012, 0.003, 1.0), (0.6, 0.1, 0.05, 0.98)],  # few differing pairs: it may be wider than it must be
)
def test_the_paired_interval_covers_the_true_drop_as_often_as_it_says(
    keep: float, lose: float, gain: float, most: float
) -> None:
    def draw(random: np.random.Generator) -> tuple[Array, Array]:
        return paired_hits(*random.multinomial(500, [keep, lose, gain, 1 - keep - lose - gain]))

    assert 0.93 <= coverage(proportion_difference, draw, lose - gain) <= most


def test_with_many_samples_the_paired_interval_is_as_narrow_as_walds() -> None:
    low, high = proportion_difference(*paired_hits(9200, 80, 60, 660), 0.95)
    wald = 2 * 1.96 * (140 - 20**2 / 10_000) ** 0.5 / 10_000

    assert wald < high - low < 1.1 * wald


def scores(random: np.random.Generator, noise: float, n: int = 120) -> tuple[Array, Array, Array]:
    """Labels, scores of a good model, and those of one with added noise."""
    labels = (np.arange(n) % 2).astype(int)
    good = labels * 1.5 + random.normal(size=n)
    return labels, good, good + noise * random.normal(size=n)


def test_the_auc_interval_covers_the_true_drop_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    labels, good, bad = scores(random, 1.0, 200_000)
    truth = placements(labels == 1, good)[0].mean() - placements(labels == 1, bad)[0].mean()

    assert truth > 0.05
    assert 0.92 <= coverage(auc_difference, lambda generator: scores(generator, 1.0), truth) <= 0.985


def test_the_f1_interval_covers_the_true_drop_as_often_as_it_says() -> None:
    def draw(random: np.random.Generator, n: int = 300) -> tuple[Array, Array, Array]:
        labels = random.random(n) < 0.4
        reference = labels ^ (random.random(n) < 0.10)
        return labels, reference, reference ^ (random.random(n) < 0.05)

    labels, reference, candidate = draw(np.random.default_rng(3), 2_000_000)
    truth = np.subtract(*(2 * (labels & d).sum() / (labels.sum() + d.sum()) for d in (reference, candidate)))

    assert truth > 0.02
    assert 0.92 <= coverage(f1_difference, draw, float(truth), rounds=300) <= 0.985


scored = arrays.arrays(np.float64, st.integers(8, 30), elements=st.integers(0, 6).map(lambda number: number / 6))


@given(scored)
def test_auc_is_the_share_of_pairs_in_the_right_order(values: Array) -> None:
    positive = np.arange(len(values)) % 2 == 1
    pairs = values[positive][:, None] - values[~positive][None]

    hits, alarms = placements(positive, values)

    assert hits.mean() == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert alarms.mean() == pytest.approx(hits.mean())


@settings(max_examples=50)
@given(scored, scored)
def test_f1_and_accuracy_are_those_of_the_textbook(first: Array, second: Array) -> None:
    n = min(len(first), len(second))
    labels, first, second = np.arange(n) % 3 == 0, first[:n], second[:n]

    f1 = compare("f1", labels.astype(int), first[:, None], second[:, None], 0.95)
    accuracy = compare("accuracy", labels.astype(int), first, second, 0.95)

    says = first >= 0.5
    precision = (labels & says).sum() / max(says.sum(), 1)
    recall = (labels & says).sum() / labels.sum()
    expected = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    assert f1.reference == pytest.approx(expected)
    assert accuracy.reference == pytest.approx((says == labels).mean())
    assert f1.interval == f1_difference(labels, first >= 0.5, second >= 0.5, 0.95)


def frames(random: np.random.Generator, n: int = 600) -> tuple[Array, Array, Array]:
    """Labels, and scores of two models, of the frames of a recording: each much like the one before it."""
    noise = random.normal(size=(n + 100, 3))
    for at in range(1, len(noise)):
        noise[at] = 0.85 * noise[at - 1] + (1 - 0.85**2) ** 0.5 * noise[at]
    label, first, second = noise[100:].T
    good = 1.5 * (label > 0) + first
    return (label > 0).astype(int), good, good + 0.7 * second


@pytest.mark.parametrize("metric", ["accuracy", "f1", "auc"])
def test_of_frames_that_follow_each_other_the_interval_covers_the_true_drop(
    metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paired, "RESAMPLES", 300)
    measures: dict[str, Any] = {
        "accuracy": lambda y, a, b, *more: proportion_difference((a > 0.75) == y, (b > 0.75) == y, *more),
        "f1": lambda y, a, b, *more: f1_difference(y, a > 0.75, b > 0.75, *more),
        "auc": auc_difference,
    }
    deviation = (1 + 0.7**2) ** 0.5
    normal, level = NormalDist(), 1.5 / 2**0.5 if metric == "auc" else 0.75
    truth = normal.cdf(level) - normal.cdf(level / deviation)
    same = blocks_of(600 * ["a.wav"])

    alone = coverage(measures[metric], frames, truth, 150)
    together = coverage(lambda *drawn: measures[metric](*drawn, same), frames, truth, 150)

    assert alone < 0.85
    assert together > 0.88


def test_blocks_hold_neighbours_of_one_sequence() -> None:
    found = blocks_of(["", "", *12 * ["a"], "b", "b", *11 * ["a"]])

    assert found is not None
    assert found.length == 3
    stretches = list(zip(found.first.tolist(), found.after.tolist(), strict=True))
    assert stretches[:3] == [(0, 1), (1, 2), (2, 5)]
    assert (11, 14) in stretches
    assert (14, 16) in stretches  # a sequence shorter than a block is one
    assert not any(first < edge < after for first, after in stretches for edge in (2, 14, 16))
    assert found.sums(np.arange(27)[:, None])[2, 0] == 2 + 3 + 4


def test_samples_of_no_sequence_or_each_of_its_own_are_independent() -> None:
    assert blocks_of([]) is None
    assert blocks_of(["", "", ""]) is None
    assert blocks_of(["a", "b", "c"]) is None


@pytest.mark.parametrize("metric", ["f1", "auc", "accuracy"])
def test_the_method_names_the_blocks_and_the_interval_is_never_narrower(metric: str) -> None:
    labels, first, second = frames(np.random.default_rng(0), 1000)
    good, bad = (1 / (1 + np.exp(0.75 - scores)) for scores in (first, second))

    alone = compare(metric, labels, good, bad, 0.95)
    together = compare(metric, labels, good, bad, 0.95, 1000 * ["a.wav"])
    again = compare(metric, labels, good, bad, 0.95, 1000 * ["a.wav"])

    assert together == again
    assert together.method == f"moving-block bootstrap (Künsch 1989) of 10 samples, no narrower than {alone.method}"
    assert (together.reference, together.drop) == (alone.reference, alone.drop)
    assert together.interval[0] <= alone.interval[0] <= alone.interval[1] <= together.interval[1]
    assert together.interval != alone.interval


@given(st.integers(0, 2**32 - 1), st.integers(6, 12))
def test_top_k_counts_labels_among_the_k_highest_scores(seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    outputs = random.integers(0, 4, (40, classes)).astype(np.float32)  # with many ties
    labels = random.integers(0, classes, 40)
    order = np.argsort(-outputs, axis=1, kind="stable")

    for k, name in ((1, "top1"), (5, "top5")):
        expected = (order[:, :k] == labels[:, None]).any(axis=1).mean()
        assert compare(name, labels, outputs, outputs, 0.95).reference == pytest.approx(expected)


def test_the_metrics_of_a_task_leave_out_what_says_nothing() -> None:
    both, one = np.array([0, 0, 1, 1]), np.array([1, 1, 1, 1])

    assert chosen([], Task.CLASSIFICATION, both, 10) == ["top1", "top5"]
    assert chosen([], Task.CLASSIFICATION, both, 5) == ["top1"]
    assert chosen([], Task.BINARY, both, 1) == ["f1", "auc", "accuracy"]
    assert chosen([], Task.BINARY, one, 1) == ["f1", "accuracy"]
    assert chosen(["accuracy"], Task.BINARY, one, 1) == ["accuracy"]
    with pytest.raises(StepError) as caught:
        chosen(["top2"], Task.CLASSIFICATION, both, 10)
    assert caught.value.hint in {"did you mean 'top1'?", "did you mean 'top5'?"}


@pytest.mark.parametrize(
    ("metric", "labels", "outputs", "error", "phrase"),
    [
        ("top1", [0, 3], np.zeros((2, 3)), DataError, "labels go from 0 to 3, expected whole numbers from 0 to 2"),
        ("top1", [0.5, 1.0], np.zeros((2, 3)), DataError, "whole numbers"),
        ("top1", [0, 1], np.zeros((2, 3, 4)), StepError, "output is of shape"),
        ("f1", [0, 1], np.zeros((2, 3)), StepError, "gives 3 numbers"),
        ("f1", [0, 1], np.array([-4.0, 5.0]), StepError, "goes from -4 to 5"),
        ("auc", [1, 1], np.array([0.1, 0.2]), DataError, "two samples of each label"),
        ("spearman", [[0, 1, 0.5], [1, 2, 0.5]], np.ones((3, 2)), DataError, "pairs with different scores"),
        ("spearman", [[0, 1, 0.5]], np.ones((2, 1)), StepError, "output is of shape ['n', 1]"),
        ("spearman", [[0, 1, 0.5]], np.ones((2, 3, 4)), StepError, "output is of shape ['n', 3, 4]"),
    ],
)
def test_labels_or_outputs_that_do_not_fit_the_task_are_refused(
    metric: str, labels: list[Any], outputs: Array, error: type[BuilderError], phrase: str
) -> None:
    with pytest.raises(error) as caught:
        compare(metric, np.array(labels), outputs, outputs, 0.95)

    assert phrase in str(caught.value)


def test_every_metric_of_a_model_with_itself_has_no_drop() -> None:
    random = np.random.default_rng(0)
    for name, metric in METRICS.items():
        outputs = random.random((50, 1 if metric.task is Task.BINARY else 6))
        labels = np.arange(150).reshape(50, 3) % 50 if metric.task is Task.SIMILARITY else np.arange(50) % 2
        comparison = compare(name, labels, outputs, outputs, 0.95)

        assert comparison.drop == 0
        assert comparison.interval[0] <= 0 <= comparison.interval[1]


def test_the_rank_correlation_is_the_published_one() -> None:
    # M. G. Kendall, "Rank Correlation Methods" (4th edition, 1970), 1.14: ten boys in mathematics and in music.
    mathematics = np.array([7, 4, 3, 10, 6, 2, 9, 8, 1, 5])
    music = np.array([5, 7, 3, 10, 1, 9, 6, 2, 8, 4])

    assert rank_correlation(mathematics, music) == pytest.approx(1 - 6 * ((mathematics - music) ** 2).sum() / 990)
    assert rank_correlation(mathematics, np.exp(music)) == rank_correlation(mathematics, music)
    assert rank_correlation(mathematics, np.ones(10)) == 0


def test_ties_share_the_mean_of_their_ranks() -> None:
    ranks = np.array([1, 2.5, 2.5, 4.5, 4.5, 6])

    expected = np.corrcoef(ranks, [2, 1, 4, 3, 6, 5])[0, 1]
    assert rank_correlation(np.array([0.1, 0.2, 0.2, 0.3, 0.3, 0.4]), np.array([20, 10, 40, 30, 60, 50])) == (
        pytest.approx(expected)
    )


def test_the_cosine_of_a_pair_is_that_of_its_vectors() -> None:
    embeddings = np.array([[1, 0], [3, 3], [0, -2], [0, 0]], np.float32)
    pairs = np.array([[0, 1, 0], [0, 2, 0], [1, 1, 0], [2, 3, 0]], float)

    assert cosines(pairs, embeddings) == pytest.approx([0.5**0.5, 0, 1, 0])


def noisy_embeddings(random: np.random.Generator, n: int, shared: bool) -> tuple[Array, Array, Array]:
    """Return pairs with scores after the cosines of hidden vectors, and two models that see these with errors."""
    hidden = random.standard_normal((n, 4))
    numbers = np.array([(i, j) for i in range(n) for j in range(i)]) if shared else np.arange(n).reshape(-1, 2)
    pairs = np.column_stack([numbers, np.zeros(len(numbers))])
    pairs[:, 2] = cosines(pairs, hidden) + random.normal(0, 0.2, len(pairs))
    return pairs, hidden + random.normal(0, 0.3, hidden.shape), hidden + random.normal(0, 0.6, hidden.shape)


@pytest.mark.parametrize(("n", "shared", "many"), [(24, True, 300), (200, False, 6000)])
def test_the_interval_of_a_rank_correlation_holds_the_true_drop_about_as_often_as_it_says(
    n: int, shared: bool, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similarity, "RESAMPLES", 200)
    random = np.random.default_rng(1)
    true = compare("spearman", *noisy_embeddings(random, many, shared), 0.9).drop
    intervals = [compare("spearman", *noisy_embeddings(random, n, shared), 0.9).interval for _ in range(50)]

    assert 38 <= sum(low <= true <= high for low, high in intervals) <= 49


def test_pairs_that_share_samples_tell_less_than_as_many_that_do_not() -> None:
    random = np.random.default_rng(0)
    apart = compare("spearman", *noisy_embeddings(random, 2 * 276, False), 0.95)
    shared = compare("spearman", *noisy_embeddings(random, 24, True), 0.95)

    assert np.ptp(shared.interval) > np.ptp(apart.interval)
    assert "of pairs" in apart.method
    assert "of samples (Snijders and Borgatti 1999)" in shared.method


def test_fidelity_of_a_known_error() -> None:
    reference = np.array([[3.0, 4.0], [0.0, 5.0]], np.float32)
    candidate = reference + np.array([[1.0, 0.0], [0.0, -2.0]], np.float32)

    result = fidelity(reference, candidate, Task.CLASSIFICATION)

    assert result.snr_db == pytest.approx(10 * log10(50 / 5))
    assert result.cosine == pytest.approx((12 + 16 + 15) / (50 * (32 + 9)) ** 0.5)
    assert result.agreement == 0.5  # 4 and 4 tie: the lower class wins
    assert result.max_abs_difference == 2
    assert not result.identical


def test_fidelity_of_identical_outputs_is_said_in_words() -> None:
    result = fidelity(np.ones((3, 2)), np.ones((3, 2)), Task.NONE)

    assert result.identical
    assert result.snr_db is None
    assert result.agreement is None
    assert result.cosine == pytest.approx(1)


def test_fidelity_of_many_rows_is_that_of_all_of_them() -> None:
    random = np.random.default_rng(0)
    reference = random.random((2 * ROWS + 7, 1)).astype(np.float32)
    candidate = np.clip(reference + random.normal(0, 0.01, reference.shape), 0, 1).astype(np.float32)
    noise = np.square(reference.astype(np.float64) - candidate).sum()

    result = fidelity(reference, candidate, Task.BINARY)

    assert result.snr_db == pytest.approx(10 * log10(np.square(reference.astype(np.float64)).sum() / noise))
    assert result.agreement == ((reference >= 0.5) == (candidate >= 0.5)).mean()


def test_outputs_of_another_shape_or_not_finite_are_refused() -> None:
    with pytest.raises(StepError, match="shape"):
        fidelity(np.zeros((3, 2)), np.zeros((3, 4)), Task.NONE)
    with pytest.raises(StepError, match=r"the candidate gives values that are not finite .*: 1 of 6"):
        fidelity(np.zeros((3, 2)), np.array([[0, 0], [0, np.nan], [0, 0]]), Task.NONE)
