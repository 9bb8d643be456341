"""What a learning node hears, and what it is then ready for: the newest values of its inputs, and credit in partial sums, added stamp by stamp.

Shared parts of the learning nodes' machines, which say when they are called. None of them knows a rule.
"""

from asyncnet.kernels.kernel import kernel, row_at, view

# counts: what the machine passed over, for the summary
EVICTED, LATE, DUPLICATE, INCOMPLETE, OVERTAKEN, REVISED, SAMPLED, LEARNED = range(8)
COUNT_NAMES = ("evicted", "late", "duplicate", "incomplete", "overtaken", "revised", "sampled", "learned")

START, WIDTH, SKIPS = range(3)  # columns of `source`: which inputs it feeds, with which of its values it begins
HEARD_STAMP, HEARD_SEQ = range(2)  # columns of `heard`: of its newest message


@kernel
def hear_activity(v, c, port, seq, stamp, payload):
    source, heard = row_at(v.source, port), row_at(v.heard, port)
    if stamp < heard[HEARD_STAMP] or (stamp == heard[HEARD_STAMP] and seq <= heard[HEARD_SEQ]):
        return  # overtaken on the way: the newest value wins
    start, width, skips = int(source[START]), int(source[WIDTH]), int(source[SKIPS])
    carried_width = (payload.size - c.B) // c.B
    first = stamp > heard[HEARD_STAMP]
    changed = False
    for b in range(c.B):
        here, there = view(payload, c.B + b * carried_width + skips, (width,)), view(v.x, b * c.I + start, (width,))
        for i in range(width):
            changed |= there[i] != here[i]
            there[i] = here[i]
    heard[HEARD_STAMP] = stamp
    heard[HEARD_SEQ] = seq
    if stamp > v.newest[0]:
        v.newest[0] = stamp
        for b in range(c.B):
            v.newest_episode[b] = payload[b]
    if stamp > v.stamp[0] and v.waiting[0] < 0.0:
        v.waiting[0] = 0.0
    if stamp == v.stamp[0] and (first or changed):
        v.fresh[0] = 1.0
    if not first and not changed:
        v.repeats[0] += 1.0


@kernel
def open_credit(v, c, port, stamp):
    """The slot in which credit for that stamp is accumulated, for what sender `port` brings of it; -1 if it is too late or known already."""
    slot = stamp % c.C
    if v.pending_stamp[slot] > stamp:
        v.counts[LATE] += 1.0
        return -1
    if v.pending_stamp[slot] < stamp:
        if v.pending_state[slot] == 1.0:
            v.counts[INCOMPLETE] += 1.0
            v.pending_count[0] -= 1.0
        v.pending_stamp[slot] = stamp
        v.pending_state[slot] = 1.0
        v.pending_age[slot] = 0.0
        v.pending_heard[slot] = 0.0
        v.pending_from[slot, :] = 0.0
        if c.D > 1:
            v.pending_credit[slot, :, :, :] = 0.0
        v.pending_count[0] += 1.0
    if v.pending_state[slot] == 2.0 or v.pending_from[slot, port] == 1.0:
        v.counts[DUPLICATE] += 1.0
        return -1
    v.pending_from[slot, port] = 1.0
    v.pending_heard[slot] += 1.0
    return slot


@kernel
def hear_reward(v, c, port, stamp, payload):
    """Credit is the reward or TD error (B,), the same for every unit."""
    slot = open_credit(v, c, port, stamp)
    if slot < 0:
        return
    at = int(v.sender[port, 0])
    for b in range(c.B):
        for j in range(c.O):
            v.pending_credit[slot, b, j, at] = payload[b]


@kernel
def hear_feedback(v, c, port, stamp, payload):
    """Credit is fed back from above: partial sums (B, O, width) for each unit."""
    slot = open_credit(v, c, port, stamp)
    if slot < 0:
        return
    start, width = int(v.sender[port, 0]), int(v.sender[port, 1])
    if width == c.J:  # this sender brings all the partial sums, in the order in which they are kept
        pending = view(v.pending_credit, slot * payload.size, (payload.size,))
        for n in range(payload.size):
            pending[n] = payload[n]
    else:
        at = 0
        for b in range(c.B):
            for j in range(c.O):
                for m in range(width):
                    v.pending_credit[slot, b, j, start + m] = payload[at]
                    at += 1


@kernel
def ready_credit(v, c):
    """The slot of the oldest credit to learn from now, or -1."""
    best = -1
    if v.pending_count[0] > 0.0:
        for slot in range(c.C):
            whole = v.pending_heard[slot] == c.D or (c.on_arrival == 0 and v.pending_age[slot] >= c.timeout)
            if v.pending_state[slot] == 1.0 and whole and (best < 0 or v.pending_stamp[slot] < v.pending_stamp[best]):
                best = slot
    return best


@kernel
def ready_sample(v, c, revise):
    """Whether to sample for the newest stamp now; `revise`: at once, and again when more of it comes."""
    if v.newest[0] <= v.stamp[0]:
        return False
    if revise or (c.on_arrival == 0 and v.waiting[0] >= c.timeout):
        return True
    for port in range(c.S):
        behind = v.newest[0] - v.heard[port, HEARD_STAMP]
        if behind > 0.0 and behind <= c.lag:
            return False
    return True
