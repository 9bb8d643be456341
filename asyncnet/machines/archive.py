"""What every learning node keeps of its samples, and how credit finds the one it belongs to.

CREDIT, when it learns from stamp s: the pieces are summed in the order of the downstream units once all have come, or `patience` own ticks
    after the first; at most once for each stamp.
ELIGIBILITY of a sample: stamped credit keeps the last K samples and finds the one it belongs to, exact under any delay; with decay > 0 a trace
    is rolled over the archive up to that sample:  z_s = decay * z_(s-1) + e_s, z = 0 at a change of episode; e = 0 for a decision never sampled.
    Trace credit keeps one sample and one decaying trace that knows no stamps. In both, a sample joins the trace only after its own instant:
    credit that comes in the same instant belongs to what was done before it, as in the published order of operations.
"""

from asyncnet.kernels.arithmetic import total
from asyncnet.kernels.kernel import kernel, view
from asyncnet.kernels.layout import STAMP, Field
from asyncnet.machines.hearing import EVICTED, HEARD_STAMP, INCOMPLETE, LEARNED, OVERTAKEN, REVISED, SAMPLED

FIRST = (  # single numbers first and side by side: most turns touch nothing else
    Field("newest", "1", STAMP),  # the newest stamp heard of
    Field("waiting", "1", "-1.."),  # own ticks since the first piece of something newer; -1: nothing newer
    Field("fresh", "1", "0..1"),  # a piece of the held stamp has come or changed since it was sampled
    Field("repeats", "1", "0.."),  # repeated pieces since the last word (on-arrival clocks pass a repetition on)
    Field("stamp", "1", STAMP),  # the stamp held
    Field("since", "1", "-1..now"),  # when it was sampled, microseconds
    Field("unsettled", "1", "0..1"),  # its eligibility is not reckoned yet
    Field("gathering", "1", "0..C"),  # credits not yet learned from
    Field("rolled", "1", STAMP),  # the stamp of the newest sample in the trace
)
REST = (
    Field("unit0", "1", "fixed"),  # identity of the first unit
    Field("counts", "8", "0.."),
    Field("port", "S 5", f"fixed fixed fixed {STAMP} -1.."),
    Field("sender", "D 2", "fixed"),  # which pieces credit sender d brings: the first, how many
    Field("tells", "F", "fixed"),  # which of its sources each feedback link leads to
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
    ("on_arrival", int),
    ("stamped", int),
    ("decay", float),
)


@kernel
def clear(v):
    """Fill a fresh state: nothing heard, nothing sampled."""
    v.port[:, HEARD_STAMP:] = -1.0
    for array in (v.newest, v.waiting, v.stamp, v.since, v.ring_stamp, v.rolled, v.due_stamp, v.z_episode):
        array[:] = -1.0


@kernel
def age(v, c):
    """A tick of the node's own has passed for what it waits for."""
    if v.waiting[0] >= 0.0:
        v.waiting[0] += 1.0
    if v.gathering[0] > 0.0:
        for slot in range(c.C):
            v.due_age[slot] += 1.0


@kernel
def finish(v, c, now):
    """Reckon the eligibility of the sample held once its own instant is over."""
    if v.unsettled[0] == 1.0 and now > v.since[0]:
        c.rule.finish_eligibility(v, c, int(v.stamp[0]) % c.K)
        v.unsettled[0] = 0.0


@kernel
def take_credit(v, c, now, due, gathers, feedback):
    """Learn from credit slot `due`; returns the stamp about which the rule has `feedback` for the inputs, or -1.

    `gathers`: the trace is added to at every tick, whatever the stamp.
    """
    v.due_state[due] = 2.0
    v.gathering[0] -= 1.0
    if v.due_heard[due] < c.D:
        v.counts[INCOMPLETE] += 1.0
    stamp = int(v.due_stamp[due])
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
            return -1
        if stamp == int(v.stamp[0]) and v.unsettled[0] == 1.0:
            c.rule.finish_eligibility(v, c, slot)
            v.unsettled[0] = 0.0
        if c.Z > 0:
            if stamp <= v.rolled[0]:
                v.counts[OVERTAKEN] += 1.0
                return -1
            for s in range(max(int(v.rolled[0]) + 1, stamp - c.K + 1), stamp):
                if s >= 0 and v.ring_stamp[s % c.K] == s:
                    roll(v, c, s % c.K)
    else:
        slot = 0
        if v.stamp[0] < 0.0:
            return -1
        if now == v.since[0] or gathers:
            on = 0.0
    if c.Z > 0:
        for b in range(c.B):
            v.carry[b] = carried(v, c, slot, b) if on == 1.0 else 1.0
    v.counts[LEARNED] += 1.0
    return stamp if c.rule.learn(v, c, slot, on, feedback) else -1


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
    c.rule.decay_and_add(v, c, slot)


@kernel
def sample(v, c, now, stamp, gathers):
    """Act on observation `stamp`: archive what was heard of it and let the rule respond."""
    slot = stamp % c.K
    if v.ring_stamp[slot] != stamp:
        if c.stamped == 0 and not gathers and c.Z > 0 and v.ring_stamp[slot] >= 0.0:
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
