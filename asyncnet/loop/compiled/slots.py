"""What messages under way carry, in the compiled loop: a slot for each, whatever number of events carries it.

A slot is a row (USERS, STAMP, SIZE, PLACE, numbers), a line of the processor's cache. A message of few numbers keeps them there (most are: an episode and a
value, a piece of credit); a larger one has a row of `pool`, as wide as the widest message. Free slots hang together by USERS, free rows of the pool by their
first number. Arrays grow in Python only, between events.
"""

from asyncnet.kernels.kernel import inlined, kernel, view
from asyncnet.kernels.pointer import fetch
from asyncnet.loop.compiled.agenda import FREE, FREE_COUNT, FREE_ROW, FREE_ROWS

USERS, STAMP, SIZE, PLACE, NUMBERS = range(5)
SLOT_COLUMNS = 8
SMALL = SLOT_COLUMNS - NUMBERS  # numbers that a slot has room for


@inlined
def numbers_of(slots, small, pool, slot, size):
    """The numbers that a slot carries, so many; `small` are the slots as float64."""
    if size <= SMALL:
        return view(small, slot * SLOT_COLUMNS + NUMBERS, (size,))
    return view(pool, slots[slot, PLACE] * pool.shape[1], (size,))


@kernel
def take_slot(control, slots, pool, stamp, size):
    """A free slot with room for so many numbers and one user: who takes it."""
    slot = control[FREE]
    following = slots[slot, USERS]
    control[FREE] = following
    control[FREE_COUNT] -= 1
    fetch(view(slots, 0, (slots.size,)), max(0, following) * SLOT_COLUMNS)
    slots[slot, USERS] = 1
    slots[slot, STAMP] = stamp
    slots[slot, SIZE] = size
    if size > SMALL:
        row = control[FREE_ROW]
        control[FREE_ROW] = int(pool[row, 0])
        control[FREE_ROWS] -= 1
        slots[slot, PLACE] = row
    return slot


@kernel
def leave_slot(control, slots, pool, slot):
    """One user less; the last one frees the slot."""
    slots[slot, USERS] -= 1
    if slots[slot, USERS] == 0:
        if slots[slot, SIZE] > SMALL:
            row = slots[slot, PLACE]
            pool[row, 0] = control[FREE_ROW]
            control[FREE_ROW] = row
            control[FREE_ROWS] += 1
        slots[slot, USERS] = control[FREE]
        control[FREE] = slot
        control[FREE_COUNT] += 1
