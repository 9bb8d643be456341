"""What every learning node keeps of its samples, and how credit finds the one it belongs to.

CREDIT, when it learns from stamp s: the partial sums are added in the order of the downstream units once all have come, or `timeout` own ticks
    after the first; at most once for each stamp.
ELIGIBILITY of a sample: stamped credit keeps the last K samples and finds the one it belongs to, exact under any delay; with decay > 0 a trace
    is rolled over the archive up to that sample:  z_s = decay * z_(s-1) + e_s, z = 0 at a change of episode; e = 0 for a decision never sampled.
    Trace credit keeps one sample and one decaying trace that knows no stamps. In both, a sample joins the trace only after its own instant:
    credit that comes in the same instant belongs to what was done before it, as in the published order of operations.
"""

from asyncnet.kernels.arithmetic import total
from asyncnet.kernels.kernel import kernel, view
from asyncnet.kernels.layout import GIVEN, SCRATCH, STAMP, Field
from asyncnet.machines.hearing import EVICTED, INCOMPLETE, LEARNED, OVERTAKEN, REVISED, SAMPLED, ready_credit

FIRST = (  # single numbers first and side by side: most turns touch nothing else
    Field("newest", "1", STAMP),  # the newest stamp heard of
    Field("waiting", "1", "-1.."),  # own ticks since the first input of something newer; -1: nothing newer
    Field("fresh", "1", "0..1"),  # an input of the held stamp has come or changed since it was sampled
    Field("repeats", "1", "0.."),  # repeated inputs since the last word (on-arrival clocks pass a repetition on)
    Field("stamp", "1", STAMP),  # the stamp held
    Field("since", "1", "-1..now"),  # when it was sampled, microseconds
    Field("unfinished", "1", "0..1"),  # its eligibility is not computed yet
    Field("pending_count", "1", "0..C"),  # credits not yet learned from
    Field("rolled", "1", STAMP),  # the stamp of the newest sample in the trace
)
REST = (
    Field("unit0", "1", "fixed"),  # identity of the first unit
    Field("counts", "8", "0.."),
    Field("source", "S 3", lies=GIVEN),  # what each source brings (hearing.py)
    Field("heard", "S 2", f"{STAMP} -1.."),  # the newest of it
    Field("sender", "D 2", lies=GIVEN),  # which partial sums credit sender d brings: the first, how many
    Field("feedback_port", "F", lies=GIVEN),  # which of its sources each feedback link leads to
    Field("x", "B I"),  # the newest values of the inputs
    Field("newest_episode", "B"),
    Field("y", "B N"),  # the values held
    Field("episode", "B"),
    Field("archive_stamp", "K", STAMP),  # the archive of samples
    Field("archive_episode", "K B"),
    Field("archive_x", "K B I"),
    Field("z_episode", "B"),
    Field("carry", "B", lies=SCRATCH),  # what the trace is multiplied with in the current update
    Field("credit", "B O"),  # the credit being learned from
    Field("pending_stamp", "C", STAMP),
    Field("pending_state", "C", "0..2"),  # 0 none, 1 pending, 2 done with
    Field("pending_age", "C", "0.."),  # own ticks since its first partial sum
    Field("pending_heard", "C", "0..D"),
    Field("pending_from", "C D", "0..1"),
    Field("pending_credit", "C B O J"),
)
SETTINGS = (
    ("seed", int),
    ("timeout", int),
    ("lag", int),
    ("on_arrival", int),
    ("stamped", int),
    ("decay", float),
)


@kernel
def clear(v):
    """Fill a fresh state: nothing heard, nothing sampled."""
    v.heard[:] = -1.0
    for array in (v.newest, v.waiting, v.stamp, v.since, v.archive_stamp, v.rolled, v.pending_stamp, v.z_episode):
        array[:] = -1.0


@kernel
def age(v, c):
    """A tick of the node's own has passed for what it waits for."""
    if v.waiting[0] >= 0.0:
        v.waiting[0] += 1.0
    if v.pending_count[0] > 0.0:
        for slot in range(c.C):
            v.pending_age[slot] += 1.0


