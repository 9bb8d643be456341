"""The compiled loop: what loop.py does, as machine code (go.py) that comes back to Python only for a task that lives there, for the score, and for the wire.

Python builds it all (nodes, links, first ticks) and lays it out in tables; `go` handles events until one needs Python. At the end of `run` the
tables are written back, so between runs both loops hold the same in the same places. Same events, same order, same bits.

It may host a part of a team: what its nodes say to others is then written into rings (ring.py), and what others have written is put on its agenda, all in
machine code. In real time it sleeps until its next tick and takes all that has come at once, at a fraction of the wake-ups, unless a node of it acts on
arrival.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from asyncnet.kernels.plain import PLAIN
from asyncnet.loop import clock
from asyncnet.loop.compiled import posting as p
from asyncnet.loop.compiled.agenda import EVENTS, FREE_ITEMS
from asyncnet.loop.compiled.arrivals import take_in_what_came
from asyncnet.loop.compiled.go import FULL, IDLE, LOOKS, MEETS, PAUSED, STALLS, STEPS, TOGETHER, go, go_together, make_way, take_all_in
from asyncnet.loop.compiled.tables import count, directory, grown, lay_out, under_way, write_back
from asyncnet.loop.gauge import BINS
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import TICK
from asyncnet.loop.timekeeper import NEVER, Virtual
from asyncnet.loop.underway import NOTHING
from asyncnet.scenario.schema import Scenario

FIRST_BATCH, LARGEST_BATCH = 1000, 100_000  # events handled without looking up
FEW = 1 << 15  # numbers in a table, a quarter of a megabyte, that may as well wait for ticks
IN_VAIN = 100_000  # times that a world which waits asks for a decision, in simulated time
CROWDED = 50e-6  # seconds to wait for a peer to read


class Wire(Protocol):
    """How a loop's messages reach other loops, and theirs reach it: rings (ring.py)."""

    where: Mapping[int, str]  # which peer hosts a node
    names: list[str]  # of the other loops
    peers: np.ndarray  # a row for each of them (ring.py)
    bell: int  # the address of this loop's
    system: np.ndarray  # shared_words.py


