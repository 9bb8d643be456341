"""Messages that wait at a node for its next tick, in the compiled loop: a pairing heap for each node, in one table of parcels.

A node on a clock of its own only takes a message in when it comes and acts on it at its next tick, so whether it hears it at once or just before that
tick is all one, as long as the order stays. Its messages therefore cost no event on the agenda, and its state is fetched once a tick.

A parcel is a row (AT, WHO, SEQ, WHICH, CHILD, NEXT), the first four as on the agenda; a free one's NEXT is the next free parcel. Messages mostly come
in the order in which they are due, and then putting one in costs one comparison. Source: Fredman, Sedgewick, Sleator & Tarjan 1986 (pairing heaps).
"""

from asyncnet.kernels.kernel import entry, kernel
from asyncnet.loop.compiled.agenda import AT, EVENT_COLUMNS, FREE_PARCEL, FREE_PARCELS, SEQ, WHO, before, put

CHILD, NEXT = range(EVENT_COLUMNS, EVENT_COLUMNS + 2)
PARCEL_COLUMNS = EVENT_COLUMNS + 2
NONE = -1


@kernel
def meld(parcels, a, b):
    """One heap made of the heaps under parcels a and b; returns its first parcel."""
    if before(parcels, b, parcels[a, AT], parcels[a, WHO], parcels[a, SEQ]):
        a, b = b, a
    parcels[b, NEXT] = parcels[a, CHILD]
    parcels[a, CHILD] = b
    return a


@kernel
def put_aside(control, parcels, first, at, code, seq, what):
    """Add a message to the heap under `first` (NONE: empty); returns the first parcel now."""
    parcel = control[FREE_PARCEL]
    control[FREE_PARCEL] = parcels[parcel, NEXT]
    control[FREE_PARCELS] -= 1
    put(parcels, parcel, at, code, seq, what)
    parcels[parcel, CHILD] = NONE
    return parcel if first == NONE else meld(parcels, first, parcel)


@kernel
def take_first(control, parcels, first):
    """Free the first parcel of a heap, which the caller has read; returns the next (NONE: it is empty now)."""
    rest, pairs = parcels[first, CHILD], NONE
    parcels[first, NEXT] = control[FREE_PARCEL]
    control[FREE_PARCEL] = first
    control[FREE_PARCELS] += 1
    while rest != NONE:  # neighbours in pairs, then the pairs from the last to the first
        one, other = rest, parcels[rest, NEXT]
        rest = NONE
        if other != NONE:
            rest = parcels[other, NEXT]
            one = meld(parcels, one, other)
        parcels[one, NEXT] = pairs
        pairs = one
    whole = pairs
    if whole != NONE:
        pairs = parcels[whole, NEXT]
        while pairs != NONE:
            following = parcels[pairs, NEXT]
            whole = meld(parcels, whole, pairs)
            pairs = following
    return whole


@entry
def mark_free(control, parcels, free):
    """Set `free` for the parcels that nobody uses."""
    parcel = control[FREE_PARCEL]
    while parcel != NONE:
        free[parcel] = True
        parcel = parcels[parcel, NEXT]
