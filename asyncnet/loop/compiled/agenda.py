"""The agenda of the compiled loop: a binary heap of events.

An event is a row (AT, WHO, SEQ, WHICH); WHO packs kind, receiver and sender, so rows sort by content exactly as the tuples of message.py do. WHICH
packs the receiver's port and the slot of what the message carries (slots.py). Rows begin where the two below one event share a line of the processor's
cache. It grows in Python only, between events.
"""

import numpy as np

from asyncnet.kernels.kernel import kernel

AT, WHO, SEQ, WHICH = range(4)
EVENT_COLUMNS = 4
# Places in `control`, shared with the loop: events on the agenda; then, of slots, of items of the queue (inbox.py) and of rows of the pool, the first that is
# free, and how many are.
EVENTS, FREE, FREE_COUNT, FREE_ITEM, FREE_ITEMS, FREE_ROW, FREE_ROWS = range(7)

BITS = np.int64(29)
MASK = np.int64((1 << 29) - 1)
KIND_SHIFT = 58


@kernel
def who(kind, dst, src):
    return (kind << (BITS + BITS)) | (dst << BITS) | src


@kernel
def of_who(code):
    """(kind, dst, src)"""
    return code >> (BITS + BITS), (code >> BITS) & MASK, code & MASK


@kernel
def which(port, slot):
    return (np.int64(port) << 32) | (slot + 1)


@kernel
def of_which(code):
    """(port, slot); slot -1: none"""
    return code >> 32, (code & 0xFFFFFFFF) - 1


@kernel
def before(agenda, i, at, code, seq):
    """Whether row i comes before an event (at, code, seq)."""
    if agenda[i, AT] != at:
        return agenda[i, AT] < at
    if agenda[i, WHO] != code:
        return agenda[i, WHO] < code
    return agenda[i, SEQ] < seq


@kernel
def put(agenda, i, at, code, seq, what):
    agenda[i, AT] = at
    agenda[i, WHO] = code
    agenda[i, SEQ] = seq
    agenda[i, WHICH] = what


@kernel
def push(control, agenda, at, code, seq, what):
    i = control[EVENTS]
    control[EVENTS] = i + 1
    while i > 0:
        above = (i - 1) >> 1
        if before(agenda, above, at, code, seq):  # an equal event moves up: two turns of the world at one time, so it makes no difference
            break
        for n in range(EVENT_COLUMNS):
            agenda[i, n] = agenda[above, n]
        i = above
    put(agenda, i, at, code, seq, what)


@kernel
def drop_first(control, agenda):
    """Remove row 0, the first event; the caller has read it."""
    last = control[EVENTS] - 1
    control[EVENTS] = last
    replace_first(control, agenda, agenda[last, AT], agenda[last, WHO], agenda[last, SEQ], agenda[last, WHICH])


@kernel
def replace_first(control, agenda, at, code, seq, what):
    """Put an event in the place of row 0, the first one; the caller has read it."""
    i, events = 0, control[EVENTS]
    while True:
        below = 2 * i + 1
        if below >= events:
            break
        if below + 1 < events:
            one, other = agenda[below, AT], agenda[below + 1, AT]
            # Which of the two comes first is anybody's guess, so no branch hangs on it unless they are simultaneous.
            below += np.int64(other < one) if one != other else np.int64(before(agenda, below + 1, one, agenda[below, WHO], agenda[below, SEQ]))
        if not before(agenda, below, at, code, seq):
            break
        for n in range(EVENT_COLUMNS):
            agenda[i, n] = agenda[below, n]
        i = below
    put(agenda, i, at, code, seq, what)