@kernel
def finish(v, c, now):
    """Compute the eligibility of the sample held once its own instant is over."""
    if v.unfinished[0] == 1.0 and now > v.since[0]:
        c.rule.finish_eligibility(v, c, int(v.stamp[0]) % c.K)
        v.unfinished[0] = 0.0


@kernel
def begin_turn(v, c, now, ticked):
    """What every turn begins with; returns the slot of the credit to learn from now, or -1."""
    finish(v, c, now)
    if ticked == 1:
        age(v, c)
    return ready_credit(v, c)


@kernel
def take_credit(v, c, now, pending, accumulates, feedback):
    """Learn from credit slot `due`; returns the stamp about which the rule has `feedback` for the inputs, or -1.

    `accumulates`: the trace is added to at every tick, whatever the stamp.
    """
    v.pending_state[pending] = 2.0
    v.pending_count[0] -= 1.0
    if v.pending_heard[pending] < c.D:
        v.counts[INCOMPLETE] += 1.0
    stamp = int(v.pending_stamp[pending])
    if c.J == 1:
        size = c.B * c.O
        whole, piece = view(v.credit, 0, (size,)), view(v.pending_credit, pending * size, (size,))
        for n in range(size):
            whole[n] = 0.0 + piece[n]  # the bits of a sum of one
    else:
        for b in range(c.B):
            for j in range(c.O):
                v.credit[b, j] = total(v.pending_credit[pending, b, j])
    on = 1.0
    if c.stamped == 1:
        slot = stamp % c.K
        if v.archive_stamp[slot] != stamp:  # a newer sample has its place, or it was never sampled
            if v.archive_stamp[slot] > stamp:
                v.counts[EVICTED] += 1.0
            return -1
        if stamp == int(v.stamp[0]) and v.unfinished[0] == 1.0:
            c.rule.finish_eligibility(v, c, slot)
            v.unfinished[0] = 0.0
        if c.Z > 0:
            if stamp <= v.rolled[0]:
                v.counts[OVERTAKEN] += 1.0
                return -1
            for s in range(max(int(v.rolled[0]) + 1, stamp - c.K + 1), stamp):
                if s >= 0 and v.archive_stamp[s % c.K] == s:
                    roll(v, c, s % c.K)
    else:
        slot = 0
        if v.stamp[0] < 0.0:
            return -1
        if now == v.since[0] or accumulates:
            on = 0.0
    if c.Z > 0:
        for b in range(c.B):
            v.carry[b] = carried(v, c, slot, b) if on == 1.0 else 1.0
    v.counts[LEARNED] += 1.0
    return stamp if c.rule.learn(v, c, slot, on, feedback) else -1


@kernel
def carried(v, c, slot, b):
    """What is left of stream b's trace at archived sample `slot`: decay ** (decisions since the newest sample in it), 0 in another episode."""
    if v.z_episode[b] != v.archive_episode[slot, b]:
        return 0.0
    left, power = 1.0, c.decay
    gap = int(v.archive_stamp[slot] - v.rolled[0])
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
        v.z_episode[b] = v.archive_episode[slot, b]
    v.rolled[0] = v.archive_stamp[slot]
    c.rule.decay_and_add(v, c, slot)


@kernel
def sample(v, c, now, stamp, accumulates):
    """Act on observation `stamp`: archive what was heard of it and let the rule respond."""
    slot = stamp % c.K
    if v.archive_stamp[slot] != stamp:
        if c.stamped == 0 and not accumulates and c.Z > 0 and v.archive_stamp[slot] >= 0.0:
            roll(v, c, slot)
        v.counts[SAMPLED] += 1.0
    else:
        v.counts[REVISED] += 1.0
    v.stamp[0] = stamp
    v.since[0] = now
    v.archive_stamp[slot] = stamp
    for b in range(c.B):
        v.episode[b] = v.newest_episode[b]
        v.archive_episode[slot, b] = v.episode[b]
        for i in range(c.I):
            v.archive_x[slot, b, i] = v.x[b, i]
    c.rule.respond(v, c, slot, stamp)
    v.unfinished[0] = 1.0
    v.fresh[0] = 0.0
    v.waiting[0] = -1.0
