"""How messages leave a node in the compiled loop: the same steps as Loop._send and Loop._carry, over tables of whole numbers.

nodes   one row a node: where its parts lie in `real`, how to call it, its sequence numbers, its links
queue   messages that wait for a node's tick (inbox.py)
links   one row a link, all links of one sender and channel side by side in the order of their slots: its receiver, the port there, and its model
models  one row a model: what its links do to messages (team/conditions.py)
struck  one number a fault: how often it has done something
clears  if any link has a rate, one number a link: when the next message may leave its line (link.in_line)
sent    the loop's own books (ledger.py), one number a link: how many messages were sent by it, `lost`, `doubled`, and `refused` for want of room (the last
        three empty where that cannot be); and `came`, in the order of receivers and ports, how many were delivered
rings   one row a link that holds messages back, and which link that is: `held`, rings of (sequence number, slot)
slots   what messages carry, `small` the same memory as float64, and `pool`, for those that carry more (slots.py)
real    all float64 numbers that never move: states, configs, clocks, conditions
box     the outbox (outbox.py) of whoever is called, and its numbers
whom    identities of the receivers for whom conditions are drawn together, and what was drawn (link.draw)
peers   one row for each other loop: the rings to it and from it (ring.py)
arrive  which messages may come from there: rows (WHO, port, size), sorted
took    how long they took, by channel: a histogram (gauge.py), and last the sum in nanoseconds
late    in real time on Ray, how late the ticks of the nodes here began: a histogram, and last the most in nanoseconds
reach   in simulated time that loops share, by loops: the least time from an event of one to what it causes in another; and what each promised (sharing.py)
tape    if there is any: what the nodes heard, in order, as rows (now, WHO, SEQ), and what was lost on leaving here, its SEQ negative
newest  if any mailbox asks for it, in the order of `came`: the number of the newest message of each link, while a mailbox is read (mailbox.py)
strip   if there is any: the last of these rows in memory that outlives this process (actors/strip.py), behind one that begins with how many there were
"""

from typing import NamedTuple

import numpy as np

from asyncnet.kernels.kernel import inlined, kernel, row_at, view
from asyncnet.kernels.pointer import halves_at, numbers_at, wholes_at
from asyncnet.kernels.shared_words import nanoseconds
from asyncnet.loop import link
from asyncnet.loop.compiled.agenda import (
    EVENT_COLUMNS,
    EVENTS,
    FREE_COUNT,
    FREE_ITEMS,
    FREE_ROWS,
    push,
    which,
    who,
)
from asyncnet.loop.compiled.inbox import ITEM_COLUMNS, NEVER_WAITS, at_once, put_aside
from asyncnet.loop.compiled.ring import DUE, PEER_COLUMNS, PREFIX, has_room, write
from asyncnet.loop.compiled.slots import SIZE, SLOT_COLUMNS, STAMP, USERS, leave_slot, numbers_of, take_slot
from asyncnet.loop.link import altered, decide, draw, in_line
from asyncnet.loop.message import TICK, TURN
from asyncnet.nodes import outbox

# Columns of `nodes`, 64 bytes a line as the processor fetches them: what every event needs, what ticks and messages need, what sending needs. Places are in
# `real`; PEER is who hosts the node (-1: this loop), INBOX and LAST are the first and the last of the messages that wait for its next tick; SEQUENCE,
# FIRST_LINK, LINK_COUNT and FIRST_IN (its first link in the order of `came`) have a column for each channel, of which the least is 1.
# HEARD_LATER: whether it and all that hear it here have clocks, so that nothing it says at a tick causes anything in the same instant before those tick.
ADDRESS, STATE, STATE_SIZE, CONFIG, CONFIG_SIZE, INBOX, LAST, PEER = range(8)
IDENTITY, CLOCK, TICKS, SKIPPED = range(8, 12)
SEQUENCE, FIRST_LINK, LINK_COUNT, FIRST_IN = range(12, 12 + 4 * (TICK - 1), TICK - 1)  # and the channel
LATENESS, HEARD_LATER, MISHAPS = 29, 30, 31  # its row of `late`; the place of what befalls it (mishaps.RECORD), -1: nothing does
NODE_COLUMNS = 32
LINE = 8  # numbers
DST, IN_PORT, MODEL = range(3)  # columns of `links`
LINK_COLUMNS = 3
RING, OLDEST, HELD_COUNT, LINK = range(4)  # columns of `rings`, which are in the order of their links: where in `held` it begins
RING_COLUMNS = 4
# Columns of `models`. CONDITIONS is the place of `retry`, which the rows follow.
FIXED, CONDITIONS, CONDITION_COUNT, STALE, ALTERS, PACED = range(6)
MODEL_COLUMNS = 6

