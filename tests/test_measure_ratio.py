"""The statistics on series whose truth is known."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.measure.ratio import Ratio, fewest, median, median_interval, ratio, summary

latencies = st.floats(min_value=1e-3, max_value=1e3)
pairs = st.lists(st.tuples(latencies, latencies), min_size=6, max_size=60)


def noisy_pairs(truth: float, count: int, rng: random.Random) -> list[tuple[float, float]]:
    """Blocks of a machine that drifts, with noise on every block and one in twenty slowed by half."""
    drift, taken = 1.0, []
    for _ in range(count):
        drift *= math.exp(rng.gauss(0, 0.05))
        first, second = (math.exp(rng.gauss(0, 0.04)) * (1.5 if rng.random() < 0.05 else 1) for _ in range(2))
        taken.append((truth * drift * first, drift * second))
    return taken


@pytest.mark.parametrize("truth", [0.5, 1.0, 1.3])
def test_a_95_percent_interval_holds_the_true_ratio_in_95_percent_of_simulations(truth: float) -> None:
    rng = random.Random(1)
    intervals = [ratio("a", "b", noisy_pairs(truth, 20, rng), 0.95).interval for _ in range(600)]
    assert sum(low <= truth <= high for low, high in intervals) / 600 >= 0.95
    assert median([high - low for low, high in intervals]) < 0.15 * truth


def test_stopping_at_a_fixed_width_keeps_the_coverage() -> None:
    rng, held = random.Random(2), 0
    for _ in range(200):
        taken = noisy_pairs(1.3, 20, rng)
        while (found := ratio("a", "b", taken, 0.95)).half_width > 0.02 and len(taken) < 200:
            taken += noisy_pairs(1.3, 1, rng)
        held += found.interval[0] <= 1.3 <= found.interval[1]
    assert held / 200 >= 0.93


def test_equal_subjects_are_ranked_in_no_more_than_5_percent_of_simulations() -> None:
    rng = random.Random(3)
    assert sum(ratio("a", "b", noisy_pairs(1.0, 20, rng), 0.95).ranked for _ in range(600)) / 600 <= 0.05


@given(pairs)
def test_swapping_the_subjects_gives_the_reciprocal(taken: list[tuple[float, float]]) -> None:
    there = ratio("a", "b", taken, 0.95)
    back = ratio("b", "a", [(second, first) for first, second in taken], 0.95)
    assert back.value == pytest.approx(1 / there.value)
    assert back.interval == pytest.approx((1 / there.interval[1], 1 / there.interval[0]))


@given(pairs, st.floats(min_value=0.1, max_value=10))
def test_a_machine_slower_by_any_factor_gives_the_same_ratio(taken: list[tuple[float, float]], factor: float) -> None:
    slower = ratio("a", "b", [(first * factor, second * factor) for first, second in taken], 0.95)
    assert slower.interval == pytest.approx(ratio("a", "b", taken, 0.95).interval)


@given(st.lists(latencies, min_size=1, max_size=80))
def test_the_interval_holds_the_median_and_grows_with_the_confidence(values: list[float]) -> None:
    intervals = [median_interval(values, confidence) for confidence in (0.5, 0.8, 0.95, 0.999)]
    assert all(low <= median(values) <= high for low, high in intervals)
    assert all(wide[0] <= narrow[0] and narrow[1] <= wide[1] for narrow, wide in pairwise(intervals))


def test_order_statistics_are_those_of_the_binomial_tables() -> None:
    values = list(range(1, 21))  # n = 20: from the 6th to the 15th value, coverage 95.86 %
    assert median_interval(values, 0.95) == (6, 15)
    assert median_interval(values[:6], 0.95) == (1, 6)


@pytest.mark.parametrize(("confidence", "least"), [(0.5, 2), (0.9, 5), (0.95, 6), (0.99, 8)])
def test_below_the_least_number_of_blocks_nothing_can_be_told(confidence: float, least: int) -> None:
    assert fewest(confidence) == least
    assert median_interval([1.0] * least, confidence) == (1.0, 1.0)
    assert median_interval([1.0] * (least - 1), confidence) == (-math.inf, math.inf)


@given(st.lists(latencies, min_size=2, max_size=200))
def test_percentiles_and_spread_are_numpys(values: list[float]) -> None:
    found = summary(values)
    for name, percent in (("p50", 50), ("p90", 90), ("p99", 99)):
        assert found["latency_ms"][name] == pytest.approx(np.percentile(values, percent), abs=1e-6)
    assert found["latency_ms"]["std"] == pytest.approx(np.std(values, ddof=1), abs=1e-6)
    quartiles = np.percentile(values, [25, 50, 75])
    assert found["spread"]["name"] == "iqr_over_median"
    assert found["spread"]["value"] == pytest.approx((quartiles[2] - quartiles[0]) / quartiles[1], abs=1e-6)


def test_p99_counts_from_a_thousand_runs_on() -> None:
    assert not summary([1.0] * 999)["p99_valid"]
    assert summary([1.0] * 1000)["p99_valid"]


def test_the_verdict_says_faster_slower_or_that_nothing_can_be_told() -> None:
    assert Ratio("candidate", "baseline", 0.5, (0.4, 0.625), 0.95).words == (
        "candidate is 2.00 x faster than baseline [1.60, 2.50]"
    )
    assert Ratio("candidate", "baseline", 1.25, (1.2, 1.3), 0.95).words == (
        "candidate is 1.25 x slower than baseline [1.20, 1.30]"
    )
    assert Ratio("candidate", "baseline", 1.0, (0.97, 1.04), 0.95).words == (
        "no difference between candidate and baseline can be told [0.970, 1.040]"
    )
    assert Ratio("candidate", "baseline", 0.99, (0.985, 0.9985), 0.95).short == "1.010 x faster [1.002, 1.015]"


def test_noisy_is_unranked_and_wide() -> None:
    assert Ratio("a", "b", 1.0, (0.85, 1.2), 0.95).noisy
    assert not Ratio("a", "b", 1.0, (0.95, 1.05), 0.95).noisy
    assert not Ratio("a", "b", 2.0, (1.2, 2.8), 0.95).noisy
