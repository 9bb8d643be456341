"""The learning node: when it samples, when it learns, what it says. One machine for every rule.

The machine hears messages and takes turns: at each tick of its clock or, on an on-arrival clock, after each message.

    turn    1. learn from one complete credit          rule: learn      -> feedback to the inputs
            2. sample for the newest ready stamp       rule: respond    -> activity
            3. say the current activity again, so that loss of a message only delays (`repeats`; where it can change nothing it is not said)

READY, when it samples for stamp s (ASYNCHRONY section 8):
    revise  at the first turn that knows of s; when more pieces of s come, again with the *same* draws, and overwrite the archive
    all     when every source carries s, but never waiting longer than `patience` own ticks since the first piece of something newer, nor
            for a source more than `lag` stamps behind (so a team outlives a dead unit)
CREDIT, when it learns from stamp s: the pieces are summed in the order of the downstream units once all have come, or `patience` own ticks
    after the first; at most once for each stamp.
ELIGIBILITY of a sample: stamped credit keeps the last K samples and finds the one it belongs to, exact under any delay; with decay > 0 a trace
    is rolled over the archive up to that sample:  z_s = decay * z_(s-1) + e_s, z = 0 at a change of episode; e = 0 for a decision never sampled.
    Trace credit keeps one sample and one decaying trace that knows no stamps. In both, a sample joins the trace only after its own instant:
    credit that comes in the same instant belongs to what was done before it, as in the published order of operations.
UNITS THAT SETTLE (rules/settling.py) are driven by feedback between two observations. On a clock of their own they take a step at each tick (relax). In
    synchronous phases (`rounds`) they do so in waves of messages, which need neither a clock nor a barrier: the output tells its inputs its error; each
    hidden node that has heard from all above passes its own on, as it was, and takes a step; from below, new values go up again and refresh every mean.
    The output begins the next round when they have come, and says its action after the last. As published, the first round waits for the credit of the
    decision before (`awaits`).
"""

from asyncnet.arithmetic import total
from asyncnet.family import bound
from asyncnet.family import unbound as cut
from asyncnet.hearing import (
    EVICTED,
    HEARD_STAMP,
    INCOMPLETE,
    LEARNED,
    OVERTAKEN,
    REVISED,
    SAMPLED,
    hear_activity,
    hear_credit,
    ready_credit,
    ready_sample,
)
from asyncnet.kernel import kernel, view
from asyncnet.layout import STAMP, Field

PARTS = {"rule": ("asyncnet.rules.coagent", "asyncnet.rules.still")}  # where a part's kernels are that it does not bring

SAY, TELL, MORE = 1, 2, 4  # what a turn asks its host to do: send activity, send feedback, take another turn at once
_FEEDBACK, _ACTIVITY, _TICK = 3, 4, 5  # as in message.py