# Places in `control`, after those of agenda.py. MORE is the node that wants another turn at once (or -1), TICKED why; WALL says whether time is
# real, TAPED how much of the tape is written, BY_CLOCK whether what is being handled is a tick. The LAST_s are the last event, in their order, among those
# handled.
NOW, MORE, TICKED, WALL, NEED_EVENTS, NEED_SLOTS, NEED_ROWS, TAPED, LAST_AT, LAST_WHO, LAST_SEQ, BY_CLOCK = range(7, 19)
# Those of a loop with peers: the address of its bell (0: it has none) and how often that had been rung when it was last listened to, what shared_words.py calls
# system, whether messages wake it, when its time began (monotonic nanoseconds), for how long it looks before it sleeps, how many messages made no sense, and
# how many came from processes that were given up; and how much of the tape is on the strip.
BELL, HEARD, SYSTEM, LISTENS, BEGAN, PATIENCE, MALFORMED, OUTLIVED, PUBLISHED = range(19, 28)
# And in simulated time that loops share (sharing.py).
SHARES, WINDOW, AWAITS, ME, WORLD, LIMIT, LATEST, WANTED, MEETING, PURPOSE, ENDING, CLOSINGS, GOAL, GOAL_EPISODES, COUNTS, STREAMS = range(28, 44)
CONTROL_SIZE = 44
NOWHERE = 0  # a slot that nobody uses
DRAWN = 64  # messages for which conditions are drawn together


class Tables(NamedTuple):
    """Everything the compiled loop works on."""

    control: np.ndarray
    nodes: np.ndarray
    links: np.ndarray
    models: np.ndarray
    struck: np.ndarray
    clears: np.ndarray
    sent: np.ndarray
    lost: np.ndarray
    doubled: np.ndarray
    refused: np.ndarray
    came: np.ndarray
    rings: np.ndarray
    held: np.ndarray
    real: np.ndarray
    agenda: np.ndarray
    slots: np.ndarray
    small: np.ndarray
    pool: np.ndarray
    peers: np.ndarray
    arrive: np.ndarray
    took: np.ndarray
    late: np.ndarray
    reach: np.ndarray
    known: np.ndarray
    queue: np.ndarray
    tape: np.ndarray
    box: np.ndarray
    box_numbers: np.ndarray
    whom: np.ndarray
    lots: np.ndarray
    strip: np.ndarray
    newest: np.ndarray


