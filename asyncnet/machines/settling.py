"""The machine of units that settle on clocks of their own: driven by feedback between two observations, with the reward as their credit.

    turn, at each tick    1. learn from one complete credit                   rule: learn
                          2. act on a new observation, as soon as it is       rule: respond
                             known; else take a step                          rule: take_step
                          3. add to a trace over ticks                        rule: accumulate_trace
                          4. say the values, and what drives the inputs     rule: backproject

An observation is taken up when every source carries it, or after `timeout` ticks, or from sources that are more than `lag` stamps behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncnet.kernels.kernel import kernel
from asyncnet.kernels.layout import Field
from asyncnet.loop.message import ACTIVITY, FEEDBACK, TICK
from asyncnet.machines import archive, hearing
from asyncnet.machines.archive import begin_turn, clear, sample, take_credit
from asyncnet.machines.hearing import hear_activity, hear_reward, ready_credit, ready_sample
from asyncnet.machines.speaking import emit_activity, emit_drive, feedback_room
from asyncnet.nodes.entries import bound
from asyncnet.nodes.outbox import AGAIN

if TYPE_CHECKING:
    from asyncnet.scenario.schema import Scenario
    from asyncnet.team.network import Site

COUNT_NAMES = hearing.COUNT_NAMES
PARTS = {"rule": ("asyncnet.rules.settling_on_clocks", "asyncnet.rules.settling")}
FIELDS = (
    *archive.FIRST,
    Field("round", "1", "-1.."),  # how often the output has drawn again for the held stamp; -1: never yet
    *archive.REST,
)
SETTINGS = (*archive.SETTINGS, ("accumulates", int))  # a trace is added to at every tick, whatever the stamp


def values(site: Site) -> dict[str, float]:
    """What it reads beside what every learning node does, and its rule gives: nothing."""
    return {}


def check(scenario: Scenario, table: str) -> tuple[str, str] | None:
    """What it asks of a scenario: (key, why) of the first thing that does not fit."""
    name = getattr(scenario, table).name
    if "default" not in scenario.clocks or any(clock.kind == "on-arrival" for clock in scenario.clocks.values()):
        return "clocks.default", f"{name} settles a little at each tick, so every node needs a clock that ticks; on-arrival does not"
    return takes_in_anyway(scenario, name)


def takes_in_anyway(scenario: Scenario, name: str) -> tuple[str, str] | None:
    """Nodes that move between observations have no use for acting again on the same one."""
    if scenario.network.ready == "revise":
        return "network.ready", f"{name} takes in new values at its ticks anyway; all or auto"
    return None


@bound
def begin(v, c):
    """Fill a fresh state: nothing heard, nothing sampled, initial weights from keyed draws."""
    clear(v)
    v.round[0] = -1.0
    c.rule.initialise(v, c)


@kernel
def turn(v, c, now, ticked, out, numbers):
    accumulates = c.accumulates > 0
    feedback = feedback_room(c, out, numbers)
    pending = begin_turn(v, c, now, ticked)
    if pending >= 0:
        take_credit(v, c, now, pending, accumulates, feedback)
        if ready_credit(v, c) >= 0:
            return AGAIN
    speaks = ticked > 0 and v.stamp[0] >= 0.0
    if ready_sample(v, c, False):
        sample(v, c, now, int(v.newest[0]), accumulates)
        speaks = True
    elif speaks:
        c.rule.take_step(v, c, int(v.stamp[0]) % c.K, int(v.stamp[0]))
    if not speaks:
        return 0
    if accumulates:
        c.rule.accumulate_trace(v, c, int(v.stamp[0]) % c.K, now)
    if c.F > 0:
        c.rule.backproject(v, c, feedback)
        emit_drive(v, c, int(v.stamp[0]), out, numbers)
    emit_activity(v, c, out, numbers)
    return 0


@bound
def handle(v, c, now, kind, port, seq, stamp, payload, out, numbers):
    """Take in one event; returns AGAIN if it wants to be called again."""
    if kind == TICK:
        return turn(v, c, now, port, out, numbers)
    if kind == ACTIVITY:
        hear_activity(v, c, port, seq, stamp, payload)
    elif kind == FEEDBACK:
        c.rule.receive_feedback(v, c, port, seq, stamp, payload)
    else:
        hear_reward(v, c, port, stamp, payload)
    return 0
