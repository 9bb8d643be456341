"""Between the two loops: `lay_out` turns what a Loop holds into the tables of the compiled loop, `write_back` turns it back."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from asyncnet.kernels.plain import as_python
from asyncnet.kernels.pointer import address
from asyncnet.loop import clock, mishaps, underway
from asyncnet.loop.compiled import posting as p
from asyncnet.loop.compiled.agenda import (
    AT,
    EVENT_COLUMNS,
    EVENTS,
    FREE,
    FREE_COUNT,
    FREE_ITEM,
    FREE_ITEMS,
    FREE_ROW,
    FREE_ROWS,
    SEQ,
    WHICH,
    WHO,
    of_which,
    of_who,
    which,
    who,
)
from asyncnet.loop.compiled.inbox import ITEM_COLUMNS, NEVER_WAITS, NEXT, NONE, mark_free, of_at_once
from asyncnet.loop.compiled.ring import PEER_COLUMNS
from asyncnet.loop.compiled.slots import NUMBERS, PLACE, SIZE, SLOT_COLUMNS, SMALL, STAMP, USERS
from asyncnet.loop.message import CHANNELS, TICK, Message
from asyncnet.loop.timekeeper import Virtual
from asyncnet.loop.underway import UnderWay
from asyncnet.nodes import outbox
from asyncnet.team import network

if TYPE_CHECKING:
    from asyncnet.loop.compiled.compiled_loop import CompiledLoop
    from asyncnet.loop.loop import Loop

TAPE = 4096  # events that are written down before Python takes them
_who, _of_who, _which, _of_which, _of_at_once = map(as_python, (who, of_who, which, of_which, of_at_once))


class _Arena:
    """One array made of many; `put` says where each will lie."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.shared: dict[bytes, int] = {}
        self.size = 0

    def put(self, part: np.ndarray) -> int:
        self.parts.append(part)
        self.size += part.size
        return self.size - part.size

    def share(self, part: np.ndarray) -> int:
        """The same for an array that never changes: equal ones lie in one place."""
        key = part.tobytes()
        if key not in self.shared:
            self.shared[key] = self.put(part)
        return self.shared[key]