FIELDS = (  # single numbers first and side by side: most turns touch nothing else
    Field("newest", "1", STAMP),  # the newest stamp heard of
    Field("waiting", "1", "-1.."),  # own ticks since the first piece of something newer; -1: nothing newer
    Field("fresh", "1", "0..1"),  # a piece of the held stamp has come or changed since it was sampled
    Field("repeats", "1", "0.."),  # repeated pieces since the last word (on-arrival clocks pass a repetition on)
    Field("stamp", "1", STAMP),  # the stamp held
    Field("since", "1", "-1..now"),  # when it was sampled, microseconds
    Field("unsettled", "1", "0..1"),  # its eligibility is not reckoned yet
    Field("gathering", "1", "0..C"),  # credits not yet learned from
    Field("rolled", "1", STAMP),  # the stamp of the newest sample in the trace
    Field("told_stamp", "1", "-1.."),  # the stamp of the feedback just told
    Field("gate", "T B"),  # what feedback begins with (settling.py): sent from here, one place behind its stamp
    Field("round", "T", "-1.."),  # units that settle: rounds done for the held stamp, or how often it was drawn again; -1: never yet
    Field("came", "T", "0.."),  # messages of this round: activity from below
    Field("pulled", "T", "0.."),  # and feedback from above
    Field("stepped", "T", "0..1"),  # 1 between the step of a round and its refreshed means
    Field("learned", "T", STAMP),  # the newest stamp whose credit has come
    Field("unit0", "1", "fixed"),  # identity of the first unit
    Field("counts", "8", "0.."),
    Field("port", "S 5", f"fixed fixed fixed {STAMP} -1.."),
    Field("sender", "D 2", "fixed"),  # which pieces credit sender d brings: the first, how many
    Field("x", "B I"),  # the newest values of the inputs
    Field("newest_episode", "B"),
    Field("y", "B N"),  # the values held
    Field("episode", "B"),
    Field("ring_stamp", "K", STAMP),  # the archive of samples
    Field("ring_episode", "K B"),
    Field("ring_x", "K B I"),
    Field("z_episode", "B"),
    Field("carry", "B"),  # what the trace is multiplied with in the current update
    Field("credit", "B O"),  # the credit being learned from
    Field("due_stamp", "C", STAMP),
    Field("due_state", "C", "0..2"),  # 0 none, 1 gathering, 2 done with
    Field("due_age", "C", "0.."),  # own ticks since its first piece
    Field("due_heard", "C", "0..D"),
    Field("due_from", "C D", "0..1"),
    Field("due", "C B O J"),
)
SETTINGS = (
    ("seed", int),
    ("patience", int),
    ("lag", int),
    ("revise", int),
    ("on_arrival", int),
    ("repeats", int),
    ("drives", int),  # feedback drives this node between samples (feel, relax, pull); else it is credit
    ("stamped", int),
    ("decay", float),
    ("gathers", int),  # a trace is added to at every tick, whatever the stamp
    ("rounds", int),  # synchronous phases: steps for each observation; 0: at its own ticks
    ("decide", int),  # rounds (or ticks) after a new observation in which the output samples anew
    ("below", int),  # sources that are learning nodes
    ("awaits", int),  # the output begins the first round when the credit for the decision before has come
    ("foretells", int),  # the output says its value at once, not when all is settled
    ("gated", int),  # a last wave of feedback tells the gate
)


@bound
def begin(state, config):
    """Fill a fresh state: nothing heard, nothing sampled, initial weights from keyed draws."""
    v, c = cut(state, config)
    v.port[:, HEARD_STAMP:] = -1.0
    for array in (v.newest, v.waiting, v.stamp, v.since, v.ring_stamp, v.rolled, v.due_stamp, v.z_episode, v.round, v.learned):
        array[:] = -1.0
    c.rule.initialise(v, c)


@kernel
def take_credit(v, c, now, due, told):
    """Learn from credit slot `due`; returns TELL if the rule has feedback for the inputs."""
    v.due_state[due] = 2.0
    v.gathering[0] -= 1.0
    if v.due_heard[due] < c.D:
        v.counts[INCOMPLETE] += 1.0
    stamp = int(v.due_stamp[due])
    v.learned[:] = stamp
    if c.J == 1:
        size = c.B * c.O
        whole, piece = view(v.credit, 0, (size,)), view(v.due, due * size, (size,))
        for n in range(size):
            whole[n] = 0.0 + piece[n]  # the bits of a sum of one
    else:
        for b in range(c.B):
            for j in range(c.O):
                v.credit[b, j] = total(v.due[due, b, j])
    on = 1.0
    if c.stamped == 1:
        slot = stamp % c.K
        if v.ring_stamp[slot] != stamp:  # a newer sample has its place, or it was never sampled
            if v.ring_stamp[slot] > stamp:
                v.counts[EVICTED] += 1.0
            return 0
        if stamp == int(v.stamp[0]) and v.unsettled[0] == 1.0:
            c.rule.settle(v, c, slot)
            v.unsettled[0] = 0.0
        if c.Z > 0:
            if stamp <= v.rolled[0]:
                v.counts[OVERTAKEN] += 1.0
                return 0
            for s in range(max(int(v.rolled[0]) + 1, stamp - c.K + 1), stamp):
                if s >= 0 and v.ring_stamp[s % c.K] == s:
                    roll(v, c, s % c.K)
    else:
        slot = 0
        if v.stamp[0] < 0.0:
            return 0
        if now == v.since[0] or c.gathers > 0:
            on = 0.0
    if c.Z > 0:
        for b in range(c.B):
            v.carry[b] = carried(v, c, slot, b) if on == 1.0 else 1.0
    v.counts[LEARNED] += 1.0
    v.told_stamp[0] = stamp
    return TELL if c.rule.learn(v, c, slot, on, told) else 0


