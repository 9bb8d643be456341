"""The compiled loop: what loop.py does, as machine code that comes back to Python only for a task that lives there, for the score, and for the wire.

Python builds it all (nodes, links, first ticks) and lays it out in tables; `go` handles events until one needs Python. At the end of `run` the
tables are written back, so between runs both loops hold the same in the same places. Same events, same order, same bits.

It may host a part of a team, in real time: what its nodes say to others is then collected for each peer and handed to the wire before the loop waits, and
what comes from there is put on its agenda. It sleeps until its next tick and takes all that has come at once, at a fraction of the wake-ups, unless a
node of it acts on arrival.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numba import types

from asyncnet.kernels.kernel import entry, inlined, kernel, row_at, view
from asyncnet.kernels.plain import as_python
from asyncnet.kernels.pointer import call, fetch
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
    take_slot,
    which,
    who,
)
from asyncnet.loop.compiled.inbox import ITEM_COLUMNS, NONE, take_first
from asyncnet.loop.compiled.tables import count, directory, grown, lay_out, under_way, write_back
from asyncnet.loop.ledger import REFUSED
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import TICK, TURN
from asyncnet.loop.timekeeper import NEVER
from asyncnet.loop.underway import NOTHING
from asyncnet.nodes.outbox import AGAIN, COUNT, LOOK, STEP, USED
from asyncnet.scenario.schema import Scenario

PAUSED, IDLE, FULL, STEPS, LOOKS = range(5)  # why `go` came back
AHEAD = 4  # lines of a node's state that are fetched ahead
FIRST_BATCH, LARGEST_BATCH = 1000, 100_000  # events handled without looking up
TAPE_AT_ONCE = 100  # events of which a busy loop hands a tape so many at a time; one that has heard nothing hands over what there is


class Wire(Protocol):
    """How a loop's messages reach other loops, and theirs reach it."""

    where: Mapping[int, str]  # which peer hosts a node

    def send(self, peer: str, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray | None:
        """Send messages: rows (n, 5) as in posting.out, and their payloads one after another; returns the rows that found no room, None if all did."""

    def receive(self, timeout: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Messages that have come, in the same form; waits up to `timeout` microseconds for the first."""


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
    while item != NONE and before(queue, item, control[p.LAST_AT], control[p.LAST_WHO], control[p.LAST_SEQ]):
        at, seq = queue[item, AT], queue[item, SEQ]
        kind, _dst, _src = of_who(queue[item, WHO])
        port, slot = of_which(queue[item, WHICH])
        t.came[row[p.FIRST_IN + kind] + port] += 1
        if noting:
            p.note(t, at, queue[item, WHO], seq)
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
        if t.nodes[node, p.INBOX] != NONE:
            if p.taped(t):
                take_in_noting(directory, node)
            else:
                take_in(directory, node)


@inlined
def go_on_ticking(t, seed, at, now, node):
    """Put the next tick in the place of this one."""
    row = row_at(t.nodes, node)
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


@entry
def go(directory, seed, batch, limit):
    """Handle events up to the time `limit` until Python is needed; returns (why, time of the first event left)."""
    t = p.opened(directory)
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
            if control[EVENTS] == 0:
                return IDLE, NEVER
            at = agenda[0, AT]
            if at > limit:
                return IDLE, at
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
            if row[p.INBOX] != NONE:
                if taped:
                    take_in_noting(directory, node)
                else:
                    take_in(directory, node)
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
        p.send(directory, t, seed, now, node)
        if flags & STEP:
            return STEPS, now
        if flags & LOOK:
            return LOOKS, now
    return PAUSED, 0


@entry
def admit(directory, rows, numbers, first, at):
    """Put messages from the wire on the agenda, from row `first`, whose payload starts at `at`; returns (rows done, numbers used, how many were refused)."""
    t = p.opened(directory)
    refused = 0
    for n in range(first, rows.shape[0]):
        if not p.roomy(t):
            return n, at, refused
        size = rows[n, 4]
        place = p.expected(t, rows[n, 1])
        if place < 0 or t.arrive[place, 2] != size:
            refused += 1
        else:
            slot = take_slot(t.control, t.slots, rows[n, 3], size)
            payload = p.payload_of(t, slot, size)
            for i in range(size):
                payload[i] = numbers[at + i]
            _kind, node, _src = of_who(rows[n, 1])
            p.book(t, t.control[p.LAST_AT], rows[n, 0], rows[n, 1], node, rows[n, 2], t.arrive[place, 1], slot)
        at += size
    return rows.shape[0], at, refused


_TABLE, _WHOLE = types.Array(types.int64, 2, "C"), types.int64
_ROWS, _NUMBERS = types.Array(types.int64, 2, "C", readonly=True), types.Array(types.float64, 1, "C", readonly=True)
# The entries and the types that they are called with; the last is for a wire only.
ENTRIES = ((go, (_TABLE, _WHOLE, _WHOLE, _WHOLE)), (take_all_in, (_TABLE,)), (admit, (_TABLE, _ROWS, _NUMBERS, _WHOLE, _WHOLE)))


class CompiledLoop(Loop):
    """A Loop, with the same constructor and the same results; with a `wire` it hosts the nodes `mine` of a team whose others are elsewhere."""

    def __init__(self, scenario: Scenario, keeper: Any, mine: Iterable[int] | None = None, wire: Wire | None = None, **how: Any) -> None:
        super().__init__(scenario, keeper, mine, **how)
        self.wire = wire
        self.malformed = 0  # messages from the wire that nobody here expects
        acts_on_arrival = any(row[0] == clock.ON_ARRIVAL for row in self.clocks.values())
        self.listens = acts_on_arrival or (0 in self.nodes and scenario.task.world.waits)

    def prepare(self, *, wired: bool = False) -> None:
        """Compile what the run will need, or find it compiled; `wired`: also what a wire needs."""
        super().prepare()
        self._lay_out()
        go(self._directory, self.seed, 0, 0)
        take_all_in(self._directory)
        under_way(self._tables)
        if wired:
            admit(self._directory, *_nothing(), 0, 0)

    def so_far(self) -> tuple[int, np.ndarray, np.ndarray]:
        """As Loop.so_far: from the tables, where compiled code counts."""
        tables = self._tables
        delivered = np.empty(len(self.plan.links), dtype=np.int64)
        delivered[self.plan.arriving] = tables.came
        return int(tables.control[p.NOW]), tables.nodes[:, p.TICKS].copy(), np.vstack((tables.sent.T, delivered))

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
            why, at = go(self._directory, self.seed, batch if self.stopped is None else 0, min(self.keeper.limit, until - 1))
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
            elif why == PAUSED:
                batch = _next_batch(batch, time.perf_counter() - began)
            if self._asked and not self._unfinished:
                self._catch_up()
                self._answer()
                self.expect(NOTHING)
        if self.wire is not None:
            self._flush()

    @property
    def _unfinished(self) -> bool:
        """Whether an event has more turns to come: it is finished before anybody looks at the state, or the loop is left."""
        return self._tables.control[p.MORE] >= 0

    def _idle(self, at: int) -> None:
        """Nothing is due before `at`."""
        if self.wire is not None:
            self._exchange(self.keeper.left(at))
        elif at == NEVER:
            self.now = int(self._tables.control[p.NOW])
            self._stall()
        else:
            self._write_tape()
            self.keeper.reach(at)

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
        where = {} if self.wire is None else {i: self.wire.where[i] for i in range(len(self.plan.nodes)) if i not in self.nodes and i in self.wire.where}
        self._peers = sorted(set(where.values()))
        self._take(lay_out(self, {i: self._peers.index(peer) for i, peer in where.items()}))

    def _take(self, tables: p.Tables) -> None:
        self._tables, self._directory = tables, directory(tables)

    def _make_room(self) -> None:
        if self.wire is not None:
            self._flush()
        self._take_all_in()  # nobody need wait for a node's tick to have its messages out of the way
        waiting = len(self._tables.queue) - int(self._tables.control[FREE_ITEMS])
        if int(self._tables.control[EVENTS]) + waiting > self.most_events and not self._unfinished:
            self._catch_up()
            self._give_up()
            self.expect(NOTHING)
        self._take(grown(self._tables))  # also then: a frame is taken in whole

    def _write_tape(self, least: int = 1) -> None:
        if self.tape is not None and self._tables.control[p.TAPED] >= least:
            self.tape(self._tables.tape[: self._tables.control[p.TAPED]].copy())
            self._tables.control[p.TAPED] = 0

    def _exchange(self, wait: int) -> None:
        """Send what waits to be sent, wait, and take in what has come."""
        self._flush()
        if self.listens:
            came = self.wire.receive(wait)
        else:
            self.keeper.reach(self.keeper.now + wait)
            came = self.wire.receive(0)
        self._write_tape(least=1 if not came else TAPE_AT_ONCE)
        for rows, numbers in came:
            self._admit(rows, numbers)

    def _admit(self, rows: np.ndarray, numbers: np.ndarray) -> None:
        done = at = 0
        while done < len(rows):
            done, at, refused = admit(self._directory, rows, numbers, done, at)
            self.malformed += refused
            if done < len(rows):
                self._make_room()

    def _refused(self, rows: np.ndarray) -> None:
        for kind, dst, src in zip(*as_python(of_who)(rows[:, 1]), strict=True):
            self.ledger[REFUSED, self.plan.link(int(kind), int(src), int(dst))] += 1

    def _flush(self) -> None:
        tables = self._tables
        for peer, (rows, numbers) in enumerate(tables.out_count.tolist()):
            if rows:
                refused = self.wire.send(self._peers[peer], tables.out[peer, :rows], tables.out_numbers[peer, :numbers])
                if refused is not None:
                    self._refused(refused)
        tables.out_count[:] = 0


def _next_batch(before: int, seconds: float) -> int:
    """Events to handle at a time, so that a request is heard within a twentieth of a second or so: a tick may take a microsecond or a tenth of a second."""
    return min(LARGEST_BATCH, max(1, min(8 * before, round(before * 0.05 / max(seconds, 1e-9)))))


def _nothing() -> tuple[np.ndarray, np.ndarray]:
    """No messages, in the form in which the wire hands them over: memory that is not to be written."""
    return np.frombuffer(b"", dtype=np.int64).reshape(0, p.OUT_COLUMNS), np.frombuffer(b"", dtype=np.float64)
