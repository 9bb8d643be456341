"""When a node acts. A clock is a row of numbers; its arithmetic is a kernel, so that every loop and machine gets the same ticks.

    on-arrival   after each message; never by itself
    periodic     now + period * (1 + jitter * U(-1, 1)), its period off by a factor 1 + drift * U(-1, 1) drawn once for the node
    poisson      now + Exponential(period)
    straggler    periodic, `slow` times slower while start <= now < stop

The first tick comes after `phase` periods; a negative phase is drawn for the node from U(0, 1). Times are whole microseconds.
"""

import math

import numpy as np

from asyncnet.kernels.arithmetic import log
from asyncnet.kernels.chance import DRIFT, PHASE, TICK, uniform
from asyncnet.kernels.kernel import entry, kernel

ON_ARRIVAL, PERIODIC, POISSON, STRAGGLER = range(4)
KINDS = {"on-arrival": ON_ARRIVAL, "periodic": PERIODIC, "poisson": POISSON, "straggler": STRAGGLER}
NEVER = np.int64(2**62)


def row(kind: str, period: float, jitter: float, drift: float, phase: float, slow: float, start: float, stop: float) -> np.ndarray:
    """A clock as the kernel reads it; period, start and stop in microseconds."""
    return np.array([KINDS[kind], period, jitter, drift, phase, slow, start, min(stop, 2.0**62)], dtype=np.float64)


@kernel
def pace(clock, seed, who):
    """The node's own mean period in microseconds: its declared one, off by its drift."""
    return clock[1] * (1.0 + clock[3] * (2.0 * uniform(seed, DRIFT, who, 0, 0) - 1.0))


@entry
def first_tick(clock, seed, who):
    """Time of tick 0 of node `who`, NEVER for an on-arrival clock."""
    if clock[0] == ON_ARRIVAL:
        return NEVER
    phase = clock[4] if clock[4] >= 0.0 else uniform(seed, PHASE, who, 0, 0)
    return np.int64(np.round(phase * pace(clock, seed, who)))


@entry
def next_tick(clock, seed, who, k, now):
    """Time of tick k >= 1 of node `who`, whose tick k - 1 was at `now`; always later than now."""
    period = pace(clock, seed, who)
    if clock[0] == STRAGGLER and clock[6] <= now < clock[7]:
        period *= clock[5]
    step = period
    if clock[0] == POISSON:
        step = -period * log(1.0 - uniform(seed, TICK, who, 0, k))
    elif clock[2] > 0.0:
        step = period * (1.0 + clock[2] * (2.0 * uniform(seed, TICK, who, 0, k) - 1.0))
    return now + max(np.int64(1), np.int64(np.round(step)))


def mean_period(clock: np.ndarray) -> float:
    """The declared mean period in microseconds, infinite for an on-arrival clock."""
    return math.inf if clock[0] == ON_ARRIVAL else float(clock[1])


def longest(clock: np.ndarray) -> int:
    """Microseconds that a tick may at most be away, the first one included."""
    _, period, jitter, drift, phase, slow, _, _ = clock.tolist()
    times = max(1.0, phase, slow) * (1.0 + jitter) * (40.0 if clock[0] == POISSON else 1.0)  # an exponential number with mean 1 is at most 53 ln 2
    return round(period * (1.0 + drift) * times) + 2
