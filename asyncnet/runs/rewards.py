"""The rewards of a run: the last ones each, those before in sums of so many, for a run may last for days and its memory may not grow."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import numpy as np

MOST = 10_000  # sums; a power of ten, so that bins of 1, 2 or 5 times a power of ten are made of whole ones


class Rewards:
    """Rewards in the order of decisions (mean over streams).

        sums[j] = r[j w] + ... + r[(j + 1) w - 1], added in this order; w the least power of ten with which MOST sums hold all that were summed up

    What is said of them does not depend on how many were summed up: for that all are.
    """

    def __init__(self, latest: Iterable[float] = (), sums: Iterable[float] = (), summed: int = 0) -> None:
        self._latest, self._sums = array("d", latest), array("d", sums)
        self.summed = summed  # how many are known by their sums alone
        self._width = _width(summed)

    def __len__(self) -> int:
        return self.summed + len(self._latest)

    @property
    def latest(self) -> np.ndarray:
        """Those that are known each."""
        return np.array(self._latest)

    @property
    def sums(self) -> np.ndarray:
        """Of those before."""
        return np.array(self._sums)

    def extend(self, rewards: Iterable[float]) -> None:
        """More of them."""
        self._latest.extend(rewards)

    def keep(self, last: int) -> None:
        """Keep so many of the last at least, and sum up the others now and then."""
        if len(self._latest) > 2 * last:
            self._sum_up(self.latest[:-last])
            del self._latest[:-last]

    def _sum_up(self, rewards: np.ndarray) -> None:
        while rewards.size:
            if self.summed == self._width * MOST:
                self._sums, self._width = array("d", _sums(self.sums, 10)), 10 * self._width
            part, rewards = np.split(rewards, [self._width * MOST - self.summed])
            begun, others = np.split(part, [-self.summed % self._width])
            if begun.size:
                self._sums[-1] = _sums(np.append(self._sums[-1], begun), begun.size + 1)[0]
            self._sums.extend(_sums(others, self._width))
            self.summed += part.size

    def binned(self, most: int = 1000) -> list[tuple[int, float]]:
        """Mean rewards of so many decisions each, (the last of them, mean): at most `most` bins, of 1, 2 or 5 times a power of ten; the last may be shorter."""
        size = len(self)
        wide = next(step * 10**power for power in range(13) for step in (1, 2, 5) if size <= most * step * 10**power)
        sums, width = self._all()
        ends = [min(first + wide, size) for first in range(0, size, wide)]
        each = wide // width
        return [(end, _mean(sums[n * each : (n + 1) * each], end - n * wide)) for n, end in enumerate(ends)]

    def mean(self, last: int | None = None) -> float | None:
        """The mean of the last so many, None: of all; those that share a sum with the first of them are counted too. None if there are none."""
        sums, width = self._all()
        first = 0 if last is None else (len(self) - last) // width
        return _mean(sums[first:], len(self) - first * width) if len(self) else None

    def _all(self) -> tuple[np.ndarray, int]:
        """Sums of all, and of how many each is: a function of the rewards alone."""
        whole = Rewards((), self._sums, self.summed)
        whole._sum_up(self.latest)
        return whole.sums, whole._width


def sums_of(summed: int) -> int:
    """How many sums so many rewards have."""
    return -(-summed // _width(summed))


def _width(summed: int) -> int:
    return next(10**power for power in range(16) if summed <= MOST * 10**power)


def _sums(values: np.ndarray, width: int) -> np.ndarray:
    """Of so many each, added one after the other; the last of what is left."""
    whole = values.size - values.size % width
    out = np.add.accumulate(values[:whole].reshape(-1, width), axis=1)[:, -1]
    return np.append(out, np.add.accumulate(values[whole:])[-1:])


def _mean(sums: np.ndarray, many: int) -> float:
    return float(sums.sum() / many)