@kernel
def carried(v, c, slot, b):
    """What is left of stream b's trace at archived sample `slot`: decay ** (decisions since the newest sample in it), 0 in another episode."""
    if v.z_episode[b] != v.ring_episode[slot, b]:
        return 0.0
    left, power = 1.0, c.decay
    gap = int(v.ring_stamp[slot] - v.rolled[0])
    while gap > 0:  # by squaring: decisions that were never sampled decay too, however many
        if gap & 1:
            left *= power
        power *= power
        gap >>= 1
    return left


@kernel
def roll(v, c, slot):
    """Move archived sample `slot` into the trace."""
    for b in range(c.B):
        v.carry[b] = carried(v, c, slot, b)
        v.z_episode[b] = v.ring_episode[slot, b]
    v.rolled[0] = v.ring_stamp[slot]
    c.rule.fold(v, c, slot)


@kernel
def sample(v, c, now, stamp):
    slot = stamp % c.K
    if v.ring_stamp[slot] != stamp:
        if c.stamped == 0 and c.gathers == 0 and c.Z > 0 and v.ring_stamp[slot] >= 0.0:
            roll(v, c, slot)
        v.counts[SAMPLED] += 1.0
    else:
        v.counts[REVISED] += 1.0
    v.stamp[0] = stamp
    v.since[0] = now
    v.ring_stamp[slot] = stamp
    for b in range(c.B):
        v.episode[b] = v.newest_episode[b]
        v.ring_episode[slot, b] = v.episode[b]
        for i in range(c.I):
            v.ring_x[slot, b, i] = v.x[b, i]
    c.rule.respond(v, c, slot, stamp)
    v.unsettled[0] = 1.0
    v.fresh[0] = 0.0
    v.waiting[0] = -1.0


@kernel
def turn(v, c, now, ticked, said, told):
    if v.unsettled[0] == 1.0 and now > v.since[0]:
        c.rule.settle(v, c, int(v.stamp[0]) % c.K)
        v.unsettled[0] = 0.0
    if ticked == 1:
        if v.waiting[0] >= 0.0:
            v.waiting[0] += 1.0
        if v.gathering[0] > 0.0:
            for slot in range(c.C):
                v.due_age[slot] += 1.0
    flags = 0
    due = ready_credit(v, c)
    if due >= 0:
        flags = take_credit(v, c, now, due, told)
        if ready_credit(v, c) >= 0:
            return flags | MORE
    if c.rounds > 0:
        return flags | phase(v, c, now, said, told)
    speaks = ticked > 0 and (c.repeats == 1 or c.drives == 1) and v.stamp[0] >= 0.0
    if ready_sample(v, c):
        sample(v, c, now, int(v.newest[0]))
        speaks = True
    elif c.drives == 1 and speaks:
        c.rule.relax(v, c, int(v.stamp[0]) % c.K, int(v.stamp[0]))
    elif c.revise == 1 and v.fresh[0] == 1.0:
        sample(v, c, now, int(v.stamp[0]))
        speaks = True
    elif c.on_arrival == 1 and v.repeats[0] >= c.S and v.stamp[0] >= 0.0:
        speaks = True
    if speaks and c.drives == 1:
        if c.gathers > 0:
            c.rule.gather(v, c, int(v.stamp[0]) % c.K, now)
        flags |= tell(v, c, told)
    if speaks:
        flags |= say(v, c, said)
    return flags