def lay_out(loop: CompiledLoop) -> p.Tables:
    """The tables of a loop. Its nodes move into them: a node's state is now a slice of `real`."""
    arena, plan, wire = _Arena(), loop.plan, loop.wire
    nodes = _lined_up(len(plan.nodes), p.NODE_COLUMNS)
    nodes[:, p.IDENTITY] = [node.identity for node in plan.nodes]
    nodes[:, p.INBOX] = NEVER_WAITS
    nodes[:, [p.PEER, p.MISHAPS]] = -1
    if wire is not None:
        elsewhere = {i: name for i, name in wire.where.items() if i not in loop.nodes}
        nodes[list(elsewhere), p.PEER] = [wire.names.index(name) for name in elsewhere.values()]
    links = np.ascontiguousarray(np.column_stack((plan.links[:, [network.DST, network.PORT]], loop.models.of)))
    for i in sorted(loop.nodes):
        row, node = nodes[i], loop.nodes[i]
        for channel in CHANNELS.values():
            outgoing = plan.outgoing(i, channel)
            row[p.FIRST_LINK + channel], row[p.LINK_COUNT + channel] = outgoing.start, len(outgoing)
            row[p.FIRST_IN + channel] = plan.incoming(i, channel).start
        row[p.ADDRESS] = address(node.bound.handle)
        row[p.STATE], row[p.STATE_SIZE] = arena.put(node.state), node.size
        row[p.CONFIG], row[p.CONFIG_SIZE] = arena.share(node.config), node.config.size
        if i:
            row[p.CLOCK] = arena.share(loop.clocks[i])
            row[p.INBOX] = NONE if loop.clocks[i][0] != clock.ON_ARRIVAL else NEVER_WAITS
    for i, befalls in loop.mishaps.items():
        if i in loop.boxes:  # its messages are events, which are put into its mailbox
            nodes[i, p.INBOX] = NEVER_WAITS
            befalls.record[mishaps.BOX] = NONE
        befalls.record[[mishaps.KEPT, mishaps.ROWS]] = arena.put(befalls.kept), arena.share(befalls.rows.ravel())
        nodes[i, p.MISHAPS] = arena.put(befalls.record)
    _count_in(loop, nodes)
    simulated = isinstance(loop.keeper, Virtual)
    waiting = (nodes[:, p.INBOX] != NEVER_WAITS) | (nodes[:, p.PEER] >= 0)  # messages between loops that share simulated time take some
    nodes[:, p.HEARD_LATER] = waiting & simulated
    nodes[plan.links[~waiting[plan.links[:, network.DST]], network.SRC], p.HEARD_LATER] = False
    models = np.zeros((len(loop.models.models), p.MODEL_COLUMNS), dtype=np.int64)
    for number, model in enumerate(loop.models.models):
        conditions = arena.put(np.concatenate(([model.retry], model.conditions.ravel())))
        models[number] = model.fixed, conditions, len(model.conditions), model.stale, model.alters, model.paced
    stale = np.flatnonzero(models[loop.models.of, p.STALE]).tolist()
    sizes = [loop.models.at(n).stale + 1 for n in stale]
    rings = np.zeros((len(stale), p.RING_COLUMNS), dtype=np.int64)
    rings[:, p.RING], rings[:, p.LINK] = np.cumsum([0, *sizes])[:-1], stale
    real = np.concatenate(arena.parts)
    for i, node in loop.nodes.items():
        node.move_to(real, int(nodes[i, p.STATE]))
    for i, befalls in loop.mishaps.items():
        befalls.move_to(real, int(nodes[i, p.MISHAPS]))
    nodes[[i for i in sorted(loop.nodes) if i][: len(loop.late)], p.LATENESS] = np.arange(len(loop.late))
    fan_out = nodes[:, p.LINK_COUNT + 1 : p.LINK_COUNT + TICK]
    control = np.zeros(p.CONTROL_SIZE, dtype=np.int64)
    control[p.NEED_EVENTS] = fan_out.sum(axis=1).max() * (1 + loop.models.doubles) + 2
    rows, numbers = (max(sizes) for sizes in zip(*{node.room for node in loop.nodes.values()}, strict=True))
    box = np.zeros((rows + 1, outbox.COLUMNS), dtype=np.int64), np.zeros(numbers)
    alters = np.bincount(plan.links[models[loop.models.of, p.ALTERS] == 1, network.SRC], minlength=1).max()  # each such link has a copy of its own
    control[p.NEED_SLOTS] = rows + 1 + alters
    control[p.NOW], control[p.MORE], control[p.WALL] = loop.now, -1, not simulated
    arrive = _arrive(loop)
    mine = np.flatnonzero(np.isin(plan.links[:, network.SRC], list(loop.nodes)))
    said = network.sizes(plan, loop.scenario.task.streams, mine)
    width = int(max(said.max(initial=1), arrive[:, 2].max(initial=0)))
    if width > SMALL:  # one for what comes from elsewhere
        large = np.unique(plan.links[mine[said > SMALL], network.SRC]).tolist()
        control[p.NEED_ROWS] = 1 + max((loop.nodes[i].room[0] for i in large), default=0) + alters
    coming, payloads = loop.under_way()
    slot = np.where(coming[:, underway.SIZE] < 0, -1, np.cumsum(coming[:, underway.SIZE] >= 0))  # from 1: 0 is p.NOWHERE
    coded = _who(*coming[:, [underway.KIND, underway.DST, underway.SRC]].T), coming[:, underway.SEQ], _which(coming[:, underway.PORT], slot)
    events = np.column_stack((coming[:, underway.AT], *coded))
    carried = coming[slot >= 0]
    stamps, amounts, values = carried[:, underway.STAMP].tolist(), carried[:, underway.SIZE].tolist(), [payloads]
    held = np.zeros((sum(sizes), 2), dtype=np.int64)
    for n, waiting in loop.held.items():
        ring = rings[np.searchsorted(rings[:, p.LINK], n)]
        ring[p.HELD_COUNT] = len(waiting)
        for place, (seq, message) in enumerate(waiting, start=ring[p.RING]):
            held[place] = seq, 1 + len(stamps)
            stamps.append(message.stamp)
            amounts.append(message.payload.size)
            values.append(message.payload)
    slots, pool = _filled(stamps, amounts, np.concatenate(values), width)
    control[EVENTS], control[FREE], control[FREE_ITEM], control[FREE_ROW], control[p.LAST_AT] = len(events), -1, NONE, -1, -1
    if wire is not None:
        control[p.BELL], control[p.SYSTEM], control[p.LISTENS] = wire.bell, wire.system.ctypes.data, loop.listens
        control[p.PATIENCE] = wire.patience
        loop.books.may_refuse()
    books = loop.books.sent, loop.books.lost, loop.books.doubled, loop.books.refused, loop.books.came
    control[p.MALFORMED], control[p.OUTLIVED] = loop.malformed, loop.outlived
    around = (np.zeros((0, PEER_COLUMNS), dtype=np.int64) if wire is None else wire.peers), arrive, loop.took, loop.late, *loop.shared
    lots = np.zeros(p.DRAWN, dtype=np.int64), np.zeros((max((len(model.conditions) for model in loop.models.models), default=0), p.DRAWN))
    queue, tape = np.zeros((0, ITEM_COLUMNS), dtype=np.int64), np.zeros((int(loop.tape is not None), 3), dtype=np.int64)
    return grown(
        p.Tables(
            control,
            nodes,
            links,
            models,
            loop.struck,
            loop.clears,
            *books,
            rings,
            held,
            real,
            events,
            slots,
            slots.view(np.float64),
            pool,
            *around,
            queue,
            tape,
            *box,
            *lots,
            loop.strip,
            np.zeros(len(links) if any(befalls.rows[:, mishaps.KIND].max() == mishaps.NEWEST_WINS for befalls in loop.mishaps.values()) else 0, dtype=np.int64),
        )
    )


