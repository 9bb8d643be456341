"""What a learning node says: its values to all who hear it from above, and to each of its inputs the part of its feedback that is about that one.

A rule writes its feedback (B, I, M) at the beginning of the outbox's numbers (`feedback_room`); a slice of it that lies in one piece is sent from there.
"""

from asyncnet.kernels.kernel import inlined, kernel, view
from asyncnet.loop.message import ACTIVITY, FEEDBACK
from asyncnet.machines.hearing import START, WIDTH
from asyncnet.nodes.outbox import ALL, emit, reserve


@inlined
def feedback_room(c, out, numbers):
    """Where a rule writes its feedback: (B, I, M)."""
    reserve(out, c.B * c.I * c.M)
    return view(numbers, 0, (c.B, c.I, c.M))


@inlined
def emit_activity(v, c, out, numbers):
    """Say what is held: the episode of each stream, then its values."""
    v.repeats[0] = 0.0
    at = reserve(out, c.B + c.B * c.N)
    episodes, values = view(numbers, at, (c.B,)), view(numbers, at + c.B, (c.B * c.N,))
    y = view(v.y, 0, (c.B * c.N,))
    for b in range(c.B):
        episodes[b] = v.episode[b]
    for n in range(c.B * c.N):
        values[n] = y[n]
    emit(out, ACTIVITY, ALL, int(v.stamp[0]), at, c.B + c.B * c.N)


@kernel
def cut_out(c, start, width, at, numbers):
    """Put a slice of the feedback, of every stream, in one piece at numbers[at:]."""
    for b in range(c.B):
        here, there = view(numbers, b * c.I * c.M + start, (width,)), view(numbers, at + b * width, (width,))
        for i in range(width):
            there[i] = here[i]


@kernel
def emit_feedback(v, c, stamp, out, numbers):
    """Send the feedback about that stamp: to each input that listens the slice (B, its units, M) that concerns it."""
    for link in range(c.F):
        port = int(v.feedback_port[link])
        start, width = int(v.source[port, START]) * c.M, int(v.source[port, WIDTH]) * c.M
        at = start
        if c.B > 1:
            at = reserve(out, c.B * width)
            cut_out(c, start, width, at, numbers)
        emit(out, FEEDBACK, link, stamp, at, c.B * width)


@inlined
def emit_drive(v, c, stamp, out, numbers):
    """The same with the gate behind it, one number a stream."""
    for link in range(c.F):
        port = int(v.feedback_port[link])
        start, width = int(v.source[port, START]) * c.M, int(v.source[port, WIDTH]) * c.M
        size = c.B * (width + 1)
        if c.B == 1 and c.F == 1:  # all that was written is for one: the gate goes where the outbox goes on
            at = start
            reserve(out, 1)
        else:
            at = reserve(out, size)
            cut_out(c, start, width, at, numbers)
        gate = view(numbers, at + c.B * width, (c.B,))
        for b in range(c.B):
            gate[b] = v.gate[b]
        emit(out, FEEDBACK, link, stamp, at, size)
