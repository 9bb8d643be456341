"""The compiled loop: what loop.py does, as machine code that comes back to Python only for a task that lives there, for the score, and for the wire.

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
from numba import types

from asyncnet.kernels.kernel import entry, inlined, kernel, lent, row_at, view
from asyncnet.kernels.plain import PLAIN
from asyncnet.kernels.pointer import call, fetch
from asyncnet.kernels.shared_words import load, nanoseconds, store, wait
from asyncnet.loop import clock
from asyncnet.loop.clock import next_tick
from asyncnet.loop.compiled import posting as p
from asyncnet.loop.compiled.agenda import (
    AT,
    EVENTS,
    FREE_ITEMS,
    SEQ,
    SIZE,
    STAMP,
    WHICH,
    WHO,
    before,
    drop_first,
    leave_slot,
    of_which,
    of_who,
    replace_first,
    which,
    who,
)
from asyncnet.loop.compiled.arrivals import take_in_what_came, take_what_came
from asyncnet.loop.compiled.inbox import ITEM_COLUMNS, of_item, take_first
from asyncnet.loop.compiled.ring import SLEEPS, hand_over
from asyncnet.loop.compiled.sharing import AWAIT, GO_ON, LONGEST, MEET, NO_ROOM, STALL, asked, share, sleep_until_rung
from asyncnet.loop.compiled.tables import count, directory, grown, lay_out, under_way, write_back
from asyncnet.loop.gauge import BINS, bin_of
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import TICK, TURN
from asyncnet.loop.timekeeper import NEVER, Virtual
from asyncnet.loop.underway import NOTHING
from asyncnet.nodes.outbox import AGAIN, COUNT, LOOK, STEP, USED
from asyncnet.scenario.schema import Scenario

PAUSED, IDLE, FULL, STEPS, LOOKS, MEETS, STALLS = range(7)  # why `go` came back
AHEAD = 4  # lines of a node's state that are fetched ahead
FIRST_BATCH, LARGEST_BATCH = 1000, 100_000  # events handled without looking up
FEW = 1 << 15  # numbers in a table, a quarter of a megabyte, that may as well wait for ticks
CROWDED = 50e-6  # seconds to wait for a peer to read


class Wire(Protocol):
    """How a loop's messages reach other loops, and theirs reach it: rings (ring.py)."""

    where: Mapping[int, str]  # which peer hosts a node
    names: list[str]  # of the other loops
    peers: np.ndarray  # a row for each of them (ring.py)
    bell: int  # the address of this loop's
    system: np.ndarray  # shared_words.py


@inlined
def wake(t, row, now, kind, port, seq, stamp, slot, size):
    """Give an event to the node of that row."""
    state = view(t.real, row[p.STATE], (row[p.STATE_SIZE],))
    config = view(t.real, row[p.CONFIG], (row[p.CONFIG_SIZE],))
    out, numbers = view(t.box, 0, t.box.shape), view(t.box_numbers, 0, t.box_numbers.shape)
    out[0, COUNT] = out[0, USED] = 0
    return call(row[p.ADDRESS], state, config, now, kind, port, seq, stamp, p.payload_of(t, slot, size), out, numbers)


@inlined
def _take_in(d, node, noting):
    t = p.opened(d)
    row = row_at(t.nodes, node)
    control, queue, slots = t.control, t.queue, t.slots
    item = row[p.INBOX]
    while item >= 0 and before(queue, item, control[p.LAST_AT], control[p.LAST_WHO], control[p.LAST_SEQ]):
        at, seq = queue[item, AT], queue[item, SEQ]
        kind, dst, src = of_item(queue[item, WHO])
        port, slot = of_which(queue[item, WHICH])
        t.came[row[p.FIRST_IN + kind] + port] += 1
        if noting:
            p.note(t, at, who(kind, dst, src), seq)
        wake(t, row, at, kind, port, seq, slots[slot, STAMP], slot, slots[slot, SIZE])
        leave_slot(control, slots, slot)
        item = take_first(control, queue, item)
    row[p.INBOX] = item


# They open the tables anew: a kernel that is given them counts references to each. Two of them, chosen in `go` itself, because asking further in whether there
# is a tape cost many units a fifth of their speed.
@kernel
def take_in(d, node):
    """Give a node the messages put aside for it that come before the last event."""
    _take_in(d, node, False)


@kernel
def take_in_noting(d, node):
    """The same, and write them on the tape."""
    _take_in(d, node, True)


@entry
def take_all_in(directory):
    """Give every node its messages that come before the last event, as if each had been an event."""
    t = p.opened(directory)
    for node in range(t.nodes.shape[0]):
        if t.nodes[node, p.INBOX] >= 0:
            if p.taped(t):
                take_in_noting(directory, node)
            else:
                take_in(directory, node)


