"""How letters leave a node in the compiled loop: the same steps as Loop._send and Loop._carry, over tables of whole numbers.

nodes   one row a node: where its parts lie in `real`, how to call it, its sequence numbers, its links
links   one row a link, all links of one sender and channel side by side in the order of their slots
held    rings of (sequence number, slot), for links that hold letters back
real    all float64 numbers that never move: states, configs, clocks, conditions
"""

from typing import NamedTuple

import numpy as np

from asyncnet.agenda import EVENT_COLUMNS, EVENTS, FREE_COUNT, SLOT_COLUMNS, USERS, leave_slot, push, take_slot, who
from asyncnet.kernel import inlined, kernel, view
from asyncnet.link import fate
from asyncnet.message import ACTIVITY, FEEDBACK, REWARD, TICK
from asyncnet.pointer import numbers_at, wholes_at

# Columns of `nodes`. Places are in `real`; SEQUENCE, FIRST_LINK and LINK_COUNT have a column for each channel.
ADDRESS, IDENTITY, IS_DOPAMINE, STATE, STATE_SIZE, CONFIG, CONFIG_SIZE, CLOCK, SAID, SAID_SIZE, TOLD, TOLD_B, TOLD_I, TOLD_M = range(14)
SAYS_STAMP, TELLS_STAMP, TICKS = range(14, 17)
SEQUENCE, FIRST_LINK, LINK_COUNT = 17, 17 + TICK, 17 + 2 * TICK
NODE_COLUMNS = 17 + 3 * TICK
# Columns of `links`. CONDITIONS is the place of `retry`, which the rows follow; START and WIDTH are the receiver's slice of what is told.
DST, DST_IDENTITY, IN_PORT, FIXED, CONDITIONS, CONDITION_COUNT, STALE, HELD, HELD_FIRST, HELD_COUNT, START, WIDTH, SENT, LOST = range(14)
LINK_COLUMNS = 14

# Places in `control`, after those of agenda.py. MORE is the node that wants another turn at once (or -1), TICKED why; LETTERS and RETURN are what the
# world hands over: how many letters, and when it wants its turn (or -1); HEARD_* the newest action it heard; DELIVERED has a place for each channel.
NOW, MORE, TICKED, LETTERS, RETURN, HEARD_STAMP, HEARD_SEQ, NEED_EVENTS, NEED_SLOTS, DELIVERED = range(3, 13)
CONTROL_SIZE = 12 + TICK
OUTBOX = 8  # letters the world can hand over at once
INBOX = 0  # the slot that holds the newest action the world has heard

SAY, TELL, AGAIN = 1, 2, 4  # as in agent.py (there: MORE)


class Tables(NamedTuple):
    """Everything the compiled loop works on."""

    control: np.ndarray
    nodes: np.ndarray
    links: np.ndarray
    held: np.ndarray
    real: np.ndarray
    agenda: np.ndarray
    slots: np.ndarray
    pool: np.ndarray
    outbox: np.ndarray  # a row: channel, stamp, link (or -1), size, payload


@inlined
def opened(d):
    """The tables behind their directory: (address, rows, columns) of each, in order."""
    return Tables(
        wholes_at(d[0, 0], (d[0, 1],)),
        wholes_at(d[1, 0], (d[1, 1], NODE_COLUMNS)),
        wholes_at(d[2, 0], (d[2, 1], LINK_COLUMNS)),
        wholes_at(d[3, 0], (d[3, 1], 2)),
        numbers_at(d[4, 0], (d[4, 1],)),
        wholes_at(d[5, 0], (d[5, 1], EVENT_COLUMNS)),
        wholes_at(d[6, 0], (d[6, 1], SLOT_COLUMNS)),
        numbers_at(d[7, 0], (d[7, 1], d[7, 2])),
        numbers_at(d[8, 0], (d[8, 1], d[8, 2])),
    )


@inlined
def payload_of(t, slot, size):
    return view(t.pool, slot * t.pool.shape[1], (size,))


@kernel
def carry(d, seed, now, src, channel, n, seq, slot):
    """Put the letter in `slot` on its way along link n; it keeps its user, or loses it on the way."""
    t = opened(d)
    links = t.links
    delay = links[n, FIXED]
    if delay < 0:
        at = links[n, CONDITIONS]
        rows = view(t.real, at + 1, (links[n, CONDITION_COUNT], 3))
        delay, copies = fate(rows, seed, t.nodes[src, IDENTITY], links[n, DST_IDENTITY], channel, seq, t.real[at])
        if copies == 0:
            links[n, LOST] += 1
            leave_slot(t.control, t.slots, slot)
            return
    push(t.control, t.agenda, now + delay, who(channel, links[n, DST], src), seq, links[n, IN_PORT], slot)