@inlined
def opened(d):
    """The tables behind their directory: (address, rows, columns) of each, in order."""
    return Tables(
        wholes_at(d[0, 0], (d[0, 1],)),
        wholes_at(d[1, 0], (d[1, 1], NODE_COLUMNS)),
        halves_at(d[2, 0], (d[2, 1], LINK_COLUMNS)),
        wholes_at(d[3, 0], (d[3, 1], MODEL_COLUMNS)),
        wholes_at(d[4, 0], (d[4, 1],)),
        numbers_at(d[5, 0], (d[5, 1],)),
        wholes_at(d[6, 0], (d[6, 1],)),
        wholes_at(d[7, 0], (d[7, 1],)),
        wholes_at(d[8, 0], (d[8, 1],)),
        wholes_at(d[9, 0], (d[9, 1],)),
        wholes_at(d[10, 0], (d[10, 1],)),
        wholes_at(d[11, 0], (d[11, 1], RING_COLUMNS)),
        wholes_at(d[12, 0], (d[12, 1], 2)),
        numbers_at(d[13, 0], (d[13, 1],)),
        wholes_at(d[14, 0], (d[14, 1], EVENT_COLUMNS)),
        wholes_at(d[15, 0], (d[15, 1], SLOT_COLUMNS)),
        numbers_at(d[16, 0], (d[16, 1], SLOT_COLUMNS)),
        numbers_at(d[17, 0], (d[17, 1], d[17, 2])),
        wholes_at(d[18, 0], (d[18, 1], PEER_COLUMNS)),
        wholes_at(d[19, 0], (d[19, 1], 3)),
        wholes_at(d[20, 0], (d[20, 1], d[20, 2])),
        wholes_at(d[21, 0], (d[21, 1], d[21, 2])),
        wholes_at(d[22, 0], (d[22, 1], d[22, 2])),
        wholes_at(d[23, 0], (d[23, 1], d[23, 2])),
        wholes_at(d[24, 0], (d[24, 1], ITEM_COLUMNS)),
        wholes_at(d[25, 0], (d[25, 1], 3)),
        wholes_at(d[26, 0], (d[26, 1], outbox.COLUMNS)),
        numbers_at(d[27, 0], (d[27, 1],)),
        wholes_at(d[28, 0], (DRAWN,)),
        numbers_at(d[29, 0], (d[29, 1], DRAWN)),
        wholes_at(d[30, 0], (d[30, 1], 3)),
        wholes_at(d[31, 0], (d[31, 1],)),
    )


@inlined
def taped(t):
    """Whether there is a tape."""
    return t.tape.shape[0] > 0


@inlined
def note(t, now, code, seq):
    """Write an event or a loss on the tape."""
    row = t.tape[t.control[TAPED]]
    row[0], row[1], row[2] = now, code, seq
    t.control[TAPED] += 1


@inlined
def publish(t):
    """Have what is on the tape be on the strip, too."""
    if t.strip.shape[0] > 0:
        for n in range(t.control[PUBLISHED], t.control[TAPED]):
            from_, to = row_at(t.tape, n), row_at(t.strip, 1 + t.strip[0, 0] % (t.strip.shape[0] - 1))
            to[0], to[1], to[2] = from_[0], from_[1], from_[2]
            t.strip[0, 0] += 1
        t.control[PUBLISHED] = t.control[TAPED]


@inlined
def payload_of(t, slot, size):
    return numbers_of(t.slots, t.small, t.pool, slot, size)


@inlined
def book(t, at, code, dst, seq, port, slot, waits):
    """Have the message in `slot` delivered to a node of this loop; `waits`: at its next tick, if it has a clock."""
    row = row_at(t.nodes, dst)
    if waits and row[INBOX] != NEVER_WAITS:
        row[INBOX], row[LAST] = put_aside(t.control, t.queue, row[INBOX], row[LAST], at, code, seq, which(port, slot))
    else:
        push(t.control, t.agenda, at, code, seq, which(port, slot))


@inlined
def conditions_of(t, model):
    return view(t.real, model[CONDITIONS] + 1, (model[CONDITION_COUNT], link.COLUMNS))


@kernel
def draw_for(d, seed, src, channel, first, last, seq):
    """Draw for the messages of that number on the links from `first` to before `last`, as far as these have one model; returns to where that is."""
    t = opened(d)
    which = t.links[first, MODEL]
    model, end = row_at(t.models, which), first + 1
    while end < last and t.links[end, MODEL] == which:
        end += 1
    for n in range(first, end):
        t.whom[n - first] = t.nodes[t.links[n, DST], IDENTITY]
    draw(conditions_of(t, model), seed, t.nodes[src, IDENTITY], view(t.whom, 0, (end - first,)), channel, seq, t.lots)
    return end


