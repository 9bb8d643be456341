"""The outbox: where a node's kernels put what it sends, as rows that both loops, the wire and the tape treat alike.

`out` is a table of whole numbers. Row 0 says how many rows there are and how many of the numbers are in use; each other row is a message (CHANNEL, LINK,
STAMP, AT, SIZE): `numbers[AT : AT + SIZE]` goes to link LINK of that channel, or to ALL of them. A row of channel TURN asks for a turn of the node's own at
time STAMP. Whoever calls a node has emptied its outbox, and sends what is in it, in this order, before anything else happens.
"""

from asyncnet.kernels.kernel import inlined
from asyncnet.loop.message import TURN

COUNT, USED = range(2)  # of row 0
CHANNEL, LINK, STAMP, AT, SIZE = range(5)
COLUMNS = 5
ALL = -1

AGAIN, STEP, LOOK = 1, 2, 4
"""What a node asks of its host beside that, as the flags that its `handle` returns: to be called again at once, after what it has sent; before that, to have
its task stepped, which lives in Python; to have its score looked at."""


@inlined
def reserve(out, size):
    """Room for so many numbers; returns where it begins."""
    at = out[0, USED]
    out[0, USED] = at + size
    return at


@inlined
def emit(out, channel, link, stamp, at, size):
    """Send numbers[at : at + size] to one link of a channel, or to ALL."""
    row = out[0, COUNT] + 1
    out[0, COUNT] = row
    out[row, CHANNEL] = channel
    out[row, LINK] = link
    out[row, STAMP] = stamp
    out[row, AT] = at
    out[row, SIZE] = size


@inlined
def call_me(out, at):
    """Ask for a turn at that time; a machine that does so says how many of these it may wait for at once (TURNS)."""
    emit(out, TURN, ALL, at, 0, 0)