@kernel
def post(d, seed, now, src, channel, only, slot):
    """Send the letter in `slot` to every link of a channel, or (only >= 0) to one of them."""
    t = opened(d)
    links = t.links
    t.nodes[src, SEQUENCE + channel] += 1
    seq = t.nodes[src, SEQUENCE + channel]
    first, count = t.nodes[src, FIRST_LINK + channel], t.nodes[src, LINK_COUNT + channel]
    if only >= 0:
        first, count = first + only, 1
    for n in range(first, first + count):
        links[n, SENT] += 1
        t.slots[slot, USERS] += 1
        stale = links[n, STALE]
        if stale == 0:
            carry(d, seed, now, src, channel, n, seq, slot)
            continue
        ring, oldest = links[n, HELD], links[n, HELD_FIRST]
        place = ring + (oldest + links[n, HELD_COUNT]) % (stale + 1)
        t.held[place, 0] = seq
        t.held[place, 1] = slot
        if links[n, HELD_COUNT] < stale:
            links[n, HELD_COUNT] += 1
            continue
        links[n, HELD_FIRST] = (oldest + 1) % (stale + 1)
        carry(d, seed, now, src, channel, n, t.held[ring + oldest, 0], t.held[ring + oldest, 1])


@inlined
def put_letter(t, stamp, values):
    """A slot with these values."""
    slot = take_slot(t.control, t.slots, stamp, values.size)
    payload = payload_of(t, slot, values.size)
    for i in range(values.size):
        payload[i] = values[i]
    return slot


@kernel
def send_said(d, seed, now, node):
    """A learning node's activity."""
    t = opened(d)
    row = t.nodes[node]
    slot = put_letter(t, np.int64(t.real[row[SAYS_STAMP]]), view(t.real, row[SAID], (row[SAID_SIZE],)))
    post(d, seed, now, node, ACTIVITY, -1, slot)
    leave_slot(t.control, t.slots, slot)


@kernel
def send_told(d, seed, now, node):
    """A learning node's feedback: each hearer gets the slice that concerns it."""
    t = opened(d)
    row = t.nodes[node]
    stamp = np.int64(t.real[row[TELLS_STAMP]])
    streams, whole, pieces = row[TOLD_B], row[TOLD_I] * row[TOLD_M], row[TOLD_M]
    told = view(t.real, row[TOLD], (streams, whole))
    first = row[FIRST_LINK + FEEDBACK]
    for n in range(row[LINK_COUNT + FEEDBACK]):
        start, width = t.links[first + n, START] * pieces, t.links[first + n, WIDTH] * pieces
        slot = take_slot(t.control, t.slots, stamp, streams * width)
        payload = payload_of(t, slot, streams * width)
        for b in range(streams):
            for i in range(width):
                payload[b * width + i] = told[b, start + i]
        post(d, seed, now, node, FEEDBACK, n, slot)
        leave_slot(t.control, t.slots, slot)


@kernel
def send_error(d, seed, now, node):
    """The TD error: to the critic (link 0) under the decision's stamp, to the others under the action's (node.Dopamine)."""
    t = opened(d)
    row = t.nodes[node]
    error = view(t.real, row[SAID], (row[SAID_SIZE],))
    stamp, credited = np.int64(t.real[row[SAYS_STAMP]]), np.int64(t.real[row[TELLS_STAMP]])
    slot = put_letter(t, stamp, error)
    post(d, seed, now, node, REWARD, -1 if credited == stamp else 0, slot)
    leave_slot(t.control, t.slots, slot)
    if credited not in (stamp, -1):
        slot = put_letter(t, credited, error)
        for n in range(1, row[LINK_COUNT + REWARD]):
            post(d, seed, now, node, REWARD, n, slot)
        leave_slot(t.control, t.slots, slot)


@inlined
def send(d, t, seed, now, node, flags):
    if t.nodes[node, IS_DOPAMINE] == 1:
        if flags & SAY:
            send_error(d, seed, now, node)
        return
    if flags & TELL:
        send_told(d, seed, now, node)
    if flags & SAY:
        send_said(d, seed, now, node)


@inlined
def roomy(t):
    """Whether what one event can cause still fits."""
    return t.control[EVENTS] + t.control[NEED_EVENTS] <= t.agenda.shape[0] and t.control[FREE_COUNT] >= t.control[NEED_SLOTS]