@kernel
def carry(d, seed, now, src, channel, n, seq, slot, lot):
    """Put the message in `slot` on its way along link n, with what was drawn for it in column `lot`; it keeps its user, or loses it on the way."""
    t = opened(d)
    model, dst = row_at(t.models, t.links[n, MODEL]), t.links[n, DST]
    delay = model[FIXED]
    if delay < 0:
        ends, retry, number = (t.nodes[src, IDENTITY], t.nodes[dst, IDENTITY]), t.real[model[CONDITIONS]], t.sent[n] - model[STALE]
        which = channel, seq, number, t.slots[slot, STAMP]
        conditions, delay, again = conditions_of(t, model), np.int64(0), np.int64(link.ONCE)
        if model[PACED] == 1:
            delay = in_line(conditions, seed, t.clears, n, which[3], now, t.struck)
        if delay != link.LOST:
            delay, again = decide(conditions, t.lots, lot, seed, *ends, *which, now, retry, delay, t.struck)
        if delay == link.LOST:
            t.lost[n] += 1
            if taped(t):
                note(t, now, who(channel, dst, src), -seq)
            leave_slot(t.control, t.slots, t.pool, slot)
            return
        if model[ALTERS] == 1:
            slot = altered_copy(d, conditions_of(t, model), seed, *ends, channel, seq, now, slot)
        if again != link.ONCE:
            t.doubled[n] += 1
            t.slots[slot, USERS] += 1
            deliver_again(d, now, src, channel, n, seq, slot, again)
    deliver(t, now, src, channel, n, seq, slot, delay)


@kernel
def altered_copy(d, conditions, seed, src, dst, channel, seq, now, slot):
    """What the message in `slot` is on its way to one of its hearers, in a slot of its own; the other has a user less."""
    t = opened(d)
    stamp, size = t.slots[slot, STAMP], t.slots[slot, SIZE]
    own = take_slot(t.control, t.slots, t.pool, stamp, size)
    said, heard = payload_of(t, slot, size), payload_of(t, own, size)
    for i in range(size):
        heard[i] = said[i]
    t.slots[own, STAMP] = altered(conditions, seed, src, dst, channel, seq, stamp, now, heard, t.struck)
    leave_slot(t.control, t.slots, t.pool, slot)
    return own


@kernel
def deliver_again(d, now, src, channel, n, seq, slot, delay):
    """`deliver`, for the few that come twice."""
    deliver(opened(d), now, src, channel, n, seq, slot, delay)


@inlined
def deliver(t, now, src, channel, n, seq, slot, delay):
    """Have the message in `slot` come by link n after `delay`; it keeps its user unless it has gone to another loop, or found no room."""
    dst = t.links[n, DST]
    peer = t.nodes[dst, PEER]
    if peer < 0:
        # In the instant in which it was said a message has its place after what caused it: known if that is a tick, and nothing else comes of it.
        now_already = delay == 0 and t.nodes[src, HEARD_LATER] == 1 and t.control[BY_CLOCK] == 1
        code = at_once(channel, dst, src) if now_already else who(channel, dst, src)
        book(t, now + delay, code, dst, seq, t.links[n, IN_PORT], slot, delay > 0 or now_already)
    else:
        size = t.slots[slot, SIZE]
        row = row_at(t.peers, peer)
        if has_room(row, PREFIX + size):
            sent = nanoseconds(t.control[SYSTEM]) if t.control[WALL] == 1 else 0
            write(row, sent, now + delay, who(channel, dst, src), seq, t.slots[slot, STAMP], payload_of(t, slot, size))
            row[DUE] = min(row[DUE], now + delay)
        else:  # real time only: loops that share simulated time begin no event for which there is no room
            t.refused[n] += 1
        leave_slot(t.control, t.slots, t.pool, slot)


