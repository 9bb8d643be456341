"""What is said of several runs: never a bare mean.

    interval              of a statistic over seeds: bootstrap, percentile, 95%, keyed, so that a table repeats
    iqm                   interquartile mean: the mean of the middle half (scipy's trimmed mean; rliable's definition)
    paired                mean of the differences of runs that share a seed, with its interval
    ratio                 of two sums over seeds, with its interval: no seed of which the second is small, or none, decides it
    improvement           P(X > Y) + P(X = Y) / 2 over all pairs of runs (Mann-Whitney's U / nm; rliable's probability of improvement)
    profile               share of runs with a score above tau, for each tau (rliable's performance profile)
    to_threshold          decisions, or episodes, until the running mean first reaches a score, and stays there; infinite for a run that never does

Sources: Agarwal et al. 2021 (Deep RL at the edge of the statistical precipice); Efron 1979.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95


class Interval(NamedTuple):
    """A statistic of `n` runs and where it lies with confidence LEVEL; low and high are NaN where one run says nothing about that."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]" if self.n > 1 else f"{self.value:.4g} [one run]"


def interval(values: Sequence[float], statistic: Callable[..., Any] = np.mean) -> Interval:
    """A statistic, taking `axis`, of the runs that have a number, with its bootstrap interval."""
    from scipy.stats import bootstrap

    known = np.array([value for value in values if value is not None and np.isfinite(value)], dtype=float)
    if not known.size:
        return Interval(np.nan, np.nan, np.nan, 0)
    point = float(statistic(known, axis=0))
    point = 0.0 if abs(point) < 1e-12 * np.abs(known).max() else point  # what rounding leaves of nothing
    if known.size == 1 or (known == known[0]).all():
        return Interval(point, *((np.nan, np.nan) if known.size == 1 else (point, point)), known.size)
    found = bootstrap((known,), statistic, n_resamples=RESAMPLES, confidence_level=LEVEL, method="percentile", rng=np.random.default_rng(0))
    return Interval(point, float(found.confidence_interval.low), float(found.confidence_interval.high), known.size)


def iqm(values: Any, axis: int = -1) -> Any:
    """The interquartile mean along an axis."""
    from scipy.stats import trim_mean

    return trim_mean(values, 0.25, axis=axis)


def paired(one: Mapping[int, float], other: Mapping[int, float]) -> Interval:
    """The mean of one - other over the seeds that both have."""
    seeds = sorted(one.keys() & other.keys())
    return interval([one[seed] - other[seed] for seed in seeds])


def ratio(parts: Sequence[float], wholes: Sequence[float]) -> Interval:
    """The sum of the parts over that of the wholes, pairs drawn together; of no pairs where that is no more than zero.

    A draw in which the wholes come to no more than zero could be anything, and makes the interval wider at both ends.
    """
    both = np.array([pair for pair in zip(parts, wholes, strict=True) if np.isfinite(pair).all()], dtype=float).reshape(-1, 2)
    part, whole = both.sum(axis=0)
    if not whole > 0.0:
        return Interval(np.nan, np.nan, np.nan, 0)
    if len(both) == 1:
        return Interval(float(part / whole), np.nan, np.nan, 1)
    sums = both[np.random.default_rng(0).integers(len(both), size=(RESAMPLES, len(both)))].sum(axis=1)
    known = sums[:, 1] > 0.0
    shares = np.divide(sums[:, 0], sums[:, 1], out=np.zeros(RESAMPLES), where=known)
    low = np.quantile(np.where(known, shares, -np.inf), (1.0 - LEVEL) / 2.0, method="lower")
    high = np.quantile(np.where(known, shares, np.inf), (1.0 + LEVEL) / 2.0, method="higher")
    return Interval(float(part / whole), float(low), float(high), len(both))


def improvement(one: Sequence[float], other: Sequence[float]) -> Interval:
    """The probability that a run of the one is better than a run of the other, with its interval."""
    from scipy.stats import bootstrap

    x, y = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    if not (x.size and y.size):
        return Interval(np.nan, np.nan, np.nan, 0)

    def share(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        """U / nm: over all pairs, 1 where the first is larger, 1/2 where they are equal."""
        difference = np.expand_dims(a, -1) - np.expand_dims(b, -2)
        return ((difference > 0.0) + 0.5 * (difference == 0.0)).mean(axis=(-2, -1))

    point = float(share(x, y))
    if min(x.size, y.size) == 1:
        return Interval(point, np.nan, np.nan, min(x.size, y.size))
    found = bootstrap((x, y), share, n_resamples=RESAMPLES, confidence_level=LEVEL, method="percentile", vectorized=True, rng=np.random.default_rng(0))
    return Interval(point, float(found.confidence_interval.low), float(found.confidence_interval.high), min(x.size, y.size))


def profile(values: Sequence[float], taus: Sequence[float]) -> np.ndarray:
    """The share of runs with a score above each tau."""
    return (np.asarray(values, dtype=float)[:, None] > np.asarray(taus, dtype=float)).mean(axis=0)


def to_threshold(curve: Sequence[tuple[float, float]], threshold: float, stay: int = 1) -> float:
    """Where a curve of (decisions or episodes, score) first reaches the threshold, and is not below it for `stay` points (or to its end)."""
    above = [score >= threshold for _, score in curve]
    return next((float(at) for number, (at, _) in enumerate(curve) if all(above[number : number + stay])), float("inf"))
