"""What is said of several runs has the published definitions, and intervals cover as often as they say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncnet.studies import statistics

SCORES = st.lists(st.floats(-100.0, 100.0), min_size=2, max_size=12)


def test_an_interval_has_the_mean_in_it_and_repeats():
    values = [3.0, 1.0, 4.0, 1.5, 9.0, 2.6]
    found = statistics.interval(values)
    assert found.value == pytest.approx(np.mean(values))
    assert min(values) < found.low < found.value < found.high < max(values)
    assert statistics.interval(values) == found
    assert str(found).startswith("3.517 [")


def test_one_run_says_nothing_about_others_and_none_says_nothing():
    one, none = statistics.interval([0.5]), statistics.interval([None, math.nan])
    assert (one.value, one.n) == (0.5, 1)
    assert math.isnan(one.low)
    assert none.n == 0
    assert math.isnan(none.value)
    assert statistics.interval([2.0, 2.0, 2.0])[:3] == (2.0, 2.0, 2.0)


def test_a_95_percent_interval_of_twenty_normal_numbers_covers_the_mean_about_as_often():
    rng = np.random.default_rng(1)
    covered = sum(found.low <= 0.0 <= found.high for found in (statistics.interval(rng.normal(size=20)) for _ in range(200)))
    assert 0.86 <= covered / 200 <= 0.99, "the percentile bootstrap of twenty is a little narrow"


def test_the_interquartile_mean_is_that_of_the_middle_half():
    assert statistics.iqm([0.0, 1.0, 2.0, 100.0]) == 1.5
    assert statistics.iqm([5.0, 1.0, 2.0, 3.0, 4.0, 6.0, 7.0, 100.0]) == np.mean([3.0, 4.0, 5.0, 6.0])


def test_paired_differences_are_of_runs_that_share_a_seed():
    found = statistics.paired({1: 2.0, 2: 5.0, 3: 7.0}, {2: 4.0, 3: 5.0, 4: 100.0})
    assert (found.value, found.n) == (1.5, 2)


@given(SCORES, SCORES)
def test_the_probability_of_improvement_is_mann_whitneys_u(one, other):
    from scipy.stats import mannwhitneyu

    wanted = mannwhitneyu(one, other, method="asymptotic").statistic / (len(one) * len(other)) if len({*one, *other}) > 1 else 0.5
    assert statistics.improvement(one, other).value == pytest.approx(wanted)
    assert statistics.improvement(one, other).value + statistics.improvement(other, one).value == pytest.approx(1.0)


def test_a_performance_profile_is_the_share_of_runs_above_each_score():
    assert statistics.profile([1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 3.5, 4.0]).tolist() == [1.0, 0.5, 0.25, 0.0]


def test_samples_to_a_threshold_are_those_until_a_curve_first_reaches_it():
    curve = [(10, 0.1), (20, 0.6), (30, 0.4), (40, 0.9)]
    assert statistics.to_threshold(curve, 0.5) == 20.0
    assert statistics.to_threshold(curve, 0.95) == math.inf


def test_a_ratio_is_of_sums_of_pairs_and_unbounded_where_the_second_may_be_nothing():
    even = statistics.ratio([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert even == (0.5, 0.5, 0.5, 3)
    assert statistics.ratio([1.0, np.nan, 2.0], [1.0, 1.0, 3.0])[::3] == (0.75, 2)
    assert statistics.ratio([1.0], [4.0])[::3] == (0.25, 1)
    assert np.isnan(statistics.ratio([1.0], [4.0]).low)
    for nothing in (([], []), ([1.0, 1.0], [1.0, -1.0])):
        assert statistics.ratio(*nothing).n == 0
    wild = statistics.ratio([1.0, 1.0, 1.0], [3.0, -1.0, -1.0])
    assert (wild.value, wild.low, wild.high) == (3.0, -np.inf, np.inf)
    random = np.random.default_rng(1)
    wholes = random.uniform(1.0, 2.0, 40)
    parts = 0.7 * wholes + random.normal(0.0, 0.2, 40)
    found = statistics.ratio(parts, wholes)
    error = np.std(parts - found.value * wholes, ddof=1) / wholes.mean() / 40**0.5  # of a ratio of means, by linearisation
    assert (found.low, found.high) == (pytest.approx(found.value - 1.96 * error, abs=0.5 * error), pytest.approx(found.value + 1.96 * error, abs=0.5 * error))
