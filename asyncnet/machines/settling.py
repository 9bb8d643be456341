"""The machine of units that settle on clocks of their own: driven by feedback between two observations, with the reward as their credit.

    turn, at each tick    1. learn from one complete credit                   rule: learn
                          2. act on a new observation, as soon as it is       rule: respond
                             known; else take a step                          rule: relax
                          3. add to a trace over ticks                        rule: gather
                          4. say the values, tell the inputs what drives them rule: pull

An observation is taken up when every source carries it, or after `patience` ticks, or from sources that are more than `lag` stamps behind.
"""

from asyncnet.family import bound
from asyncnet.family import unbound as cut
from asyncnet.kernel import kernel
from asyncnet.layout import Field
from asyncnet.machines import archive
from asyncnet.machines.archive import MORE, TELL, age, clear, finish, sample, say, take_credit
from asyncnet.machines.hearing import hear_activity, hear_credit, ready_credit, ready_sample
from asyncnet.message import ACTIVITY, FEEDBACK, TICK

PARTS = {"rule": ("asyncnet.rules.settling_on_clocks", "asyncnet.rules.settling")}
FIELDS = (
    *archive.FIRST,
    Field("gate", "B"),  # what feedback begins with (rules/settling.py): sent from here, one place behind its stamp
    Field("round", "1", "-1.."),  # how often the output has drawn again for the held stamp; -1: never yet
    *archive.REST,
)
SETTINGS = (*archive.SETTINGS, ("gathers", int))  # a trace is added to at every tick, whatever the stamp


@bound
def begin(state, config):
    """Fill a fresh state: nothing heard, nothing sampled, initial weights from keyed draws."""
    v, c = cut(state, config)
    clear(v)
    v.round[0] = -1.0
    c.rule.initialise(v, c)


@kernel
def turn(v, c, now, ticked, said, told):
    finish(v, c, now)
    if ticked == 1:
        age(v, c)
    flags, gathers = 0, c.gathers > 0
    due = ready_credit(v, c)
    if due >= 0:
        flags = take_credit(v, c, now, due, gathers, told)
        if ready_credit(v, c) >= 0:
            return flags | MORE
    speaks = ticked > 0 and v.stamp[0] >= 0.0
    if ready_sample(v, c, False):
        sample(v, c, now, int(v.newest[0]), gathers)
        speaks = True
    elif speaks:
        c.rule.relax(v, c, int(v.stamp[0]) % c.K, int(v.stamp[0]))
    if not speaks:
        return flags
    if gathers:
        c.rule.gather(v, c, int(v.stamp[0]) % c.K, now)
    v.told_stamp[0] = v.stamp[0]
    if c.rule.pull(v, c, told):
        flags |= TELL
    return flags | say(v, c, said)


@bound
def handle(state, config, now, kind, port, seq, stamp, payload, said, told):
    """Take in one event; returns what to send (SAY | TELL | MORE)."""
    v, c = cut(state, config)
    if kind == TICK:
        return turn(v, c, now, port, said, told)
    if kind == ACTIVITY:
        hear_activity(v, c, port, seq, stamp, payload)
    elif kind == FEEDBACK:
        c.rule.feel(v, c, port, seq, stamp, payload)
    else:
        hear_credit(v, c, port, stamp, payload)
    return 0
