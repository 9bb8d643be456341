"""Messages between two processes through a ring, in machine code as loops send them: for benchmarks/wire.py."""

import numpy as np

from asyncnet.kernels.kernel import entry, kernel, row_at
from asyncnet.kernels.pointer import wholes_at
from asyncnet.kernels.shared_words import load, nanoseconds
from asyncnet.loop.compiled.ring import IN, IN_WORDS, PREFIX, READ, SENT_AT, SIZE, WORDS, hand_over, has_room, let_go, waiting, word, write
from asyncnet.loop.compiled.sharing import sleep_until_rung

WAIT = 100_000_000  # nanoseconds


@kernel
def take(system, bell, peer, patience):
    """Wait for a message and take it; returns when it was sent."""
    while True:
        seen = load(bell)
        if waiting(peer) > 0:
            words = wholes_at(peer[IN] + 8 * WORDS, (peer[IN_WORDS],))
            first = peer[READ]
            sent = word(words, first + SENT_AT)
            peer[READ] = first + PREFIX + word(words, first + SIZE)
            let_go(peer)
            return sent
        sleep_until_rung(system, bell, seen, patience, WAIT)


@entry
def ask(system, bell, peers, hops, code, numbers, patience):
    """Send a message so many times, each after the answer to the last."""
    peer = row_at(peers, 0)
    for k in range(hops):
        write(peer, nanoseconds(system), 0, code, k, k, numbers)
        hand_over(system, peers)
        take(system, bell, peer, patience)


@entry
def answer(system, bell, peers, hops, code, numbers, patience):
    """Take so many messages and answer each; returns how long each was on its way, in nanoseconds."""
    peer, took = row_at(peers, 0), np.zeros(hops, dtype=np.int64)
    for k in range(hops):
        sent = take(system, bell, peer, patience)
        took[k] = nanoseconds(system) - sent
        write(peer, nanoseconds(system), 0, code, k, k, numbers)
        hand_over(system, peers)
    return took


@entry
def pour(system, bell, peers, count, code, numbers, patience):
    """Send so many messages, as fast as there is room; each is handed over at once, as after an event of a loop."""
    peer = row_at(peers, 0)
    for k in range(count):
        while not has_room(peer, PREFIX + numbers.shape[0]):
            hand_over(system, peers)
        write(peer, nanoseconds(system), 0, code, k, k, numbers)
        hand_over(system, peers)


@entry
def sink(system, bell, peers, count, code, numbers, patience):
    """Take so many messages; returns the nanoseconds from the first to the last."""
    peer = row_at(peers, 0)
    take(system, bell, peer, patience)
    began = nanoseconds(system)
    for _ in range(count - 1):
        take(system, bell, peer, patience)
    return nanoseconds(system) - began
