"""The machine of units that act once on an observation and hold their sample.

It hears messages and takes turns: at each tick of its clock or, on an on-arrival clock, after each message.

    turn    1. learn from one complete credit          rule: learn      -> feedback to the inputs
            2. sample for the newest ready stamp       rule: respond    -> activity
            3. say the current activity again, so that loss of a message only delays (`repeats`; where it can change nothing it is not said)

READY, when it samples for stamp s:
    revise  at the first turn that knows of s; when more inputs of s come, again with the *same* draws, and overwrite the archive
    all     when every source carries s, but never waiting longer than `timeout` own ticks since the first input of something newer, nor
            for a source more than `lag` stamps behind (so a team outlives a dead unit)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncnet.kernels.kernel import kernel
from asyncnet.loop.message import ACTIVITY, REWARD, TICK
from asyncnet.machines import archive, hearing
from asyncnet.machines.archive import begin_turn, clear, sample, take_credit
from asyncnet.machines.hearing import hear_activity, hear_feedback, hear_reward, ready_credit, ready_sample
from asyncnet.machines.speaking import emit_activity, emit_feedback, feedback_room
from asyncnet.nodes.entries import bound
from asyncnet.nodes.outbox import AGAIN
from asyncnet.team import lateness

if TYPE_CHECKING:
    from asyncnet.team.network import Site

COUNT_NAMES = hearing.COUNT_NAMES
PARTS = {"rule": ("asyncnet.rules.coagent",)}  # where a part's kernels are that it does not bring
FIELDS = (*archive.FIRST, *archive.REST)
SETTINGS = (
    *archive.SETTINGS,
    ("revise", int),
    ("repeats", int),
)


def values(site: Site) -> dict[str, float]:
    """What it reads beside what every learning node does."""
    ready, free = site.scenario.network.ready, lateness.longest_tick(lateness.clock_of(site.scenario, site.node.name)[1]) > 0.0
    return {"revise": int(ready == "revise" or (ready == "auto" and free)), "repeats": int(site.scenario.repeats())}


@bound
def begin(v, c):
    """Fill a fresh state: nothing heard, nothing sampled, initial weights from keyed draws."""
    clear(v)
    c.rule.initialise(v, c)


@kernel
def turn(v, c, now, ticked, out, numbers):
    pending = begin_turn(v, c, now, ticked)
    if pending >= 0:
        stamp = take_credit(v, c, now, pending, False, feedback_room(c, out, numbers))
        if stamp >= 0:
            emit_feedback(v, c, stamp, out, numbers)
        if ready_credit(v, c) >= 0:
            return AGAIN
    speaks = ticked > 0 and c.repeats == 1 and v.stamp[0] >= 0.0
    if ready_sample(v, c, c.revise == 1):
        sample(v, c, now, int(v.newest[0]), False)
        speaks = True
    elif c.revise == 1 and v.fresh[0] == 1.0:
        sample(v, c, now, int(v.stamp[0]), False)
        speaks = True
    elif c.on_arrival == 1 and v.repeats[0] >= c.S and v.stamp[0] >= 0.0:
        speaks = True
    if speaks:
        emit_activity(v, c, out, numbers)
    return 0


@bound
def handle(v, c, now, kind, port, seq, stamp, payload, out, numbers):
    """Take in one event; returns AGAIN if it wants to be called again.

    A message is heard; on an on-arrival clock the turn it calls for follows. At a TICK `port` says why there is a turn: 1 by the clock, 2 as the
    host calls AGAIN after that, 0 as it calls again after a message.
    """
    ticked = 0
    if kind == TICK:
        ticked = port
    elif kind == ACTIVITY:
        hear_activity(v, c, port, seq, stamp, payload)
    elif kind == REWARD:
        hear_reward(v, c, port, stamp, payload)
    else:
        hear_feedback(v, c, port, stamp, payload)
    if kind == TICK or c.on_arrival == 1:
        return turn(v, c, now, ticked, out, numbers)
    return 0
