"""How long messages really took, and how late ticks really were, as histograms of constant size."""

import numpy as np

from asyncnet.kernels.kernel import inlined

PER_OCTAVE = 8  # bins for each doubling: a quantile is right within 9 %
BINS = 40 * PER_OCTAVE  # up to 2^40 nanoseconds, eighteen minutes


@inlined
def bin_of(nanoseconds):
    """The bin of a duration."""
    return min(BINS - 1, int(PER_OCTAVE * np.log2(max(1.0, float(nanoseconds)))))


class Gauge:
    """Durations in nanoseconds; `quantile` is the geometric middle of the bin that holds it, in microseconds as all that is shown."""

    def __init__(self, bins: np.ndarray | None = None, total: int = 0) -> None:
        self.bins, self.total = np.zeros(BINS, dtype=np.int64) if bins is None else bins, total

    def merge(self, bins: list[int], total: int) -> None:
        self.bins += np.array(bins, dtype=np.int64)
        self.total += total

    @property
    def count(self) -> int:
        return int(self.bins.sum())

    @property
    def mean(self) -> float | None:
        return self.total / 1e3 / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        if not self.count:
            return None
        return _middle(int(np.searchsorted(np.cumsum(self.bins), share * self.count)))

    @staticmethod
    def spread(bins: list[int]) -> list[tuple[float, int]]:
        """(microseconds, how many) of each bin that is not empty."""
        return [(float(f"{_middle(place):.3g}"), count) for place, count in enumerate(bins) if count]


def _middle(place: int) -> float:
    """The geometric middle of a bin, in microseconds."""
    return 2.0 ** ((place + 0.5) / PER_OCTAVE) / 1e3