@kernel
def say(v, c, said):
    """Say what is held."""
    v.repeats[0] = 0.0
    for b in range(c.B):
        said[b] = v.episode[b]
        for n in range(c.N):
            said[c.B + b * c.N + n] = v.y[b, n]
    return SAY


@kernel
def tell(v, c, told):
    """Tell the inputs what drives them, if any of them listens."""
    v.told_stamp[0] = v.stamp[0]
    return TELL if c.rule.pull(v, c, told) else 0


@kernel
def phase(v, c, now, said, told):
    """What the messages heard so far allow a node to do, in synchronous phases (above); it may be nothing."""
    if ready_sample(v, c) and (v.stamp[0] < 0.0 or v.round[0] == c.rounds + c.gated):
        sample(v, c, now, int(v.newest[0]))
        v.round[0], v.came[0], v.pulled[0], v.stepped[0] = 0.0, 0.0, 0.0, 0.0
        speaks = c.E > 0 or c.foretells == 1
    else:
        speaks = False
    if v.stamp[0] < 0.0:
        return 0
    flags = 0
    stamp = int(v.stamp[0])
    slot = stamp % c.K
    if c.E > 0 and v.pulled[0] == c.E:  # a wave of feedback has come down: pass it on with the error as it was, then move
        v.pulled[0] = 0.0
        flags |= tell(v, c, told)
        if v.round[0] < c.rounds:
            c.rule.approach(v, c, stamp)
            v.stepped[0] = 1.0
        else:  # it was the last, which brought the gate
            c.rule.keep(v, c, slot)
            v.round[0] += 1.0
    if v.stepped[0] == 1.0 and v.came[0] == c.below:  # a wave of activity has come up
        v.came[0], v.stepped[0] = 0.0, 0.0
        v.round[0] += 1.0
        c.rule.refresh(v, c, slot, stamp)
        if v.round[0] == c.rounds and (c.E == 0 or c.gated == 0):
            c.rule.keep(v, c, slot)
        if c.E > 0:
            speaks = True
        elif v.round[0] == c.rounds:
            speaks = c.foretells == 0
            if c.gated == 1:
                flags |= tell(v, c, told)
                v.round[0] += 1.0
    if c.E == 0 and v.stepped[0] == 0.0 and v.round[0] < c.rounds and (c.awaits == 0 or v.learned[0] >= stamp - 1):
        flags |= tell(v, c, told)
        if v.round[0] < c.decide:
            c.rule.redraw(v, c, stamp, int(v.round[0]))
        v.stepped[0] = 1.0
    return flags | (say(v, c, said) if speaks else 0)


@bound
def handle(state, config, now, kind, port, seq, stamp, payload, said, told):
    """Take in one event; returns what to send (SAY | TELL | MORE).

    A message is heard; on an on-arrival clock the turn it calls for follows. At a TICK `port` says why there is a turn: 1 by the clock, 2 as the
    host comes back for MORE of that, 0 for MORE after a message.
    """
    v, c = cut(state, config)
    ticked = 0
    if kind == _TICK:
        ticked = port
    elif kind == _ACTIVITY:
        hear_activity(v, c, port, seq, stamp, payload)
        if c.rounds > 0 and stamp == v.stamp[0]:
            v.came[0] += 1.0
    elif kind == _FEEDBACK and c.drives == 1:
        c.rule.feel(v, c, port, seq, stamp, payload)
        if c.rounds > 0:
            v.pulled[0] += 1.0
    else:
        hear_credit(v, c, port, stamp, payload)
    if kind == _TICK or c.on_arrival == 1:
        return turn(v, c, now, ticked, said, told)
    return 0
