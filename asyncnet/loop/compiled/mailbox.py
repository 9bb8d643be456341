"""Small mailboxes in the compiled loop: loop/mailbox.py over tables.

A node that has one takes its messages as events, and each is then put into a heap like those of inbox.py, whose first and last item stand in the record of
what befalls the node (mishaps.py). At its tick the heap is strung on a chain, in order, as far as there may be room, each item's fate in the place of its first
child; then each is heard, dropped, or put back.
"""

import numpy as np

from asyncnet.kernels.kernel import inlined, kernel, row_at, view
from asyncnet.loop import mishaps, when
from asyncnet.loop.compiled import posting as p
from asyncnet.loop.compiled.agenda import AT, SEQ, WHICH, WHO, drop_first, of_which, of_who, who
from asyncnet.loop.compiled.inbox import CHILD, NEXT, NONE, free, put_aside, without_first
from asyncnet.loop.compiled.slots import leave_slot
from asyncnet.loop.mailbox import DROPPED, HEARD, WAITS
from asyncnet.loop.message import DROP


@inlined
def put_in(t, record, at, code, seq):
    """Have the first event of the agenda wait in the mailbox of that record."""
    what = t.agenda[0, WHICH]
    drop_first(t.control, t.agenda)
    first, last = put_aside(t.control, t.queue, np.int64(record[mishaps.BOX]), np.int64(record[mishaps.BOX_LAST]), at, code, seq, what)
    record[mishaps.BOX], record[mishaps.BOX_LAST] = first, last


@kernel
def gone(rows, seed, identity, at, now):
    """Whether a message that came at `at` waited when its node crashed."""
    found = False
    for n in range(rows.shape[0]):
        found = found or (rows[n, mishaps.KIND] == mishaps.CRASH and mishaps.begins(row_at(rows, n), seed, identity, at, now) <= now)
    return found


@kernel
def looks_at(rows, seed, identity, now):
    """How many messages at most are looked at for the first of these mailboxes that is on; and its fault, -1: at all that there are."""
    for n in range(rows.shape[0]):
        one = row_at(rows, n)
        if one[mishaps.KIND] >= mishaps.BLOCK and mishaps.on(one, seed, identity, now):
            if one[mishaps.KIND] == mishaps.BLOCK:
                return np.int64(one[mishaps.VALUE]), np.int64(one[mishaps.FAULT])
            break
    return np.int64(when.NEVER), np.int64(-1)


@kernel
def strung(d, node, rows, seed, now):
    """What is in a mailbox as a chain by NEXT, in order, as far as anybody looks; all are to be heard but those that are gone with crashes."""
    t = p.opened(d)
    queue, identity, record = t.queue, t.nodes[node, p.IDENTITY], view(t.real, t.nodes[node, p.MISHAPS], (mishaps.RECORD,))
    head, tail, item, count = NONE, NONE, np.int64(record[mishaps.BOX]), 0
    most, fault = looks_at(rows, seed, identity, now)
    while item != NONE:
        if count == most:
            t.struck[fault] += 1
            break
        rest = without_first(queue, item)
        lost = gone(rows, seed, identity, queue[item, AT], now)
        queue[item, NEXT], queue[item, CHILD] = NONE, DROPPED if lost else HEARD
        count += not lost
        if tail == NONE:
            head = item
        else:
            queue[tail, NEXT] = item
        tail, item = item, rest
    record[mishaps.BOX] = item
    return head


@kernel
def left_in(queue, head):
    """How many are to be heard."""
    count, item = 0, head
    while item != NONE:
        count += queue[item, CHILD] == HEARD
        item = queue[item, NEXT]
    return count


@kernel
def all_but(queue, head, first, last, verdict):
    """Have that come of those to be heard but for those from `first` to before `last` among them; returns of how many."""
    n, over, item = 0, 0, head
    while item != NONE:
        if queue[item, CHILD] == HEARD:
            if not first <= n < last:
                queue[item, CHILD] = verdict
                over += 1
            n += 1
        item = queue[item, NEXT]
    return over


@kernel
def all_but_the_newest(d, node, head):
    """Have those dropped that are not the newest of their link; returns how many."""
    t = p.opened(d)
    queue, newest, row, over = t.queue, t.newest, row_at(t.nodes, node), 0
    for pass_ in range(3):  # the greatest numbers, all others, and nothing is left of the numbers
        item = head
        while item != NONE:
            if queue[item, CHILD] == HEARD:
                kind, _dst, _src = of_who(queue[item, WHO])
                port, _slot = of_which(queue[item, WHICH])
                place, seq = row[p.FIRST_IN + kind] + port, queue[item, SEQ]
                if pass_ == 0:
                    newest[place] = max(newest[place], seq)
                elif pass_ == 1 and seq == newest[place]:
                    newest[place] += 1  # the same message may come twice
                elif pass_ == 1:
                    queue[item, CHILD] = DROPPED
                    over += 1
                else:
                    newest[place] = 0
            item = queue[item, NEXT]
    return over


@kernel
def sort_out(d, node, rows, seed, now, head):
    """Say of each message of the chain what becomes of it."""
    t = p.opened(d)
    queue, identity = t.queue, t.nodes[node, p.IDENTITY]
    for n in range(rows.shape[0]):
        one = row_at(rows, n)
        kind, room, fault = one[mishaps.KIND], np.int64(one[mishaps.VALUE]), np.int64(one[mishaps.FAULT])
        if kind < mishaps.BLOCK or not mishaps.on(one, seed, identity, now):
            continue
        if kind == mishaps.NEWEST_WINS:
            t.struck[fault] += all_but_the_newest(d, node, head)
        elif kind == mishaps.BLOCK:
            t.struck[fault] += min(1, all_but(queue, head, 0, room, WAITS))
        else:
            first = max(0, left_in(queue, head) - room) if kind == mishaps.DROP_OLDEST else 0
            t.struck[fault] += all_but(queue, head, first, first + room, DROPPED)


@kernel
def hears_next(d, node, head, seen):
    """From an item of the chain on, drop or put back all until one that is heard, which is returned: NONE, if none is left.

    It is freed by whoever has heard it; what comes after it in the chain is `NEXT`.
    """
    t = p.opened(d)
    control, queue, slots, row = t.control, t.queue, t.slots, row_at(t.nodes, node)
    record = view(t.real, row[p.MISHAPS], (mishaps.RECORD,))
    item = head
    while item != NONE and queue[item, CHILD] != HEARD:
        following, at, code, seq, what = queue[item, NEXT], queue[item, AT], queue[item, WHO], queue[item, SEQ], queue[item, WHICH]
        verdict = queue[item, CHILD]
        free(control, queue, item)
        if verdict == WAITS:
            first, last = put_aside(control, queue, np.int64(record[mishaps.BOX]), np.int64(record[mishaps.BOX_LAST]), at, code, seq, what)
            record[mishaps.BOX], record[mishaps.BOX_LAST] = first, last
        else:
            kind, dst, src = of_who(code)
            port, slot = of_which(what)
            t.came[row[p.FIRST_IN + kind] + port] += 1
            if p.taped(t):
                p.note(t, max(at, seen), who(kind + DROP, dst, src), seq)
            leave_slot(control, slots, t.pool, slot)
        item = following
    return item