@inlined
def go_on_ticking(t, seed, at, now, node):
    """Put the next tick in the place of this one."""
    row = row_at(t.nodes, node)
    if t.late.shape[0] > 0:
        late = row_at(t.late, row[p.LATENESS])
        most = t.late.shape[1] - 1
        late[bin_of(1000 * (now - at))] += 1
        late[most] = max(late[most], 1000 * (now - at))
    row[p.TICKS] += 1
    times = view(t.real, row[p.CLOCK], (8,))
    due = next_tick(times, seed, row[p.IDENTITY], row[p.TICKS] + row[p.SKIPPED], at)
    while due <= now:  # real time only: ticks that have passed are skipped, not made up for, and counted
        row[p.SKIPPED] += 1
        due = next_tick(times, seed, row[p.IDENTITY], row[p.TICKS] + row[p.SKIPPED], due)
    replace_first(t.control, t.agenda, due, who(TICK, node, node), row[p.TICKS] + row[p.SKIPPED], which(0, -1))


@inlined
def look_ahead(t):
    """Fetch from memory what the next ticks will touch, while this one is handled: rows of two nodes, state and messages of the one whose row has come."""
    nodes, queue = view(t.nodes, 0, (t.nodes.size,)), view(t.queue, 0, (t.queue.size,))
    for n in range(min(3, t.control[EVENTS])):
        _kind, node, _src = of_who(t.agenda[n, WHO])
        row = node * p.NODE_COLUMNS
        if n > 0:
            for line in range(p.NODE_COLUMNS // p.LINE):
                fetch(nodes, row + line * p.LINE)
        else:
            for line in range(AHEAD):
                fetch(t.real, nodes[row + p.STATE] + line * p.LINE)
            fetch(queue, max(0, nodes[row + p.INBOX]) * ITEM_COLUMNS)


@inlined
def begin_event(control, now, at, code, seq):
    """Note that an event is being handled."""
    control[p.NOW] = now
    last = control[p.LAST_AT]
    if at > last or (at == last and (code > control[p.LAST_WHO] or (code == control[p.LAST_WHO] and seq > control[p.LAST_SEQ]))):
        control[p.LAST_AT], control[p.LAST_WHO], control[p.LAST_SEQ] = at, code, seq


@kernel
def present(t):
    """Microseconds since the run began, in real time."""
    return (nanoseconds(t.control[p.SYSTEM]) - t.control[p.BEGAN]) // 1000


@kernel
def sleep_until(t, at):
    """In real time: sleep until then, or until a message wakes the loop, if messages do; returns GO_ON, or AWAIT if Python is to have a look."""
    control = t.control
    system, bell = control[p.SYSTEM], control[p.BELL]
    seen = load(bell)
    if asked(control):
        return AWAIT
    left = control[p.BEGAN] + 1000 * at - nanoseconds(system) if at < NEVER else LONGEST
    if left <= 0:
        return GO_ON
    if control[p.LISTENS] == 1:
        sleep_until_rung(system, bell, control[p.HEARD], control[p.PATIENCE], min(left, LONGEST))
    else:
        store(bell + 8 * SLEEPS, 2)  # what comes is early enough at the next tick
        wait(system, bell, seen, min(left, LONGEST))
        store(bell + 8 * SLEEPS, 0)
    if left < LONGEST:
        return GO_ON
    control[p.HEARD] -= 1  # look at every ring next time, rung or not
    return AWAIT


@inlined
def _go(d, seed, batch, limit, together):
    t = p.opened(d)
    control, agenda, slots, taped = t.control, t.agenda, t.slots, p.taped(t)
    left = batch
    while left > 0 or control[p.MORE] >= 0:
        left -= 1
        if not p.roomy(t):
            return FULL, 0
        node = control[p.MORE]
        if node >= 0:
            now = control[p.NOW]
            flags = wake(t, row_at(t.nodes, node), now, TICK, control[p.TICKED], 0, 0, p.NOWHERE, 0)
        else:
            if together:
                if control[p.SHARES] == 1:
                    limit = control[p.LIMIT]
                else:
                    if not take_what_came(d):
                        return FULL, 0
                    limit = present(t)
            if control[EVENTS] == 0 or agenda[0, AT] > limit:
                at = agenda[0, AT] if control[EVENTS] > 0 else NEVER
                if not together:
                    return IDLE, at
                why = share(d, at) if control[p.SHARES] == 1 else sleep_until(t, at)
                if why == GO_ON:
                    continue
                return (FULL if why == NO_ROOM else MEETS if why == MEET else STALLS if why == STALL else PAUSED), at
            at = agenda[0, AT]
            now = limit if control[p.WALL] == 1 else at
            code, seq = agenda[0, WHO], agenda[0, SEQ]
            kind, node, _src = of_who(code)
            port, slot = of_which(agenda[0, WHICH])
            row = row_at(t.nodes, node)
            begin_event(control, now, at, code, seq)
            if kind == TICK:
                go_on_ticking(t, seed, at, now, node)
                look_ahead(t)
            else:
                drop_first(control, agenda)
            if row[p.INBOX] >= 0:
                if taped:
                    take_in_noting(d, node)
                else:
                    take_in(d, node)
            if taped:
                p.note(t, now, code, seq)
            if kind in (TICK, TURN):
                control[p.TICKED] = 2
                flags = wake(t, row, now, TICK, 1, 0, 0, p.NOWHERE, 0)
            else:
                t.came[row[p.FIRST_IN + kind] + port] += 1
                control[p.TICKED] = 0
                flags = wake(t, row, now, kind, port, seq, slots[slot, STAMP], slot, slots[slot, SIZE])
                leave_slot(control, slots, slot)
        control[p.MORE] = node if flags & AGAIN else -1
        p.send(d, t, seed, now, node)
        if together and control[p.SHARES] == 0:
            hand_over(control[p.SYSTEM], t.peers)
        if flags & STEP:
            return STEPS, now
        if flags & LOOK:
            return LOOKS, now
    return PAUSED, 0


@entry
def go(directory, seed, batch, limit):
    """Handle events up to the time `limit` until Python is needed; returns (why, time of the first event left)."""
    return _go(lent(directory), seed, batch, limit, False)


@entry
def go_together(directory, seed, batch):
    """The same in a loop that has others beside it: it hears them, reads the clock and waits, and comes back when Python is needed."""
    return _go(lent(directory), seed, batch, NEVER, True)


@entry
def make_way(directory):
    """Have peers read what there is for them, and take in what they have written; returns whether they have made room."""
    t = p.opened(directory)
    hand_over(t.control[p.SYSTEM], t.peers)
    take_what_came(directory)
    return p.peers_have_room(t)


_TABLE, _WHOLE = types.Array(types.int64, 2, "C"), types.int64
# The entries and the types that they are called with; the others are for a loop that has others beside it.
ENTRIES = ((go, (_TABLE, _WHOLE, _WHOLE, _WHOLE)), (take_all_in, (_TABLE,)))
TOGETHER = ((go_together, (_TABLE, _WHOLE, _WHOLE)), (take_in_what_came, (_TABLE,)), (make_way, (_TABLE,)))


class CompiledLoop(Loop):
    """A Loop, with the same constructor and the same results; with a `wire` it hosts the nodes `mine` of a team whose others are elsewhere."""

    def __init__(self, scenario: Scenario, keeper: Any, mine: Iterable[int] | None = None, wire: Wire | None = None, **how: Any) -> None:
        super().__init__(scenario, keeper, mine, **how)
        self.wire = wire
        self.malformed = 0  # messages from others that made no sense, or that nobody here expects
        self.took = np.zeros((TICK, BINS + 1), dtype=np.int64)  # how long messages took, by channel, in nanoseconds: a histogram (gauge.py), and the sum
        timed = 0 if mine is None or isinstance(keeper, Virtual) else sum(map(bool, self.nodes))
        self.late = np.zeros((timed, BINS + 1), dtype=np.int64)  # how late ticks were, by node, in nanoseconds: a histogram, and the most
        self.shared = np.zeros((0, 0), dtype=np.int64), np.zeros((0, 0), dtype=np.int64)  # of simulated time (sharing.py)
        acts_on_arrival = any(row[0] == clock.ON_ARRIVAL for row in self.clocks.values())
        self.listens = acts_on_arrival or (0 in self.nodes and scenario.task.world.waits)

    def prepare(self, *, wired: bool = False) -> None:
        """Compile what the run will need, or find it compiled; `wired`: also what a wire needs."""
        super().prepare()
        self._lay_out()
        go(self._directory, self.seed, 0, 0)
        take_all_in(self._directory)
        under_way(self._tables)
        for made, signature in TOGETHER if wired and not PLAIN else ():
            made.compile(signature)  # there is nobody yet to call them with

    def so_far(self) -> tuple[int, np.ndarray, np.ndarray]:
        """As Loop.so_far: from the tables, where compiled code counts."""
        tables = self._tables
        delivered = np.empty(len(self.plan.links), dtype=np.int64)
        delivered[self.plan.arriving] = tables.came
        return int(tables.control[p.NOW]), tables.nodes[:, p.TICKS].copy(), np.vstack((tables.sent[:, :2].T, delivered))

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
        take_all_in(self._directory)
        self._write_tape()

    def _lay_out(self) -> None:
        self._take(lay_out(self))

    def _take(self, tables: p.Tables) -> None:
        self._tables, self._directory = tables, directory(tables)

    def _make_room(self) -> None:
        self._write_tape()
        self._take(grown(self._tables, FEW))  # what all links hold from one tick to the next should find room, or this is soon due again
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
            self.tape(self._tables.tape[: self._tables.control[p.TAPED]].copy())
            self._tables.control[p.TAPED] = 0


def _next_batch(before: int, seconds: float) -> int:
    """Events to handle at a time, so that a request is heard within a twentieth of a second or so: a tick may take a microsecond or a tenth of a second."""
    return min(LARGEST_BATCH, max(1, min(8 * before, round(before * 0.05 / max(seconds, 1e-9)))))
