"""Taking in what other loops have written: every message is looked at before it is believed, and goes where it waits for its time."""

from asyncnet.kernels.kernel import entry, kernel, row_at
from asyncnet.kernels.pointer import numbers_at, wholes_at
from asyncnet.kernels.shared_words import load, nanoseconds
from asyncnet.loop.compiled import posting as p
from asyncnet.loop.compiled.agenda import KIND_SHIFT, of_who
from asyncnet.loop.compiled.ring import (
    AT,
    IN,
    IN_WORDS,
    LEAST_SEQ,
    PLACE,
    PREFIX,
    PROMISED,
    READ,
    SENT_AT,
    SEQ,
    SIZE,
    STAMP,
    WHO,
    WORDS,
    let_go,
    waiting,
    word,
)
from asyncnet.loop.compiled.slots import take_slot
from asyncnet.loop.gauge import bin_of

LATEST = 1 << 50  # microseconds of a run's time, 35 years: in nanoseconds it is still a whole number of 64 bits
# The kind of the message that ends a window: (meeting, this kind and who promises, window, purpose; and of every loop the next event as its numbers).
PROMISE = 6


@kernel
def take_from(d, n, now):
    """Take in what the n-th peer has written, in shared time up to its promise of this window; returns whether there was room for all of it."""
    t = p.opened(d)
    control, peer = t.control, row_at(t.peers, n)
    some = waiting(peer)
    if some < 0:
        control[p.MALFORMED] += 1
    if some <= 0:
        return True
    words = wholes_at(peer[IN] + 8 * WORDS, (peer[IN_WORDS],))
    numbers = numbers_at(peer[IN] + 8 * WORDS, (peer[IN_WORDS],))
    end, whole = peer[READ] + some, True
    while peer[READ] < end and peer[PROMISED] != control[p.WINDOW]:
        if not p.roomy_here(t):
            whole = False
            break
        first = peer[READ]
        left = end - first - PREFIX
        size = word(words, first + SIZE) if left >= 0 else -1
        if not 0 <= size <= left:  # nobody can tell where the next one begins
            control[p.MALFORMED] += 1
            peer[READ] = end
            break
        at, code, seq = word(words, first + AT), word(words, first + WHO), word(words, first + SEQ)
        first += PREFIX
        peer[READ] = first + size
        if code >> KIND_SHIFT == PROMISE:
            if control[p.SHARES] == 0 or size != t.known.shape[1] or seq != control[p.WINDOW]:
                control[p.MALFORMED] += 1
                continue
            peer[PROMISED] = seq
            for i in range(size):
                t.known[peer[PLACE], i] = word(words, first + i)
            if peer[PLACE] == control[p.WORLD]:
                control[p.MEETING] = at
                control[p.PURPOSE] = word(words, first - PREFIX + STAMP)
            continue
        place = p.expected(t, code)
        if place < 0 or t.arrive[place, 2] != size or not 0 <= at < LATEST:
            control[p.MALFORMED] += 1
            continue
        kind, node, src = of_who(code)
        if t.nodes[src, p.PEER] != n:
            control[p.MALFORMED] += 1
            continue
        if seq < peer[LEAST_SEQ]:
            control[p.OUTLIVED] += 1
            continue
        slot = take_slot(control, t.slots, t.pool, word(words, first - PREFIX + STAMP), size)
        payload = p.payload_of(t, slot, size)
        for i in range(size):
            payload[i] = word(numbers, first + i)
        if now > 0:
            took = max(0, now - word(words, first - PREFIX + SENT_AT))
            t.took[kind, bin_of(took)] += 1
            t.took[kind, t.took.shape[1] - 1] += took
        p.book(t, at, code, node, seq, t.arrive[place, 1], slot, at > control[p.LAST_AT])
    let_go(peer)
    return whole


@kernel
def take_what_came(d):
    """Take in what all peers have written; returns whether there was room for all of it."""
    t = p.opened(d)
    bell = load(t.control[p.BELL])
    if bell == t.control[p.HEARD]:
        return True
    now = nanoseconds(t.control[p.SYSTEM]) if t.control[p.WALL] == 1 else 0
    whole = True
    for n in range(t.peers.shape[0]):
        whole = take_from(d, n, now) and whole
    if whole:
        t.control[p.HEARD] = bell
    return whole


@entry
def take_in_what_came(directory):
    """The same, for Python: looks at every ring, rung or not."""
    t = p.opened(directory)
    t.control[p.HEARD] = load(t.control[p.BELL]) - 1
    return take_what_came(directory)
