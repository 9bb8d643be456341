"""Messages that wait at a node for its next tick, in the compiled loop: a pairing heap for each node, in one table, the queue.

A node on a clock of its own only takes a message in when it comes and acts on it at its next tick, so whether it hears it at once or just before that
tick is all one, as long as the order stays. Its messages therefore cost no event on the agenda, and its state is fetched once a tick.

An item is a row (AT, WHO, SEQ, WHICH, CHILD, NEXT), the first four as on the agenda; a free one's NEXT is the next free item. Messages mostly come
in the order in which they are due; then a new one goes under the last, and putting it in and taking it out cost one comparison. Source: Fredman, Sedgewick,
Sleator & Tarjan 1986 (pairing heaps).

A message may be heard at the very instant in which a tick said it. On the agenda it would come right after that tick and before all that is left of the
instant; so its WHO is that of the tick, but for what it needs of the message: at_once(kind, dst, src).
"""

import numpy as np

from asyncnet.kernels.kernel import entry, inlined, kernel, view
from asyncnet.kernels.pointer import fetch
from asyncnet.loop.compiled.agenda import AT, BITS, EVENT_COLUMNS, FREE_ITEM, FREE_ITEMS, MASK, SEQ, WHO, before, of_who, put, who
from asyncnet.loop.message import TICK

CHILD, NEXT = range(EVENT_COLUMNS, EVENT_COLUMNS + 2)
ITEM_COLUMNS = EVENT_COLUMNS + 2
NONE, NEVER_WAITS = -1, -2  # in the place of a node's first item: it has none; it has no clock, so its messages are events on the agenda

_NODE_BITS = np.int64(26)  # 67 million nodes are enough here; of WHO's 29 bits that leaves three for the kind
_NODE_MASK = np.int64((1 << 26) - 1)


@inlined
def at_once(kind, dst, src):
    """WHO of an item that a tick of `src` said and `dst` hears in the same instant."""
    return who(TICK, src, (kind << _NODE_BITS) | dst)


@kernel
def of_at_once(code):
    """(kind, dst, src) of such an item."""
    return (code >> _NODE_BITS) & 7, code & _NODE_MASK, (code >> BITS) & MASK


@inlined
def of_item(code):
    """(kind, dst, src) of any item."""
    kind, dst, src = of_who(code)
    if kind == TICK:
        kind, dst, src = of_at_once(code)
    return kind, dst, src


@kernel
def meld(queue, a, b):
    """One heap made of the heaps under items a and b; returns its first item."""
    if before(queue, b, queue[a, AT], queue[a, WHO], queue[a, SEQ]):
        a, b = b, a
    queue[b, NEXT] = queue[a, CHILD]
    queue[a, CHILD] = b
    return a


@kernel
def put_aside(control, queue, first, last, at, code, seq, what):
    """Add a message to a heap of which the first and the last item are these (`first` NONE: it is empty); returns what they are now."""
    item = control[FREE_ITEM]
    control[FREE_ITEM] = queue[item, NEXT]
    fetch(view(queue, 0, (queue.size,)), max(0, control[FREE_ITEM]) * ITEM_COLUMNS)
    control[FREE_ITEMS] -= 1
    put(queue, item, at, code, seq, what)
    queue[item, CHILD] = NONE
    if first == NONE:
        return item, item
    if before(queue, last, at, code, seq):
        queue[item, NEXT] = queue[last, CHILD]
        queue[last, CHILD] = item
        return first, item
    return meld(queue, first, item), last


@inlined
def free(control, queue, item):
    """Have an item that is in no heap be used for another message."""
    queue[item, NEXT] = control[FREE_ITEM]
    control[FREE_ITEM] = item
    control[FREE_ITEMS] += 1


@kernel
def take_first(control, queue, first):
    """Free the first item of a heap, which the caller has read; returns the next (NONE: it is empty now)."""
    rest = without_first(queue, first)
    free(control, queue, first)
    return rest


@inlined
def without_first(queue, first):
    """Take the first item out of a heap; returns the next (NONE: it is empty now)."""
    rest, pairs = queue[first, CHILD], NONE
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
