"""Handling events, as machine code: what loop.py's `_run` does, over tables; it comes back to Python when something there is wanted.

    take the first event of the agenda -> give it to its node, after the messages put aside for it -> send what the node says

`go` does it for a loop by itself. `go_together` does it for one that has others beside it: it also takes in what they have written, hands over what it has
written to them, and waits, on a real clock or for what they promise in simulated time (sharing.py).
"""

import numpy as np
from numba import types

from asyncnet.kernels.kernel import entry, inlined, kernel, lent, row_at, view
from asyncnet.kernels.pointer import call, fetch
from asyncnet.kernels.shared_words import load, nanoseconds, store, wait
from asyncnet.loop import mishaps
from asyncnet.loop.clock import next_tick
from asyncnet.loop.compiled import posting as p
from asyncnet.loop.compiled.agenda import (
    AT,
    EVENTS,
    SEQ,
    WHICH,
    WHO,
    before,
    drop_first,
    of_which,
    of_who,
    replace_first,
    which,
    who,
)
from asyncnet.loop.compiled.arrivals import take_in_what_came, take_what_came
from asyncnet.loop.compiled.inbox import ITEM_COLUMNS, NEVER_WAITS, NEXT, NONE, free, of_item, take_first
from asyncnet.loop.compiled.mailbox import hears_next, put_in, sort_out, strung
from asyncnet.loop.compiled.ring import AWAKE, SLEEPS, UNTIL_ITS_TICK, hand_over
from asyncnet.loop.compiled.sharing import AWAIT, GO_ON, LONGEST, MEET, NO_ROOM, STALL, asked, share, sleep_until_rung
from asyncnet.loop.compiled.slots import SIZE, SLOT_COLUMNS, STAMP, leave_slot
from asyncnet.loop.gauge import bin_of
from asyncnet.loop.message import ACTIVITY, FEEDBACK, TICK, TURN
from asyncnet.loop.timekeeper import NEVER
from asyncnet.nodes.outbox import AGAIN, COUNT, LOOK, STEP, USED

PAUSED, IDLE, FULL, STEPS, LOOKS, MEETS, STALLS = range(7)  # why `go` came back
AHEAD, FAR_AHEAD = 2, 12  # lines of a node's state that are fetched ahead: of one that has heard nothing, of one that has
NEXT_STATES, NEXT_ROWS = 3, 7  # of so many of the first events states are fetched, of so many more the rows of their nodes


@inlined
def wake(t, row, now, kind, port, seq, stamp, slot, size):
    """Give an event to the node of that row."""
    state = view(t.real, row[p.STATE], (row[p.STATE_SIZE],))
    config = view(t.real, row[p.CONFIG], (row[p.CONFIG_SIZE],))
    out, numbers = view(t.box, 0, t.box.shape), view(t.box_numbers, 0, t.box_numbers.shape)
    out[0, COUNT] = out[0, USED] = 0
    return call(row[p.ADDRESS], state, config, now, kind, port, seq, stamp, p.payload_of(t, slot, size), out, numbers)


@kernel
def rows_of(t, record):
    """What befalls the node of that record."""
    return view(t.real, np.int64(record[mishaps.ROWS]), (np.int64(record[mishaps.ROW_COUNT]), mishaps.COLUMNS))


@kernel
def bring_up(d, seed, node, now):
    """Bring a node up to `now` whom something befalls."""
    t = p.opened(d)
    row = row_at(t.nodes, node)
    record, size = view(t.real, row[p.MISHAPS], (mishaps.RECORD,)), row[p.STATE_SIZE]
    rows = rows_of(t, record)
    first = np.int64(record[mishaps.KEPT])
    kept = view(t.real, first, (min(rows.shape[0] * size, t.real.shape[0] - first),))  # a copy for each crash: no more than rows
    mishaps.bring_up(record, rows, seed, row[p.IDENTITY], view(t.real, row[p.STATE], (size,)), kept, now, t.struck)


