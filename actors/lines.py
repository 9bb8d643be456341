"""How a host's loop reaches the others: a ring to each and one from each.

Where both are on one machine and may see each other's memory they share the rings; else a gateway (gateway.py) stands at the other end of them.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping

import numpy as np

from asyncnet.kernels.kernel import entry
from asyncnet.kernels.shared_words import add, store, system, wake
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.compiled.ring import (
    ASKED,
    BELL_AT,
    DUE,
    IN,
    IN_WORDS,
    OUT,
    OUT_WORDS,
    PEER_COLUMNS,
    PLACE,
    PREFIX,
    PROMISED,
    WORDS,
)
from asyncnet.loop.timekeeper import NEVER

from .memory import Memory

LEAST = 2**13  # words of a ring
EVENTS = 4  # events whose messages have room in a ring, whatever they are
PATIENT = 20_000  # nanoseconds to look for what comes before sleeping, where every loop has a core of its own


_PR_SET_TIMERSLACK = 29


def let_timers_be_exact() -> None:
    """Have sleeping of this thread end when it should: Linux else lets it be 50 microseconds late, to wake fewer times."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1)


@entry
def ask_for(system, bell):
    """Have a loop come back to Python as soon as it is between two events."""
    store(bell + 8 * ASKED, 1)
    add(bell, 1)
    wake(system, bell)


class Lines:
    """A loop's rings to and from the other hosts (compiled_loop.Wire): `where` says which of them hosts each node."""

    def __init__(self, loop: CompiledLoop, where: Mapping[int, str]) -> None:
        self.where, self.me = where, where[min(loop.nodes)]
        self.names = sorted({*where.values()} - {self.me})
        every = sorted({*where.values()})
        need = loop.most_caused * (PREFIX + loop.largest) + PREFIX + len(every)
        self.memory = Memory(len(self.names), max(LEAST, 1 << (EVENTS * need - 1).bit_length()))
        self.bell, self.system = self.memory.bell, system()
        self.patience = PATIENT if len(every) <= len(os.sched_getaffinity(0)) else 0
        self.peers = np.zeros((len(self.names), PEER_COLUMNS), dtype=np.int64)
        self.peers[:, PLACE] = [every.index(name) for name in self.names]
        self.peers[:, DUE], self.peers[:, PROMISED] = NEVER, -1
        self.opened: dict[str, Memory] = {}
        self._inside: list[np.ndarray] = []

    def share(self, memories: Mapping[str, list[str]]) -> None:
        """Open the others' memories, by name, as far as that is possible, and tell them so in these."""
        for name, address in memories.items():
            if (found := Memory.of(address)) is not None and found.rings == len(self.names):
                found.read_by(self._ring_of(name), self.memory)
                self.opened[name] = found

    def _ring_of(self, name: str) -> int:
        """Which of another's rings leads here."""
        return sorted({*self.names, self.me} - {name}).index(self.me)

    def join(self) -> list[str]:
        """Settle, when all have shared what they can, who is reached through memory; returns those that are not: what leads to them ends at a gateway."""
        away = []
        for number, (name, peer) in enumerate(zip(self.names, self.peers, strict=True)):
            peer[OUT], peer[OUT_WORDS] = self.memory.ring(number), self.memory.words
            other = self.opened.get(name)
            if other is not None and self.memory.is_read_by(number, other):
                peer[BELL_AT], peer[IN], peer[IN_WORDS] = other.bell, other.ring(self._ring_of(name)), other.words
            else:
                away.append(name)
                self._inside.append(np.zeros(WORDS + self.memory.words, dtype=np.int64))
                peer[BELL_AT], peer[IN], peer[IN_WORDS] = self.memory.gate_bell, self._inside[-1].ctypes.data, self.memory.words
        self.memory.hide()
        return away

    def wake(self) -> None:
        """Have the loop come back to Python; from any thread."""
        ask_for(self.system.ctypes.data, self.bell)
