"""What a learning node says: its values to all who hear it from above, and to each of its inputs the part of its feedback that is about that one.

A rule writes its feedback (B, I, M) at the beginning of the outbox's numbers (`feedback_room`); a slice of it that lies in one piece is sent from there.
"""

from asyncnet.kernel import inlined, kernel, view
from asyncnet.machines.hearing import START, WIDTH
from asyncnet.message import ACTIVITY, FEEDBACK
from asyncnet.outbox import ALL, emit, reserve


@inlined
def feedback_room(c, out, numbers):
    """Where a rule writes its feedback: (B, I, M)."""
    reserve(out, c.B * c.I * c.M)
    return view(numbers, 0, (c.B, c.I, c.M))


@kernel
def say(v, c, out, numbers):
    """Say what is held: the episode of each stream, then its values."""
    v.repeats[0] = 0.0
    size = c.B + c.B * c.N
    at = reserve(out, size)
    for b in range(c.B):
        numbers[at + b] = v.episode[b]
        for n in range(c.N):
            numbers[at + c.B + b * c.N + n] = v.y[b, n]
    emit(out, ACTIVITY, ALL, int(v.stamp[0]), at, size)


@kernel
def feed_back(v, c, stamp, out, numbers):
    """Send the feedback about that stamp: to each input that listens the slice (B, its units, M) that concerns it."""
    for link in range(c.F):
        port = int(v.tells[link])
        start, width = int(v.port[port, START]) * c.M, int(v.port[port, WIDTH]) * c.M
        if c.B == 1:
            emit(out, FEEDBACK, link, stamp, start, width)
            continue
        at = reserve(out, c.B * width)
        for b in range(c.B):
            for i in range(width):
                numbers[at + b * width + i] = numbers[b * c.I * c.M + start + i]
        emit(out, FEEDBACK, link, stamp, at, c.B * width)


@kernel
def drive(v, c, stamp, out, numbers):
    """The same with the gate, one number a stream, at the head of each stream's slice."""
    for link in range(c.F):
        port = int(v.tells[link])
        start, width = int(v.port[port, START]) * c.M, int(v.port[port, WIDTH]) * c.M
        size = c.B * (1 + width)
        at = reserve(out, size)
        for b in range(c.B):
            first = at + b * (1 + width)
            numbers[first] = v.gate[b]
            for i in range(width):
                numbers[first + 1 + i] = numbers[b * c.I * c.M + start + i]
        emit(out, FEEDBACK, link, stamp, at, size)
