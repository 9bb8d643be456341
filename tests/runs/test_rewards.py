"""A run's rewards take a bounded memory, and what is said of them is what all of them would say."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncnet.runs import rewards as module
from asyncnet.runs.rewards import Rewards, sums_of


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(module, "MOST", 100)


def fed(every, last, parts):
    """Rewards that came in parts of these lengths."""
    made, part = Rewards(), itertools.cycle(parts)
    while len(made) < len(every):
        made.extend(every[len(made) : len(made) + next(part)])
        made.keep(last)
    return made


PARTS = st.lists(st.integers(1, 300), min_size=1, max_size=5)


@given(st.integers(0, 2**32), st.integers(1, 12_000), st.integers(1, 400), PARTS)
def test_bins_and_means_are_those_of_all_rewards(seed, size, last, parts):
    every = np.random.default_rng(seed).normal(size=size).tolist()
    made = fed(every, last, parts)
    assert len(made) == size
    assert len(made.latest) >= min(size, last)
    assert len(made.latest) <= 2 * last + max(parts)
    assert len(made.sums) == sums_of(made.summed) <= 100
    assert made.latest.tolist() == every[made.summed :]
    exact = np.cumsum([0.0, *every])
    at = 0
    for end, mean in made.binned(most=10):
        assert mean == pytest.approx((exact[end] - exact[at]) / (end - at), abs=1e-9)
        at = end
    assert at == size
    assert made.mean() == pytest.approx(float(sum(map(Fraction, every)) / size), abs=1e-9)


@given(
    st.integers(0, 2**32), st.integers(1, 12_000), st.lists(st.integers(1, 300), min_size=1, max_size=5), st.lists(st.integers(1, 300), min_size=1, max_size=5)
)
def test_in_what_parts_rewards_came_is_seen_by_nobody(seed, size, parts, others):
    every = np.random.default_rng(seed).normal(size=size).tolist()
    one, other = fed(every, 30, parts), fed(every, 30, others)
    one.extend(every)  # so that both have summed up some at least
    other.extend(every)
    one.keep(10)
    other.keep(10)
    assert one.summed == other.summed == 2 * size - 10 or size < 20
    assert one.sums.tobytes() == other.sums.tobytes()
    assert Rewards(one.latest, one.sums, one.summed).binned() == other.binned()


def test_a_mean_of_the_last_begins_with_the_sum_that_holds_the_first_of_them():
    made = Rewards(float(n) for n in range(100))
    assert made.mean(95) == np.mean(range(5, 100))
    made.extend(float(n) for n in range(100, 1000))
    made.keep(1)
    assert (made.summed, len(made.sums)) == (999, 100)
    assert made.mean(100) == np.mean(range(900, 1000))
    assert made.mean(95) == np.mean(range(900, 1000))
    assert Rewards().mean() is None


@given(st.integers(0, 2**32), st.integers(1, 3000), st.integers(1, 400), PARTS)
def test_what_is_said_is_the_same_however_many_are_known_by_sums_alone(seed, size, last, parts):
    every = np.random.default_rng(seed).normal(size=size).tolist()
    made, whole = fed(every, last, parts), Rewards(every)
    for many in (1, size // 20 + 1, size // 10 + 1, size):
        assert made.mean(many) == whole.mean(many)
    assert made.binned() == whole.binned()
