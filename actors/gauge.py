"""How long messages really took, as a histogram of constant size."""

from __future__ import annotations

import math

import numpy as np

PER_OCTAVE = 8  # bins for each doubling: a quantile is right within 9 %
BINS = 40 * PER_OCTAVE  # up to 2^40 microseconds


class Gauge:
    """Counts durations in microseconds; `quantile` is the geometric middle of the bin that holds it."""

    def __init__(self) -> None:
        self.bins = [0] * BINS  # a list: one count at a time, a tenth of an array's cost
        self.total = 0

    def add(self, duration: int, count: int = 1) -> None:
        self.bins[min(BINS - 1, int(PER_OCTAVE * math.log2(duration)) if duration > 1 else 0)] += count
        self.total += duration * count

    def merge(self, bins: list[int], total: int) -> None:
        self.bins = [mine + theirs for mine, theirs in zip(self.bins, bins, strict=True)]
        self.total += total

    @property
    def count(self) -> int:
        return sum(self.bins)

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        if not self.count:
            return None
        place = int(np.searchsorted(np.cumsum(self.bins), share * self.count))
        return _middle(place)

    @staticmethod
    def spread(bins: list[int]) -> list[tuple[float, int]]:
        """(microseconds, how many) of each bin that is not empty."""
        return [(round(_middle(place), 1), count) for place, count in enumerate(bins) if count]


def _middle(place: int) -> float:
    """The geometric middle of a bin."""
    return 2.0 ** ((place + 0.5) / PER_OCTAVE)
