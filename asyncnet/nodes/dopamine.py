"""The dopamine node: turns transitions and values into the TD error that every learning node hears.

    delta_k = valid_k * (R_k + gamma * bootstrap_k * v_(k+1) - v_k)        (B,)

v_k is the critic's value of observation k, R_k what decision k earned, bootstrap_k = 0 after a terminal state, valid_k = 0 for the decision that only
resets an ended episode (and, as published, for a time limit). It goes out as soon as all of its parts have come, oldest decision first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncnet.kernels.kernel import kernel
from asyncnet.kernels.layout import STAMP, Field
from asyncnet.loop.message import ACTIVITY, REWARD, TICK
from asyncnet.nodes.entries import bound
from asyncnet.nodes.outbox import AGAIN, ALL, emit, reserve
from asyncnet.team.ports import ERRORS, REWARDS, In, Kind

if TYPE_CHECKING:
    from asyncnet.team.network import Site

KIND = Kind(
    "asyncnet.nodes.dopamine", hears=(In("values", "activity", "below"), In("transitions", "transition", "world")), says=(ERRORS, REWARDS._replace(apart=True))
)

MISSED = 0
COUNT_NAMES = ("missed",)

FIELDS = (
    Field("value_stamp", "K", STAMP),
    Field("value_seq", "K", "0.."),
    Field("value", "K B"),
    Field("transition_stamp", "K", STAMP),
    Field("transition", "K N", "-1.. any"),  # N = 1 + 3 B: stamp of the action used, R, bootstrap, valid
    Field("open", "1", "0..K"),  # transitions whose TD error has not gone out
    Field("pending", "K", "0..1"),
    Field("counts", "1", "0.."),
)
SETTINGS = (
    ("gamma", float),
    ("on_arrival", int),
    ("critics", int),  # how many of the nodes that hear it are the critic's: the first ones
    ("hearers", int),
)


def dimensions(site: Site) -> dict[str, int]:
    """What its layout has beside streams: values and transitions that it keeps, numbers in a transition."""
    return {"K": site.plan.archives["dopamine"], "N": 1 + 3 * site.scenario.task.streams}


@bound
def begin(v, c):
    """Fill a fresh state: nothing heard."""
    v.value_stamp[:] = -1.0
    v.transition_stamp[:] = -1.0


@kernel
def turn(v, c, out, numbers):
    """Say the oldest TD error that can be computed; returns AGAIN if there are more."""
    if v.open[0] == 0.0:
        return 0
    best = -1
    count = 0
    for slot in range(c.K):
        k = v.transition_stamp[slot]
        following = int(k + 1) % c.K
        if v.pending[slot] == 1.0 and v.value_stamp[slot] == k and v.value_stamp[following] == k + 1:
            count += 1
            if best < 0 or k < v.transition_stamp[best]:
                best = slot
    if best < 0:
        return 0
    following = int(v.transition_stamp[best] + 1) % c.K
    at = reserve(out, c.B)
    for b in range(c.B):
        reward, bootstrap, valid = v.transition[best, 1 + b], v.transition[best, 1 + c.B + b], v.transition[best, 1 + 2 * c.B + b]
        numbers[at + b] = valid * (reward + c.gamma * bootstrap * v.value[following, b] - v.value[best, b])
    v.pending[best] = 0.0
    v.open[0] -= 1.0
    stamp, credited = int(v.transition_stamp[best]), int(v.transition[best, 0])
    if credited == stamp:
        emit(out, REWARD, ALL, stamp, at, c.B)
    else:  # the critic learns from every decision, the others from that whose action was used, if any
        for link in range(c.critics if credited < 0 else c.hearers):
            emit(out, REWARD, link, stamp if link < c.critics else credited, at, c.B)
    return AGAIN if count > 1 else 0


@bound
def handle(v, c, now, kind, port, seq, stamp, payload, out, numbers):
    """Take in one event: a value, a transition, or a TICK; on an on-arrival clock each message calls for a turn."""
    slot = stamp % c.K
    if kind == TICK:
        return turn(v, c, out, numbers)
    if kind == ACTIVITY:
        if stamp > v.value_stamp[slot] or (stamp == v.value_stamp[slot] and seq > v.value_seq[slot]):
            v.value_stamp[slot] = stamp
            v.value_seq[slot] = seq
            for b in range(c.B):
                v.value[slot, b] = payload[c.B + b]
    elif stamp > v.transition_stamp[slot]:
        if v.pending[slot] == 1.0:
            v.counts[MISSED] += 1.0
            v.open[0] -= 1.0
        v.transition_stamp[slot] = stamp
        v.pending[slot] = 1.0
        v.open[0] += 1.0
        for n in range(c.N):
            v.transition[slot, n] = payload[n]
    if c.on_arrival == 1:
        return turn(v, c, out, numbers)
    return 0
