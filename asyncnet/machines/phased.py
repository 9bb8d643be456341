"""The machine of units that settle in synchronous phases: waves of messages, which need neither a clock nor a barrier.

The output tells its inputs its error; each hidden node that has heard from all above passes its own on, as it was, and takes a step; from below, new values go
up again and refresh every mean. The output begins the next round when they have come, and says its action after the last. As published, the first round waits
for the credit of the decision before (`awaits`). Every node acts after each message: what the messages heard so far allow, which may be nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncnet.kernels.kernel import kernel
from asyncnet.kernels.layout import STAMP, Field
from asyncnet.loop.message import ACTIVITY, FEEDBACK, TICK
from asyncnet.machines import archive, hearing
from asyncnet.machines.archive import clear, finish, sample, take_credit
from asyncnet.machines.hearing import hear_activity, hear_reward, ready_credit, ready_sample
from asyncnet.machines.settling import takes_in_anyway
from asyncnet.machines.speaking import emit_activity, emit_drive, feedback_room
from asyncnet.nodes.entries import bound
from asyncnet.nodes.outbox import AGAIN

if TYPE_CHECKING:
    from asyncnet.scenario.schema import Scenario
    from asyncnet.team.network import Site

COUNT_NAMES = hearing.COUNT_NAMES
PARTS = {"rule": ("asyncnet.rules.settling_in_phases", "asyncnet.rules.settling")}
FIELDS = (
    *archive.FIRST,
    Field("round", "1", "-1.."),  # rounds done for the held stamp; -1: never yet
    Field("came", "1", "0.."),  # messages of this round: activity from below
    Field("driven", "1", "0.."),  # and feedback from above
    Field("stepped", "1", "0..1"),  # 1 between the step of a round and its refreshed means
    Field("learned", "1", STAMP),  # the newest stamp whose credit has come
    *archive.REST,
)
SETTINGS = (
    *archive.SETTINGS,
    ("rounds", int),  # steps for each observation
    ("below", int),  # sources that are learning nodes
    ("awaits", int),  # the output begins the first round when the credit for the decision before has come
    ("foretells", int),  # the output says its value at once, not when all is settled
    ("gated", int),  # a last wave of feedback tells the gate
)


def values(site: Site) -> dict[str, float]:
    """What it reads beside what every learning node does."""
    return {
        "below": sum(site.plan.layer_of(src).learns for src in site.plan.senders(site.node.index, "inputs")),
        "awaits": int(site.scenario.critic is not None),
        "foretells": int(site.layer.team == "critic"),
        "gated": int(site.learner.gate != "none"),
    }


def check(scenario: Scenario, table: str) -> tuple[str, str] | None:
    """What it asks of a scenario: (key, why) of the first thing that does not fit."""
    name, apart = getattr(scenario, table).name, "map-propagation-async"
    if any(clock.kind != "on-arrival" for clock in scenario.clocks.values()):
        return "clocks.default", f"{name} runs in synchronous phases, on on-arrival clocks; {apart} has clocks of its own"
    if not scenario.task.world.waits:
        return "task.world.waits", f"{name} runs in synchronous phases; the world has to wait for them"
    for channel in ("activity", "feedback", *(("reward", "transition") if scenario.critic else ())):
        for condition in scenario.links.of(channel):
            if condition.loss or condition.stale or (condition.delay and condition.delay.kind != "constant"):
                return f"links.{channel}", f"synchronous phases need every message, in its order; {apart} does without"
    if scenario.faults:
        return "faults.0", f"synchronous phases need every message, in its order; {apart} does without"
    return takes_in_anyway(scenario, name)


@bound
def begin(v, c):
    """Fill a fresh state: nothing heard, nothing sampled, initial weights from keyed draws."""
    clear(v)
    v.round[0] = v.learned[0] = -1.0
    c.rule.initialise(v, c)


@kernel
def send_feedback(v, c, feedback, out, numbers):
    """Tell the inputs what drives them, if any of them listens."""
    if c.F > 0:
        c.rule.backproject(v, c, feedback)
        emit_drive(v, c, int(v.stamp[0]), out, numbers)


@kernel
def phase(v, c, now, feedback, out, numbers):
    """What the messages heard so far allow a node to do, in synchronous phases (above); it may be nothing."""
    if ready_sample(v, c, False) and (v.stamp[0] < 0.0 or v.round[0] == c.rounds + c.gated):
        sample(v, c, now, int(v.newest[0]), False)
        v.round[0], v.came[0], v.driven[0], v.stepped[0] = 0.0, 0.0, 0.0, 0.0
        speaks = c.E > 0 or c.foretells == 1
    else:
        speaks = False
    if v.stamp[0] < 0.0:
        return
    stamp = int(v.stamp[0])
    slot = stamp % c.K
    if c.E > 0 and v.driven[0] == c.E:  # a wave of feedback has come down: pass it on with the error as it was, then move
        v.driven[0] = 0.0
        send_feedback(v, c, feedback, out, numbers)
        if v.round[0] < c.rounds:
            c.rule.approach(v, c, stamp)
            v.stepped[0] = 1.0
        else:  # it was the last, which brought the gate
            c.rule.archive_sample(v, c, slot)
            v.round[0] += 1.0
    if v.stepped[0] == 1.0 and v.came[0] == c.below:  # a wave of activity has come up
        v.came[0], v.stepped[0] = 0.0, 0.0
        v.round[0] += 1.0
        c.rule.refresh(v, c, slot, stamp)
        if v.round[0] == c.rounds and (c.E == 0 or c.gated == 0):
            c.rule.archive_sample(v, c, slot)
        if c.E > 0:
            speaks = True
        elif v.round[0] == c.rounds:
            speaks = c.foretells == 0
            if c.gated == 1:
                send_feedback(v, c, feedback, out, numbers)
                v.round[0] += 1.0
    if c.E == 0 and v.stepped[0] == 0.0 and v.round[0] < c.rounds and (c.awaits == 0 or v.learned[0] >= stamp - 1):
        send_feedback(v, c, feedback, out, numbers)
        c.rule.redraw(v, c, stamp, int(v.round[0]))
        v.stepped[0] = 1.0
    if speaks:
        emit_activity(v, c, out, numbers)


@bound
def handle(v, c, now, kind, port, seq, stamp, payload, out, numbers):
    """Take in one event; returns AGAIN if it wants to be called again."""
    if kind == ACTIVITY:
        hear_activity(v, c, port, seq, stamp, payload)
        if stamp == v.stamp[0]:
            v.came[0] += 1.0
    elif kind == FEEDBACK:
        c.rule.receive_feedback(v, c, port, seq, stamp, payload)
        v.driven[0] += 1.0
    elif kind != TICK:  # the host calls again
        hear_reward(v, c, port, stamp, payload)
    finish(v, c, now)
    feedback = feedback_room(c, out, numbers)
    pending = ready_credit(v, c)
    if pending >= 0:
        v.learned[0] = v.pending_stamp[pending]
        take_credit(v, c, now, pending, False, feedback)
        if ready_credit(v, c) >= 0:
            return AGAIN
    phase(v, c, now, feedback, out, numbers)
    return 0