@kernel
def read_mailbox(d, seed, node, now):
    """Give a node whose tick has come what has waited for it, as far as there was room."""
    t = p.opened(d)
    control, queue, slots, row = t.control, t.queue, t.slots, row_at(t.nodes, node)
    record = view(t.real, row[p.MISHAPS], (mishaps.RECORD,))
    rows, seen = rows_of(t, record), np.int64(record[mishaps.SEEN])
    head = strung(d, node, rows, seed, now)
    sort_out(d, node, rows, seed, now, head)
    item = hears_next(d, node, head, seen)
    while item != NONE:
        at, code, seq = max(queue[item, AT], seen), queue[item, WHO], queue[item, SEQ]
        kind, _dst, _src = of_who(code)
        port, slot = of_which(queue[item, WHICH])
        t.came[row[p.FIRST_IN + kind] + port] += 1
        if p.taped(t):
            p.note(t, at, code, seq)
        bring_up(d, seed, node, at)
        wake(t, row, at, kind, port, seq, slots[slot, STAMP], slot, slots[slot, SIZE])
        leave_slot(control, slots, t.pool, slot)
        following = queue[item, NEXT]
        free(control, queue, item)
        item = hears_next(d, node, following, seen)


@kernel
def passed_over(d, seed, at, now, code, seq):
    """Whether what befalls its node keeps the first event from being heard, and where it goes then."""
    t = p.opened(d)
    control, agenda, slots = t.control, t.agenda, t.slots
    kind, node, _src = of_who(code)
    row = row_at(t.nodes, node)
    record = view(t.real, row[p.MISHAPS], (mishaps.RECORD,))
    rows, boxed = rows_of(t, record), record[mishaps.BOX] != mishaps.NO_BOX
    if boxed and kind not in (TICK, TURN):
        put_in(t, record, at, code, seq)
        return True
    until = mishaps.passes_over(rows, seed, row[p.IDENTITY], boxed or row[p.INBOX] != NEVER_WAITS, kind, seq, now, t.struck)
    if until == 0:
        if boxed and kind == TICK:
            read_mailbox(d, seed, node, now)
        return False
    if kind == TICK:
        go_on_ticking(t, seed, at, now, node, 1)
    elif until > 0:
        replace_first(control, agenda, until, code, seq, agenda[0, WHICH])
    else:
        port, slot = of_which(agenda[0, WHICH])
        drop_first(control, agenda)
        t.came[row[p.FIRST_IN + kind] + port] += 1
        leave_slot(control, slots, t.pool, slot)
        if p.taped(t):
            p.note(t, now, code, seq)
    return True


@inlined
def _take_in(d, seed, node, noting):
    t = p.opened(d)
    row = row_at(t.nodes, node)
    control, queue, slots = t.control, t.queue, t.slots
    item = row[p.INBOX]
    while item >= 0 and before(queue, item, control[p.LAST_AT], control[p.LAST_WHO], control[p.LAST_SEQ]):
        at, seq = queue[item, AT], queue[item, SEQ]
        kind, dst, src = of_item(queue[item, WHO])
        port, slot = of_which(queue[item, WHICH])
        t.came[row[p.FIRST_IN + kind] + port] += 1
        if noting:
            p.note(t, at, who(kind, dst, src), seq)
        if row[p.MISHAPS] >= 0:
            bring_up(d, seed, node, at)
        wake(t, row, at, kind, port, seq, slots[slot, STAMP], slot, slots[slot, SIZE])
        leave_slot(control, slots, t.pool, slot)
        item = take_first(control, queue, item)
    row[p.INBOX] = item


# They open the tables anew: a kernel that is given them counts references to each. Two of them, chosen in `go` itself, because asking further in whether there
# is a tape cost many units a fifth of their speed.
@kernel
def take_in(d, seed, node):
    """Give a node the messages put aside for it that come before the last event."""
    _take_in(d, seed, node, False)


@kernel
def take_in_noting(d, seed, node):
    """The same, and write them on the tape."""
    _take_in(d, seed, node, True)


@entry
def take_all_in(directory, seed):
    """Give every node its messages that come before the last event, as if each had been an event."""
    t = p.opened(directory)
    for node in range(t.nodes.shape[0]):
        if t.nodes[node, p.INBOX] >= 0:
            if p.taped(t):
                take_in_noting(directory, seed, node)
            else:
                take_in(directory, seed, node)


@inlined
def number_of_tick(t, row):
    """The number of a node's next tick."""
    missed = np.int64(t.real[row[p.MISHAPS] + mishaps.MISSED]) if row[p.MISHAPS] >= 0 else 0
    return row[p.TICKS] + row[p.SKIPPED] + missed