@kernel
def first_of(table, column, value):
    """The first row, of a table in the order of that column, which has that value there or a greater one."""
    low, high = 0, table.shape[0]
    while low < high:
        middle = (low + high) >> 1
        if table[middle, column] < value:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def post(d, seed, now, src, channel, only, slot):
    """Send the message in `slot` to every link of a channel (only < 0), or to one of them."""
    t = opened(d)
    t.nodes[src, SEQUENCE + channel] += 1
    seq = t.nodes[src, SEQUENCE + channel]
    first, count = t.nodes[src, FIRST_LINK + channel], t.nodes[src, LINK_COUNT + channel]
    if only >= 0:
        first, count = first + only, 1
    t.slots[slot, USERS] += count
    drawn = drawn_to = first
    for n in range(first, first + count):
        t.sent[n] += 1
        model = row_at(t.models, t.links[n, MODEL])
        stale = model[STALE]
        if stale == 0:
            if n >= drawn_to and model[FIXED] < 0:
                drawn, drawn_to = n, draw_for(d, seed, src, channel, n, min(n + DRAWN, first + count), seq)
            carry(d, seed, now, src, channel, n, seq, slot, n - drawn)
            continue
        ring = row_at(t.rings, first_of(t.rings, LINK, n))
        oldest = ring[OLDEST]
        place = ring[RING] + (oldest + ring[HELD_COUNT]) % (stale + 1)
        t.held[place, 0] = seq
        t.held[place, 1] = slot
        if ring[HELD_COUNT] < stale:
            ring[HELD_COUNT] += 1
            continue
        ring[OLDEST] = (oldest + 1) % (stale + 1)
        held_seq, held_slot = t.held[ring[RING] + oldest, 0], t.held[ring[RING] + oldest, 1]
        if model[FIXED] < 0:
            draw_for(d, seed, src, channel, n, n + 1, held_seq)
        carry(d, seed, now, src, channel, n, held_seq, held_slot, 0)


@inlined
def send(d, t, seed, now, node):
    """Send what is in the outbox of a node that has just been called."""
    for n in range(1, t.box[0, outbox.COUNT] + 1):
        channel, stamp, size = t.box[n, outbox.CHANNEL], t.box[n, outbox.STAMP], t.box[n, outbox.SIZE]
        if channel == TURN:
            push(t.control, t.agenda, max(now, stamp), who(TURN, node, node), 0, which(0, -1))
            continue
        slot = take_slot(t.control, t.slots, t.pool, stamp, size)
        payload, numbers = payload_of(t, slot, size), view(t.box_numbers, t.box[n, outbox.AT], (size,))
        for i in range(size):
            payload[i] = numbers[i]
        post(d, seed, now, node, channel, t.box[n, outbox.LINK], slot)
        leave_slot(t.control, t.slots, t.pool, slot)


@kernel
def peers_have_room(t):
    """Whether what one event can cause still fits into the rings to all peers."""
    words = t.control[NEED_EVENTS] * (PREFIX + t.pool.shape[1])
    fits = True
    for peer in range(t.peers.shape[0]):
        fits = fits and has_room(row_at(t.peers, peer), words)
    return fits


@inlined
def roomy(t):
    """Whether what one event can cause still fits, and is sure to find room with peers if nothing may be lost on the way to them."""
    return roomy_here(t) and (t.control[SHARES] == 0 or peers_have_room(t))


@inlined
def roomy_here(t):
    """Whether what one event can cause still fits into the tables."""
    control = t.control
    need = control[NEED_EVENTS]
    fits = control[EVENTS] + need <= t.agenda.shape[0] and control[FREE_ITEMS] >= need and control[FREE_COUNT] >= control[NEED_SLOTS]
    fits = fits and control[FREE_ROWS] >= control[NEED_ROWS]
    if taped(t):  # one event takes in all that waits at its node
        fits = fits and control[TAPED] + need + t.queue.shape[0] - control[FREE_ITEMS] <= t.tape.shape[0]
    return fits


@kernel
def expected(t, code):
    """The row of `arrive` for messages of that kind, receiver and sender, or -1."""
    row = first_of(t.arrive, 0, code)
    return row if row < t.arrive.shape[0] and t.arrive[row, 0] == code else -1
