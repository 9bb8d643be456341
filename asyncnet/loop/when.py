"""When a fault is on: always, in a stretch of time or of decisions, again and again, or at random.

    a stretch      from `start` until `stop`, in microseconds
    again          there, for the first `lasting` of every `every` microseconds
    at random      there, for `lasting` after each event of a Poisson process whose events are `every` apart on average
    decisions      for what belongs to decisions `first` to before `last`, whenever that is

Nothing is kept from one question to the next, so the answer is the same wherever, whenever and in which order it is asked. The Poisson process too is a
function of time: it is cut into slots as long as `every`, each has Poisson(1) events, and each event its own uniform place in its slot, all by keyed draws;
that is such a process exactly, but that no slot has more than MOST events (one in 10^10 would).
"""

import numpy as np

from asyncnet.kernels.arithmetic import exp
from asyncnet.kernels.chance import BEGINS, uniform
from asyncnet.kernels.kernel import entry, kernel

START, STOP, EVERY, LASTING, RANDOM, FIRST, LAST = range(7)
COLUMNS = 7
ALWAYS = (0.0, 2.0**62, 0.0, 0.0, 0.0, 0.0, 2.0**62)
MOST = 12  # events in a slot


@kernel
def covered(when, seed, fault, now):
    """The time until which the latest event of the process, of those up to `now`, lasts; no later than `now` if none lasts that long."""
    start, every, lasting = np.int64(when[START]), np.int64(when[EVERY]), np.int64(when[LASTING])
    slot = (now - start) // every
    until = np.int64(0)
    for k in range(max(0, slot - lasting // every - 1), slot + 1):
        u, share, n = uniform(seed, BEGINS, fault, 0, k), exp(-1.0), 0
        total = share
        while u >= total and n < MOST:
            n += 1
            share /= n
            total += share
        for i in range(1, n + 1):
            begin = start + k * every + np.int64(every * uniform(seed, BEGINS, fault, i, k))
            if begin <= now:
                until = max(until, begin + lasting)
    return until


@entry
def on(when, seed, fault, now, stamp):
    """Whether a fault is on at the time `now` for what belongs to decision `stamp`; `when` (7,)."""
    if not (when[START] <= now < when[STOP] and when[FIRST] <= stamp < when[LAST]):
        return False
    if when[EVERY] == 0.0:
        return True
    if when[RANDOM] == 0.0:
        return (now - np.int64(when[START])) % np.int64(when[EVERY]) < np.int64(when[LASTING])
    return covered(when, seed, fault, now) > now


@entry
def over(when, seed, fault, now, stamp):
    """When a fault that is on at `now` will be off again."""
    stop = np.int64(when[STOP])
    if when[EVERY] == 0.0:
        return stop
    start, every, lasting = np.int64(when[START]), np.int64(when[EVERY]), np.int64(when[LASTING])
    if when[RANDOM] == 0.0:
        return stop if lasting >= every else min(stop, now - (now - start) % every + lasting)
    at = now
    while at < stop and on(when, seed, fault, at, stamp):
        at = covered(when, seed, fault, at)
    return min(at, stop)
