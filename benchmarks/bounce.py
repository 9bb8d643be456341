"""Messages between two processes through a ring, in machine code as loops send them: for benchmarks/wire.py."""

import numpy as np

from asyncnet.kernels.kernel import entry, kernel, row_at
from asyncnet.kernels.pointer import wholes_at
from asyncnet.kernels.shared_words import load, nanoseconds
from asyncnet.loop.compiled.ring import IN, IN_WORDS, PREFIX, READ, SENT_AT, SIZE, WORDS, hand_over, has_room, let_go, waiting, word, write
from asyncnet.loop.compiled.sharing import sleep_until_rung

WAIT = 100_000_000  # nanoseconds
BATCH = 200  # messages handed over at once


@kernel
def take(system, bell, peer, most, patience):
    """Wait for messages and take what has come, at most so many; returns how many, and when the last was sent."""
    while True:
        seen = load(bell)
        end = peer[READ] + waiting(peer)
        if end > peer[READ]:
            words = wholes_at(peer[IN] + 8 * WORDS, (peer[IN_WORDS],))
            taken, sent = 0, 0
            while peer[READ] < end and taken < most:
                first = peer[READ]
                sent = word(words, first + SENT_AT)
                peer[READ] = first + PREFIX + word(words, first + SIZE)
                taken += 1
            let_go(peer)
            return taken, sent
        sleep_until_rung(system, bell, seen, patience, WAIT)


@entry
def ask(system, bell, peers, hops, code, numbers, patience):
    """Send a message so many times, each after the answer to the last."""
    peer = row_at(peers, 0)
    for k in range(hops):
        write(peer, nanoseconds(system), 0, code, k, k, numbers)
        hand_over(system, peers)
        take(system, bell, peer, 1, patience)


@entry
def answer(system, bell, peers, hops, code, numbers, patience):
    """Take so many messages and answer each; returns how long each was on its way, in nanoseconds."""
    peer, took = row_at(peers, 0), np.zeros(hops, dtype=np.int64)
    for k in range(hops):
        _, sent = take(system, bell, peer, 1, patience)
        took[k] = nanoseconds(system) - sent
        write(peer, nanoseconds(system), 0, code, k, k, numbers)
        hand_over(system, peers)
    return took


@kernel
def _pour(system, peers, count, batch, code, numbers):
    """Send so many messages, as fast as there is room; a batch is handed over at once, as what an event of a loop has said."""
    peer = row_at(peers, 0)
    for first in range(0, count, batch):
        last = min(first + batch, count)
        while not has_room(peer, (last - first) * (PREFIX + numbers.shape[0])):
            pass
        now = nanoseconds(system)
        for k in range(first, last):
            write(peer, now, 0, code, k, k, numbers)
        hand_over(system, peers)


@entry
def pour(system, bell, peers, count, code, numbers, patience):
    """Send so many messages, each by itself."""
    _pour(system, peers, count, 1, code, numbers)


@entry
def pour_batches(system, bell, peers, count, code, numbers, patience):
    """Send so many messages, BATCH at a time."""
    _pour(system, peers, count, BATCH, code, numbers)


@entry
def sink(system, bell, peers, count, code, numbers, patience):
    """Take so many messages; returns the nanoseconds from the first to the last."""
    peer = row_at(peers, 0)
    taken, _ = take(system, bell, peer, count, patience)
    began = nanoseconds(system)
    while taken < count:
        more, _ = take(system, bell, peer, count, patience)
        taken += more
    return nanoseconds(system) - began