class CompiledLoop(Loop):
    """A Loop, with the same constructor and the same results; with a `wire` it hosts the nodes `mine` of a team whose others are elsewhere."""

    def __init__(self, scenario: Scenario, keeper: Any, mine: Iterable[int] | None = None, wire: Wire | None = None, **how: Any) -> None:
        super().__init__(scenario, keeper, mine, **how)
        self.wire = wire
        self._asks = -1, 0  # the decision that a world has been seen to wait for, and since when
        self.malformed = 0  # messages from others that made no sense, or that nobody here expects
        self.outlived = 0  # and those from processes that were given up
        self.took = np.zeros((TICK, BINS + 1), dtype=np.int64)  # how long messages took, by channel, in nanoseconds: a histogram (gauge.py), and the sum
        timed = 0 if mine is None or isinstance(keeper, Virtual) else sum(map(bool, self.nodes))
        self.late = np.zeros((timed, BINS + 1), dtype=np.int64)  # how late ticks were, by node, in nanoseconds: a histogram, and the most
        self.strip = np.zeros((0, 3), dtype=np.int64)  # where what is on the tape outlives this process (posting.py)
        self.shared = np.zeros((0, 0), dtype=np.int64), np.zeros((0, 0), dtype=np.int64)  # of simulated time (sharing.py)
        acts_on_arrival = any(row[0] == clock.ON_ARRIVAL for row in self.clocks.values())
        self.listens = acts_on_arrival or (0 in self.nodes and scenario.task.world.waits)

    def prepare(self, *, wired: bool = False) -> None:
        """Compile what the run will need, or find it compiled; `wired`: also what a wire needs."""
        super().prepare()
        self._lay_out()
        go(self._directory, self.seed, 0, 0)
        take_all_in(self._directory, self.seed)
        under_way(self._tables)
        for made, signature in TOGETHER if wired and not PLAIN else ():
            made.compile(signature)  # there is nobody yet to call them with

    def so_far(self) -> tuple[int, np.ndarray, np.ndarray]:
        """As Loop.so_far, in the time that compiled code has come to."""
        return int(self._tables.control[p.NOW]), *super().so_far()[1:]

    @property
    def most_caused(self) -> int:
        """How many messages one event causes at most."""
        return int(self._tables.control[p.NEED_EVENTS])

    @property
    def largest(self) -> int:
        """How many numbers a message has at most, of those said or heard here."""
        return self._tables.pool.shape[1]

    def _run(self, progress: Callable[[Loop], None] | None, until: int) -> None:
        self._lay_out()
        self.expect(NOTHING)  # the agenda is in the tables now
        try:
            self._handle(None if progress is None else lambda _: (self._take_all_in(), count(self, self._tables), progress(self)), until)
        finally:
            self._catch_up()

    def _handle(self, progress: Callable[[Loop], Any] | None, until: int) -> None:
        batch = FIRST_BATCH
        while self.stopped is None or self._unfinished:
            began = time.perf_counter()
            why, at = self._go(batch if self.stopped is None else 0, until)
            if why == IDLE:
                if at >= until < NEVER:
                    self._come_to(until)
                    self._pause(until)
                    break
                self._idle(at)
            elif why == STEPS:
                self.nodes[int(self._tables.control[p.MORE])].step()
            elif why == LOOKS:
                self.now = at
                self._look(progress)
            elif why == FULL:
                self._make_room()
            elif why == MEETS:
                self._meet()
            elif why == STALLS:
                self._stall()
            elif why == PAUSED:
                batch = _next_batch(batch, time.perf_counter() - began)
                if self.wire is not None:
                    self._write_tape()
                elif isinstance(self.keeper, Virtual):
                    self._be_patient()
            if self._asked and not self._unfinished:
                self._catch_up()
                self._answer()
                self.expect(NOTHING)

    def _go(self, batch: int, until: int) -> tuple[int, int]:
        if self.wire is None:
            return go(self._directory, self.seed, batch, min(self.keeper.limit, until - 1))
        self._tables.control[p.BEGAN] = self.keeper.start
        return go_together(self._directory, self.seed, batch)

    @property
    def _unfinished(self) -> bool:
        """Whether an event has more turns to come: it is finished before anybody looks at the state, or the loop is left."""
        return self._tables.control[p.MORE] >= 0

    def _idle(self, at: int) -> None:
        """Nothing is due before `at`."""
        if at == NEVER:
            self.now = int(self._tables.control[p.NOW])
            self._stall()
        else:
            self._write_tape()
            self.keeper.reach(at)

    def _be_patient(self) -> None:
        """End a run whose world waits in vain, in simulated time: it would ask again for ever."""
        settings, now = self.scenario.task.world, int(self._tables.control[p.NOW])
        if self.score is None or not settings.waits:
            return
        stamp = int(self.nodes[0].view.stamp[0])
        if stamp != self._asks[0]:
            self._asks = stamp, now
        elif now - self._asks[1] > IN_VAIN * self.tick * max(1.0, settings.timeout, settings.interval):
            self.now = now
            self.stop(f"stalled: the world has asked for decision {stamp} since {self._asks[1] / 1e6:.3f} s, in vain")

    def _meet(self) -> None:
        """All loops that share simulated time have come to one instant."""
        raise NotImplementedError

    def _come_to(self, at: int) -> None:
        """Nothing is left to do before `at`: be there."""
        self._tables.control[[p.NOW, p.LAST_AT, p.LAST_WHO, p.LAST_SEQ]] = at, at, 0, 0

    def _catch_up(self) -> None:
        """Bring all that a Loop holds up to date."""
        self._take_all_in()
        write_back(self, self._tables)

    def _take_all_in(self) -> None:
        self._write_tape()
        take_all_in(self._directory, self.seed)
        self._write_tape()

    def _lay_out(self) -> None:
        self._take(lay_out(self))

    def _take(self, tables: p.Tables) -> None:
        self._tables, self._directory = tables, directory(tables)

    def _make_room(self) -> None:
        self._write_tape()
        self._take(grown(self._tables, FEW))  # what all links hold from one tick to the next should find room, or this is soon due again
        if not self._unfinished:  # a tape holds what an event has lost right behind it
            self._take_all_in()  # nobody need wait for a node's tick to have its messages out of the way
        waiting = len(self._tables.queue) - int(self._tables.control[FREE_ITEMS])
        if int(self._tables.control[EVENTS]) + waiting > self.most_events and not self._unfinished:
            self._catch_up()
            self._give_up()
            self.expect(NOTHING)
        self._take(grown(self._tables))
        if self.wire is not None and not make_way(self._directory):
            time.sleep(CROWDED)

    def take_in(self) -> None:
        """Take in what others have written and bring all that a Loop holds up to date: for one that stands still, or has ended, so that nobody hears of it."""
        while not take_in_what_came(self._directory):
            self._take(grown(self._tables))
        write_back(self, self._tables)

    def _write_tape(self) -> None:
        if self.tape is not None and self._tables.control[p.TAPED] > 0:
            rows = self._tables.tape[: self._tables.control[p.TAPED]].copy()
            self._publish(rows[self._tables.control[p.PUBLISHED] :])
            self.tape(rows)
            self._tables.control[[p.TAPED, p.PUBLISHED]] = 0

    def _publish(self, rows: np.ndarray) -> None:
        """What posting.publish does."""
        if len(self.strip):
            places = 1 + (self.strip[0, 0] + np.arange(len(rows))) % (len(self.strip) - 1)
            self.strip[places] = rows
            self.strip[0, 0] += len(rows)


def _next_batch(before: int, seconds: float) -> int:
    """Events to handle at a time, so that a request is heard within a twentieth of a second or so: a tick may take a microsecond or a tenth of a second."""
    return min(LARGEST_BATCH, max(1, min(8 * before, round(before * 0.05 / max(seconds, 1e-9)))))