def _filled(stamps: list[int], sizes: list[int], values: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Slots and pool that carry so many messages, from slot 1 on (0: p.NOWHERE); `values` are their numbers one after another."""
    slots = _lined_up(1 + len(stamps), SLOT_COLUMNS)
    slots[:, USERS] = 1
    slots[1:, STAMP], slots[1:, SIZE] = stamps, sizes
    large = slots[:, SIZE] > SMALL
    slots[large, PLACE] = np.arange(large.sum())
    of_large = np.repeat(large, slots[:, SIZE])
    slots.view(np.float64)[~large, NUMBERS:] = _rows(values[~of_large], slots[~large, SIZE], SMALL)
    pool = _rows(values[of_large], slots[large, SIZE], width)
    return slots, pool


def _count_in(loop: Loop, nodes: np.ndarray) -> None:
    """Have a loop count ticks and messages in the table of its nodes."""
    for name, columns in (("ticks", p.TICKS), ("skipped", p.SKIPPED), ("sequence", slice(p.SEQUENCE, p.SEQUENCE + TICK))):
        nodes[:, columns] = getattr(loop, name)
        setattr(loop, name, nodes[:, columns])


def _arrive(loop: CompiledLoop) -> np.ndarray:
    """Which messages may come from other loops: rows (who, port, size), sorted."""
    plan, streams = loop.plan, loop.scenario.task.streams
    rows = []
    for link, (channel, src, dst, port, *_) in enumerate(plan.links.tolist()):
        if dst in loop.nodes and src not in loop.nodes:
            rows.append((_who(channel, dst, src), port, network.payload_size(plan, streams, link)))
    return np.array(sorted(rows), dtype=np.int64).reshape(-1, 3)


def grown(t: p.Tables, most: int = sys.maxsize) -> p.Tables:
    """The same with more room where there is not enough for what one event can cause: half as much again, and that; not in tables of over `most` numbers."""
    control, events, messages = t.control, int(t.control[p.NEED_EVENTS]), int(t.control[p.NEED_SLOTS])
    if control[EVENTS] + events > len(t.agenda):
        agenda = _lined_up(len(t.agenda) * 3 // 2 + events + 1, EVENT_COLUMNS)[1:]  # row 1 begins a line, and so do the first of all pairs
        agenda[: len(t.agenda)] = t.agenda
        t = t._replace(agenda=agenda)
    # A quarter free, or the next growth, and all that is done before it, is soon due again.
    if control[FREE_ITEMS] < max(events, len(t.queue) // 4) and t.queue.size < most:
        t = t._replace(queue=_more(t.queue, len(t.queue) // 2 + events, NEXT, control, FREE_ITEM))
    if control[FREE_COUNT] < max(messages, len(t.slots) // 4) and t.slots.size < most:
        slots = _more(t.slots, len(t.slots) // 2 + messages, USERS, control, FREE)
        t = t._replace(slots=slots, small=slots.view(np.float64))
    rows = int(control[p.NEED_ROWS])
    if control[FREE_ROWS] < max(rows, len(t.pool) // 4) and t.pool.size < most:
        t = t._replace(pool=_more(t.pool, len(t.pool) // 2 + rows, 0, control, FREE_ROW))
    if 0 < len(t.tape) < 2 * (len(t.queue) + events):  # the caller has emptied it
        t = t._replace(tape=np.zeros((2 * (len(t.queue) + events) + TAPE, 3), dtype=np.int64))
    return t


def _lined_up(rows: int, columns: int, dtype: type = np.int64) -> np.ndarray:
    """Zeros whose first row begins a line of the processor's cache."""
    spare = np.zeros(rows * columns + p.LINE - 1, dtype=dtype)
    first = -spare.ctypes.data // 8 % p.LINE
    return spare[first : first + rows * columns].reshape(rows, columns)


def _more(table: np.ndarray, more: int, link: int, control: np.ndarray, first: int) -> np.ndarray:
    """The table with that many rows more, put on its list of free rows; the list begins at control[first], its length stands behind that."""
    new = _lined_up(len(table) + more, table.shape[1], table.dtype)
    new[: len(table)] = table
    new[len(table) :, link] = [*range(len(table) + 1, len(new)), control[first]]
    control[first] = len(table)
    control[first + 1] += more
    return new


def directory(t: p.Tables) -> np.ndarray:
    """How compiled code finds the tables, which the caller keeps alive."""
    return np.array([(table.ctypes.data, *table.shape, 0)[:3] for table in t], dtype=np.int64)


def count(loop: Loop, t: p.Tables) -> None:
    """Bring the loop's clock and messages held back up to date; what it counts is counted in its own arrays."""
    loop.now = int(t.control[p.NOW])
    loop.malformed, loop.outlived = t.control[[p.MALFORMED, p.OUTLIVED]].tolist()
    if isinstance(loop.keeper, Virtual):
        loop.keeper.now = loop.now
    for ring, oldest, waiting, n in t.rings.tolist():
        channel = int(loop.plan.links[n, network.CHANNEL])
        places = [ring + (oldest + k) % (loop.models.at(n).stale + 1) for k in range(waiting)]
        loop.held[n] = deque((int(t.held[place, 0]), Message(channel, *_message(t, t.held[place, 1]))) for place in places)


def _message(t: p.Tables, slot: int) -> tuple[int, np.ndarray]:
    return int(t.slots[slot, STAMP]), _carried(t, np.array([slot]))


def write_back(loop: Loop, t: p.Tables) -> None:
    """Bring all that a Loop holds up to date: it could go on from here."""
    count(loop, t)
    loop.expect(under_way(t))


def under_way(t: p.Tables) -> UnderWay:
    """What is to come, on the agenda and at nodes until their next ticks."""
    free = np.zeros(len(t.queue), dtype=np.bool_)
    mark_free(t.control, t.queue, free)
    aside = t.queue[~free, :EVENT_COLUMNS]
    said = _of_who(aside[:, WHO])[0] == TICK  # and heard in that instant
    aside[said, WHO] = _who(*_of_at_once(aside[said, WHO]))
    rows = np.concatenate((t.agenda[: t.control[EVENTS]], aside))
    rows = rows[np.lexsort((rows[:, SEQ], rows[:, WHO], rows[:, AT]))]
    port, slot = _of_which(rows[:, WHICH])
    payloads = slot[slot >= 0]
    stamp, size = np.zeros(len(rows), dtype=np.int64), np.full(len(rows), -1)
    stamp[slot >= 0], size[slot >= 0] = t.slots[payloads, STAMP], t.slots[payloads, SIZE]
    return UnderWay(np.column_stack((rows[:, AT], *_of_who(rows[:, WHO]), rows[:, SEQ], stamp, port, size)), _carried(t, payloads))


def _carried(t: p.Tables, which: np.ndarray) -> np.ndarray:
    """The numbers that these slots carry, one after another."""
    sizes = t.slots[which, SIZE]
    large, values = sizes > SMALL, np.empty(sizes.sum())
    of_large = np.repeat(large, sizes)
    values[~of_large] = _firsts(t.small[which[~large], NUMBERS:], sizes[~large])
    values[of_large] = _firsts(t.pool[t.slots[which[large], PLACE]], sizes[large])
    return values


def _rows(values: np.ndarray, sizes: np.ndarray, width: int) -> np.ndarray:
    """Numbers one after another as rows of so many each."""
    table = np.zeros((len(sizes), width))
    table[np.arange(width) < sizes[:, None]] = values
    return table


def _firsts(table: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The first so many numbers of each row, one after another."""
    return table[np.arange(table.shape[1]) < sizes[:, None]]
