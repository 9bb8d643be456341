"""The two entries of every machine, as they are compiled for each family (family.py): flat arrays in, fields and settings on.

A machine marks them @bound. `begin(v, c)` fills a fresh state: nothing heard, initial weights from keyed draws. `handle(v, c, now, kind, port, seq, stamp,
payload, out, numbers)` takes in one event and returns what it asks of its host (outbox.py). A message is its `payload`, said under `stamp`; at a TICK `port`
says why there is a turn: 1 by the clock or because the node asked for it, 2 as the host calls AGAIN after that, 0 as it calls again after a message.
"""

from collections.abc import Callable

from asyncnet.kernels.kernel import kernel, lent

cut = machine = None  # each family's own


def bound(function: Callable) -> Callable:
    """Mark an entry of a machine: it becomes part of what is compiled for each family."""
    return kernel(function)


def begin(state, config, numbers):
    """Fill a fresh state."""
    v, c = cut(lent(state), lent(config), lent(numbers))
    machine(v, c)


def handle(state, config, now, kind, port, seq, stamp, payload, out, numbers):
    """Take in one event; scratch fields lie behind the numbers of the outbox."""
    v, c = cut(lent(state), lent(config), lent(numbers))
    return machine(v, c, now, kind, port, seq, stamp, lent(payload), lent(out), lent(numbers))
