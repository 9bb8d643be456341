"""When a fault is on: always, in a stretch of time or of decisions, again and again, or at random.

    a stretch      from `start` until `stop`, in microseconds
    again          there, for the first `lasting` of every `every` microseconds
    its own        the same, from a moment of the first `every` that is drawn for the node
    at random      there, for `lasting` after each event of a Poisson process whose events are `every` apart on average
    decisions      for what belongs to decisions `first` to before `last`, whenever that is

Nothing is kept from one question to the next, so the answer is the same wherever, whenever and in which order it is asked. The Poisson process too is a
function of time: it is cut into slots as long as `every`, each has Poisson(1) events, and each event its own uniform place in its slot, all by keyed draws;
that is such a process exactly, but that no slot has more than MOST events (one in 10^10 would). `who` is the node whose own times are asked for, 0 if all
have the same.
"""

import numpy as np

from asyncnet.kernels.arithmetic import exp
from asyncnet.kernels.chance import BEGINS, uniform
from asyncnet.kernels.kernel import entry, kernel

START, STOP, EVERY, LASTING, RANDOM, FIRST, LAST = range(7)
COLUMNS = 7
NEVER = 2**62
REGULAR, AT_RANDOM, ITS_OWN = range(3)  # what RANDOM says
ALWAYS = (0.0, float(NEVER), 0.0, 0.0, float(REGULAR), 0.0, float(NEVER))
MOST = 12  # events in a slot
EVENTS = 16  # numbers that a fault's draws have


@kernel
def events_of(seed, fault, who, slot):
    """How many events of the process are in a slot."""
    u, share, n = uniform(seed, BEGINS, who, fault * EVENTS, slot), exp(-1.0), 0
    total = share
    while u >= total and n < MOST:
        n += 1
        share /= n
        total += share
    return n


@kernel
def event(when, seed, fault, who, slot, i):
    """When the i-th of them is, in no order, from 1."""
    every = np.int64(when[EVERY])
    return np.int64(when[START]) + slot * every + np.int64(every * uniform(seed, BEGINS, who, fault * EVENTS + i, slot))


@kernel
def begin_of(when, seed, fault, who):
    """When it comes first, at the earliest."""
    start = np.int64(when[START])
    if when[RANDOM] == ITS_OWN:
        start += np.int64(when[EVERY] * uniform(seed, BEGINS, who, fault * EVENTS + MOST + 1, 0))
    return start


@kernel
def covered(when, seed, fault, who, now):
    """The time until which the latest event of the process, of those up to `now`, lasts; no later than `now` if none lasts that long."""
    start, every, lasting = np.int64(when[START]), np.int64(when[EVERY]), np.int64(when[LASTING])
    slot = (now - start) // every
    until = np.int64(0)
    for k in range(max(0, slot - lasting // every - 1), slot + 1):
        for i in range(1, events_of(seed, fault, who, k) + 1):
            begin = event(when, seed, fault, who, k, i)
            if begin <= now:
                until = max(until, begin + lasting)
    return until


@entry
def on(when, seed, fault, who, now, stamp):
    """Whether a fault is on at the time `now` for what belongs to decision `stamp`; `when` (7,)."""
    if not (when[START] <= now < when[STOP] and when[FIRST] <= stamp < when[LAST]):
        return False
    if when[EVERY] == 0.0:
        return True
    if when[RANDOM] != AT_RANDOM:
        past = now - begin_of(when, seed, fault, who)
        return past >= 0 and past % np.int64(when[EVERY]) < np.int64(when[LASTING])
    return covered(when, seed, fault, who, now) > now


@entry
def over(when, seed, fault, who, now, stamp):
    """When a fault that is on at `now` will be off again."""
    stop = np.int64(when[STOP])
    if when[EVERY] == 0.0:
        return stop
    start, every, lasting = begin_of(when, seed, fault, who), np.int64(when[EVERY]), np.int64(when[LASTING])
    if when[RANDOM] != AT_RANDOM:
        return stop if lasting >= every else min(stop, now - (now - start) % every + lasting)
    at = now
    while at < stop and on(when, seed, fault, who, at, stamp):
        at = covered(when, seed, fault, who, at)
    return min(at, stop)


@entry
def begins(when, seed, fault, who, since, now):
    """The first time after `since` and up to `now` at which a fault comes; NEVER if there is none."""
    start, last = begin_of(when, seed, fault, who), min(now, np.int64(when[STOP]) - 1)
    first = np.int64(NEVER)
    if when[EVERY] == 0.0:
        if since < start <= last:
            first = start
        return first
    every = np.int64(when[EVERY])
    slot = max(np.int64(0), (since - start) // every)
    if when[RANDOM] != AT_RANDOM:
        at = start + slot * every
        if at <= since:
            at += every
        return at if at <= last else first
    while first == NEVER and start + slot * every <= last:
        for i in range(1, events_of(seed, fault, who, slot) + 1):
            at = event(when, seed, fault, who, slot, i)
            if since < at <= last:
                first = min(first, at)
        slot += 1
    return first