@inlined
def next_due(t, seed, row, at):
    """When the tick after the one at `at` is due."""
    due = next_tick(view(t.real, row[p.CLOCK], (8,)), seed, row[p.IDENTITY], number_of_tick(t, row), at)
    if row[p.MISHAPS] >= 0:
        due = mishaps.due(rows_of(t, view(t.real, row[p.MISHAPS], (mishaps.RECORD,))), seed, row[p.IDENTITY], at, due, t.struck)
    return due


@inlined
def go_on_ticking(t, seed, at, now, node, missed):
    """Put the next tick in the place of this one, which was taken or `missed` (1)."""
    row = row_at(t.nodes, node)
    if t.late.shape[0] > 0:
        late = row_at(t.late, row[p.LATENESS])
        most = t.late.shape[1] - 1
        late[bin_of(1000 * (now - at))] += 1
        late[most] = max(late[most], 1000 * (now - at))
    row[p.TICKS] += 1 - missed
    befalls = row[p.MISHAPS]
    if befalls >= 0:
        t.real[befalls + mishaps.MISSED] += missed
    due = next_due(t, seed, row, at)
    while due <= now:  # real time only: ticks that have passed are skipped, not made up for, and counted
        row[p.SKIPPED] += 1
        due = next_due(t, seed, row, due)
    replace_first(t.control, t.agenda, due, who(TICK, node, node), number_of_tick(t, row), which(0, -1))


