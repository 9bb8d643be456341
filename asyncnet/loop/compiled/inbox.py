"""Messages that wait at a node for its next tick, in the compiled loop: a pairing heap for each node, in one table, the queue.

A node on a clock of its own only takes a message in when it comes and acts on it at its next tick, so whether it hears it at once or just before that
tick is all one, as long as the order stays. Its messages therefore cost no event on the agenda, and its state is fetched once a tick.

An item is a row (AT, WHO, SEQ, WHICH, CHILD, NEXT), the first four as on the agenda; a free one's NEXT is the next free item. Messages mostly come
in the order in which they are due, and then putting one in costs one comparison. Source: Fredman, Sedgewick, Sleator & Tarjan 1986 (pairing heaps).
"""

from asyncnet.kernels.kernel import entry, kernel
from asyncnet.loop.compiled.agenda import AT, EVENT_COLUMNS, FREE_ITEM, FREE_ITEMS, SEQ, WHO, before, put

CHILD, NEXT = range(EVENT_COLUMNS, EVENT_COLUMNS + 2)
ITEM_COLUMNS = EVENT_COLUMNS + 2
NONE = -1


@kernel
def meld(queue, a, b):
    """One heap made of the heaps under items a and b; returns its first item."""
    if before(queue, b, queue[a, AT], queue[a, WHO], queue[a, SEQ]):
        a, b = b, a
    queue[b, NEXT] = queue[a, CHILD]
    queue[a, CHILD] = b
    return a


@kernel
def put_aside(control, queue, first, at, code, seq, what):
    """Add a message to the heap under `first` (NONE: empty); returns the first item now."""
    item = control[FREE_ITEM]
    control[FREE_ITEM] = queue[item, NEXT]
    control[FREE_ITEMS] -= 1
    put(queue, item, at, code, seq, what)
    queue[item, CHILD] = NONE
    return item if first == NONE else meld(queue, first, item)


@kernel
def take_first(control, queue, first):
    """Free the first item of a heap, which the caller has read; returns the next (NONE: it is empty now)."""
    rest, pairs = queue[first, CHILD], NONE
    queue[first, NEXT] = control[FREE_ITEM]
    control[FREE_ITEM] = first
    control[FREE_ITEMS] += 1
    while rest != NONE:  # neighbours in pairs, then the pairs from the last to the first
        one, other = rest, queue[rest, NEXT]
        rest = NONE
        if other != NONE:
            rest = queue[other, NEXT]
            one = meld(queue, one, other)
        queue[one, NEXT] = pairs
        pairs = one
    whole = pairs
    if whole != NONE:
        pairs = queue[whole, NEXT]
        while pairs != NONE:
            following = queue[pairs, NEXT]
            whole = meld(queue, whole, pairs)
            pairs = following
    return whole


@entry
def mark_free(control, queue, free):
    """Set `free` for the items that nobody uses."""
    item = control[FREE_ITEM]
    while item != NONE:
        free[item] = True
        item = queue[item, NEXT]
