"""The way to hosts with whom no memory is shared: two threads that move the same messages between rings and a courier, as frames.

What a loop wrote for a peer is read here in its stead, and what came from the peer is written to the loop in its stead; so a loop knows rings only.
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Collection

import numpy as np

from asyncnet.kernels.kernel import entry, row_at
from asyncnet.kernels.pointer import numbers_at, wholes_at
from asyncnet.kernels.shared_words import load, system
from asyncnet.loop.compiled.agenda import KIND_SHIFT
from asyncnet.loop.compiled.arrivals import LATEST, PROMISE
from asyncnet.loop.compiled.ring import (
    AT,
    BELL_AT,
    IN,
    IN_WORDS,
    OUT,
    OUT_WORDS,
    PEER_COLUMNS,
    PREFIX,
    READ,
    SIZE,
    WORDS,
    hand_over,
    has_room,
    let_go,
    ring_bell,
    waiting,
    word,
    write,
)
from asyncnet.loop.compiled.sharing import sleep_until_rung

from .courier import SENDER, Courier
from .lines import Lines

WAIT = 100_000  # microseconds without looking up
FULL = 0.001  # seconds until a ring without room is looked at again
ROWS = 1000  # messages of a frame
NUMBERS = 2**17  # of a frame, unless one message has more


@entry
def collect(ends, n, rows, numbers):
    """Read what a loop has written for the n-th peer, as far as there is room; returns how many rows and numbers that is."""
    end = row_at(ends, n)
    some = waiting(end)
    words = wholes_at(end[IN] + 8 * WORDS, (end[IN_WORDS],))
    values = numbers_at(end[IN] + 8 * WORDS, (end[IN_WORDS],))
    until, count, used = end[READ] + max(0, some), 0, 0
    while end[READ] < until and count < rows.shape[0]:
        first = end[READ]
        size = word(words, first + SIZE)
        if used + size > numbers.shape[0]:
            break
        for i in range(5):
            rows[count, i] = word(words, first + AT + i)
        for i in range(size):
            numbers[used + i] = word(values, first + PREFIX + i)
        end[READ] = first + PREFIX + size
        count += 1
        used += size
    let_go(end)
    return count, used


@entry
def pass_on(system, ends, n, rows, numbers, first, at, sent):
    """Write to a loop what came from the n-th peer, from that row on, as far as there is room; returns how many rows and numbers are done."""
    end = row_at(ends, n)
    while first < rows.shape[0]:
        size = rows[first, 4]
        if not has_room(end, PREFIX + size):
            break
        write(end, sent, rows[first, 0], rows[first, 1], rows[first, 2], rows[first, 3], numbers[at : at + size])
        first += 1
        at += size
    hand_over(system, ends)
    return first, at


@entry
def sleep(system, bell, seen, duration):
    """Wait until the bell is rung, for so many nanoseconds at most."""
    sleep_until_rung(system, bell, seen, 0, duration)


@entry
def rung(bell):
    """How often a bell has been rung."""
    return load(bell)


@entry
def knock(system, bell):
    """Ring a bell."""
    ring_bell(system, bell)


class Gateway:
    """Moves what a loop has to say to peers to a courier, and back, once it is given them (`take`); `failed` is told the traceback of what goes wrong.

    `began` is when the run's time began, in nanoseconds of this machine's monotonic clock. With `whole` nothing may be refused: a message that is ends the run.
    """

    def __init__(self, lines: Lines, courier: Courier, began: Callable[[], int], failed: Callable[[str], None], *, whole: bool) -> None:
        self._lines, self._courier, self._began, self._failed, self._whole = lines, courier, began, failed, whole
        self._ends = np.zeros((len(lines.names), PEER_COLUMNS), dtype=np.int64)
        self._ends[:, BELL_AT] = lines.bell
        self._away: list[int] = []  # the numbers of those that are reached from here
        self._moving = threading.Lock()  # held while anything is moved
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._every = sorted({*lines.names, lines.me})
        self._closed = False
        self.moved = 0  # frames that have come
        self._threads = [
            threading.Thread(target=self._guarded, args=(what,), name=f"gateway-{what.__name__}", daemon=True) for what in (self.send, self.receive)
        ]

    @property
    def opened(self) -> bool:
        """Whether anything is moved."""
        return self._threads[0].ident is not None

    def take(self, names: Collection[str]) -> None:
        """Move what goes to these peers and comes from them from now on, as lines.Lines.join has said."""
        with self._moving:
            for number in map(self._lines.names.index, names):
                self._ends[number] = 0
                self._ends[number, [IN, IN_WORDS, OUT, OUT_WORDS]] = self._lines.peers[number, [OUT, OUT_WORDS, IN, IN_WORDS]]
                self._ends[number, BELL_AT] = self._lines.bell
                self._away.append(number)
        if names and not self.opened:
            for thread in self._threads:
                thread.start()

    def leave(self, names: Collection[str]) -> None:
        """Have nothing to do with these peers any more."""
        with self._moving:
            self._away = [number for number in self._away if self._lines.names[number] not in names]

    def have(self, what: Callable[[], None]) -> None:
        """Have the thread that sends do something, for a courier belongs to it; returns when that is done."""
        if not self.opened:
            what()
            return
        done = threading.Event()
        self._asked.put(lambda: (what(), done.set()))
        self._knock()
        done.wait()

    def close(self) -> None:
        """End both threads."""
        self._closed = True
        self._courier.wake()
        self._knock()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _knock(self) -> None:
        """Have the thread that sends look up."""
        mine = system()
        knock(mine.ctypes.data, self._lines.memory.gate_bell)

    def _guarded(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception:
            if not self._closed:
                self._failed(traceback.format_exc())

    def send(self) -> None:
        """Until it is closed: what the loop writes goes out."""
        mine, bell = system(), self._lines.memory.gate_bell
        rows, numbers = np.zeros((ROWS, 5), dtype=np.int64), np.zeros(max(NUMBERS, self._courier.largest, len(self._every)))
        while not self._closed:
            seen, some = rung(bell), False
            while not self._asked.empty():
                self._asked.get()()
            with self._moving:
                for n in self._away:
                    count, used = collect(self._ends, n, rows, numbers)
                    if count:
                        some = True
                        refused = self._courier.send(self._lines.names[n], rows[:count], numbers[:used])
                        if refused is not None:
                            if self._whole:
                                raise RuntimeError("the wire had no room: messages of a window are lost")
                            self._courier.turn_away(refused[:, 1])
            if not some:
                sleep(mine.ctypes.data, bell, seen, 1000 * WAIT)

    def receive(self) -> None:
        """Until it is closed: what has come is written to the loop."""
        mine = system()
        while not self._closed:
            for rows, numbers, sent in self._courier.receive(WAIT):
                self.moved += 1
                first = at = 0
                while not self._closed:
                    with self._moving:
                        if (n := self._from(int(rows[-1, 1]))) is None or not 0 <= sent < LATEST:
                            self._courier.malformed += len(rows) - first
                            break
                        first, at = pass_on(mine.ctypes.data, self._ends, n, rows, numbers, first, at, self._began() + 1000 * sent)
                    if first == len(rows):
                        break
                    time.sleep(FULL)

    def _from(self, code: int) -> int | None:
        """Which of the peers a frame with that message is from; the loop sees to it that all of its messages are."""
        src = code & SENDER
        if code >> KIND_SHIFT == PROMISE:
            name = self._every[src] if src < len(self._every) else None
        else:
            name = self._lines.where.get(src)
        number = self._lines.names.index(name) if name in self._lines.names else None
        return number if number in self._away else None