@inlined
def look_ahead(t):
    """Fetch from memory what the next events will touch, while this one is handled: a node's row, then its state and first message, then what that carries.

    In a heap those that come next are among the first; by the time that one is the very first its row has come.
    """
    nodes, queue, slots = view(t.nodes, 0, (t.nodes.size,)), view(t.queue, 0, (t.queue.size,)), view(t.slots, 0, (t.slots.size,))
    for n in range(min(NEXT_ROWS, t.control[EVENTS])):
        _kind, node, _src = of_who(t.agenda[n, WHO])
        row = node * p.NODE_COLUMNS
        if n >= NEXT_STATES:
            for line in range(p.NODE_COLUMNS // p.LINE):
                fetch(nodes, row + line * p.LINE)
            continue
        item = nodes[row + p.INBOX]
        if n == 0 and item >= 0:
            _port, slot = of_which(queue[item * ITEM_COLUMNS + WHICH])
            fetch(slots, slot * SLOT_COLUMNS)
            fetch(t.came, nodes[row + p.FIRST_IN + FEEDBACK])
            fetch(t.came, nodes[row + p.FIRST_IN + ACTIVITY])
        for line in range(AHEAD if item < 0 else FAR_AHEAD):
            fetch(t.real, nodes[row + p.STATE] + line * p.LINE)
        fetch(queue, max(0, item) * ITEM_COLUMNS)


@inlined
def begin_event(control, now, at, code, seq):
    """Note that an event is being handled."""
    control[p.NOW] = now
    last = control[p.LAST_AT]
    if at > last or (at == last and (code > control[p.LAST_WHO] or (code == control[p.LAST_WHO] and seq > control[p.LAST_SEQ]))):
        control[p.LAST_AT], control[p.LAST_WHO], control[p.LAST_SEQ] = at, code, seq


@kernel
def present(t):
    """Microseconds since the run began, in real time."""
    return (nanoseconds(t.control[p.SYSTEM]) - t.control[p.BEGAN]) // 1000


@kernel
def sleep_until(t, at):
    """In real time: sleep until then, or until a message wakes the loop, if messages do; returns GO_ON, or AWAIT if Python is to have a look."""
    control = t.control
    system, bell = control[p.SYSTEM], control[p.BELL]
    seen = load(bell)
    if asked(control):
        return AWAIT
    left = control[p.BEGAN] + 1000 * at - nanoseconds(system) if at < NEVER else LONGEST
    if left <= 0:
        return GO_ON
    if control[p.LISTENS] == 1:
        sleep_until_rung(system, bell, control[p.HEARD], control[p.PATIENCE], min(left, LONGEST))
    else:
        store(bell + 8 * SLEEPS, UNTIL_ITS_TICK)  # what comes is early enough at the next tick
        wait(system, bell, seen, min(left, LONGEST))
        store(bell + 8 * SLEEPS, AWAKE)
    if left < LONGEST or load(bell) != control[p.HEARD]:
        return GO_ON
    control[p.HEARD] -= 1  # look at every ring next time, rung or not
    return AWAIT


@inlined
def _go(d, seed, batch, limit, together):
    t = p.opened(d)
    control, agenda, slots, taped = t.control, t.agenda, t.slots, p.taped(t)
    left = batch
    while left > 0 or control[p.MORE] >= 0:
        left -= 1
        if not p.roomy(t):
            return FULL, 0
        node = control[p.MORE]
        if node >= 0:
            now = control[p.NOW]
            flags = wake(t, row_at(t.nodes, node), now, TICK, control[p.TICKED], 0, 0, p.NOWHERE, 0)
        else:
            if together:
                if control[p.SHARES] == 1:
                    limit = control[p.LIMIT]
                else:
                    if not take_what_came(d):
                        return FULL, 0
                    limit = present(t)
            if control[EVENTS] == 0 or agenda[0, AT] > limit:
                at = agenda[0, AT] if control[EVENTS] > 0 else NEVER
                if not together:
                    return IDLE, at
                why = share(d, at) if control[p.SHARES] == 1 else sleep_until(t, at)
                if why == GO_ON:
                    continue
                return (FULL if why == NO_ROOM else MEETS if why == MEET else STALLS if why == STALL else PAUSED), at
            at = agenda[0, AT]
            now = limit if control[p.WALL] == 1 else max(at, control[p.NOW])  # what has waited in a mailbox is older, when a run goes on
            code, seq = agenda[0, WHO], agenda[0, SEQ]
            kind, node, _src = of_who(code)
            port, slot = of_which(agenda[0, WHICH])
            row = row_at(t.nodes, node)
            begin_event(control, now, at, code, seq)
            control[p.BY_CLOCK] = kind == TICK
            if row[p.MISHAPS] >= 0 and passed_over(d, seed, at, now, code, seq):
                continue
            if kind == TICK:
                go_on_ticking(t, seed, at, now, node, 0)
                look_ahead(t)
            else:
                drop_first(control, agenda)
            if row[p.INBOX] >= 0:
                if taped:
                    take_in_noting(d, seed, node)
                else:
                    take_in(d, seed, node)
            if row[p.MISHAPS] >= 0:
                bring_up(d, seed, node, now)
            if taped:
                p.note(t, now, code, seq)
            if kind in (TICK, TURN):
                control[p.TICKED] = 2
                flags = wake(t, row, now, TICK, 1, seq if kind == TURN else 0, 0, p.NOWHERE, 0)
            else:
                t.came[row[p.FIRST_IN + kind] + port] += 1
                control[p.TICKED] = 0
                flags = wake(t, row, now, kind, port, seq, slots[slot, STAMP], slot, slots[slot, SIZE])
                leave_slot(control, slots, t.pool, slot)
        control[p.MORE] = node if flags & AGAIN else -1
        p.send(d, t, seed, now, node)
        if together and control[p.SHARES] == 0:
            p.publish(t)
            hand_over(control[p.SYSTEM], t.peers)
        if flags & STEP:
            return STEPS, now
        if flags & LOOK:
            return LOOKS, now
    return PAUSED, 0


@entry
def go(directory, seed, batch, limit):
    """Handle events up to the time `limit` until Python is needed; returns (why, time of the first event left)."""
    return _go(lent(directory), seed, batch, limit, False)


@entry
def go_together(directory, seed, batch):
    """The same in a loop that has others beside it: it hears them, reads the clock and waits, and comes back when Python is needed."""
    return _go(lent(directory), seed, batch, NEVER, True)


@entry
def make_way(directory):
    """Have peers read what there is for them, and take in what they have written; returns whether they have made room."""
    t = p.opened(directory)
    p.publish(t)
    hand_over(t.control[p.SYSTEM], t.peers)
    take_what_came(directory)
    return p.peers_have_room(t)


_TABLE, _WHOLE = types.Array(types.int64, 2, "C"), types.int64
# The entries and the types that they are called with; the others are for a loop that has others beside it.
ENTRIES = ((go, (_TABLE, _WHOLE, _WHOLE, _WHOLE)), (take_all_in, (_TABLE, _WHOLE)))
TOGETHER = ((go_together, (_TABLE, _WHOLE, _WHOLE)), (take_in_what_came, (_TABLE,)), (make_way, (_TABLE,)))
