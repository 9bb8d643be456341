"""How a host's loop reaches the others: a ring to each and one from each.

Where both are on one machine and may see each other's memory they share the rings; else a gateway (gateway.py) stands at the other end of them.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection, Mapping

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
    LEAST_SEQ,
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
    """A loop's rings to and from the other hosts (compiled_loop.Wire): `where` says which of them hosts each node.

    With `open_house` its memory can still be opened when all have joined, by hosts that come back (supervisor.py).
    """

    def __init__(self, loop: CompiledLoop, where: Mapping[int, str], *, open_house: bool = False) -> None:
        self.where, self.me, self._open_house = where, where[min(loop.nodes)], open_house
        self.names = sorted({*where.values()} - {self.me})
        every = sorted({*where.values()})
        need = loop.most_caused * (PREFIX + loop.largest) + PREFIX + len(every)
        self.memory = Memory(len(self.names), max(LEAST, 1 << (EVENTS * need - 1).bit_length()))
        self.bell, self.system = self.memory.bell, system()
        self.patience = PATIENT if len(every) <= len(os.sched_getaffinity(0)) else 0
        self.peers = np.zeros((len(self.names), PEER_COLUMNS), dtype=np.int64)
        self._places = [every.index(name) for name in self.names]
        self.opened: dict[str, Memory] = {}
        self._inside: dict[str, np.ndarray] = {}
        for name in self.names:
            self.part(name)

    def part(self, name: str) -> None:
        """Have nothing to do with a host any more: what was said to it and not read is gone, and what leads there ends here until it is joined."""
        number = self.names.index(name)
        ring, inside = self.memory.ring(number), self._inside.setdefault(name, np.zeros(WORDS, dtype=np.int64))
        inside[:] = 0
        self.peers[number] = 0
        ends = self.memory.gate_bell, inside.ctypes.data, 0
        self.peers[number, [OUT, OUT_WORDS, BELL_AT, IN, IN_WORDS]] = ring, self.memory.words, *ends
        self.peers[number, [PLACE, DUE, PROMISED]] = self._places[number], NEVER, -1
        self.memory.clear(number)
        self.opened.pop(name, None)

    def share(self, memories: Mapping[str, list[str]]) -> None:
        """Open the others' memories, by name, as far as that is possible, and tell them so in these."""
        for name, address in memories.items():
            if (found := Memory.of(address)) is not None and found.rings == len(self.names):
                found.read_by(self._ring_of(name), self.memory)
                self.opened[name] = found

    def _ring_of(self, name: str) -> int:
        """Which of another's rings leads here."""
        return sorted({*self.names, self.me} - {name}).index(self.me)

    def join(self, which: Collection[str] | None = None, least: int = 0) -> list[str]:
        """Settle, when all have shared what they can, which of these hosts (all, if None) are reached through memory; `least` is the least sequence number of
        what they say.

        Returns those that are not: what leads to them ends at a gateway.
        """
        away = []
        for number, (name, peer) in enumerate(zip(self.names, self.peers, strict=True)):
            if which is not None and name not in which:
                continue
            peer[LEAST_SEQ] = least
            other = self.opened.get(name)
            if other is not None and self.memory.is_read_by(number, other):
                peer[BELL_AT], peer[IN], peer[IN_WORDS] = other.bell, other.ring(self._ring_of(name)), other.words
            else:
                away.append(name)
                self._inside[name] = np.zeros(WORDS + self.memory.words, dtype=np.int64)
                peer[BELL_AT], peer[IN], peer[IN_WORDS] = self.memory.gate_bell, self._inside[name].ctypes.data, self.memory.words
        if not self._open_house:
            self.memory.hide()
        return away

    def wake(self) -> None:
        """Have the loop come back to Python; from any thread."""
        ask_for(self.system.ctypes.data, self.bell)
