"""The compiled loop: what loop.py does in simulated time, as machine code that comes back to Python for the world only.

Python builds it all (nodes, links, first ticks) and lays it out in tables; `go` handles events until one belongs to Python. At the end of `run` the
tables are written back, so between runs both loops hold the same in the same places. Same events, same order, same bits.
"""

from __future__ import annotations

from collections.abc import Callable

from asyncnet import agenda as row_of
from asyncnet import posting as p
from asyncnet.agenda import EVENTS, SIZE, STAMP, drop_first, leave_slot, of_who, push, take_slot, who
from asyncnet.clock import next_tick
from asyncnet.kernel import entry, inlined, view
from asyncnet.loop import Loop
from asyncnet.message import ACTIVITY, TICK, WORLD, Letter
from asyncnet.pointer import call
from asyncnet.tables import count, directory, grown, lay_out, write_back

PAUSED, STALLED, FULL, TURN, HEARD = range(5)  # why `go` came back
PATIENCE = 100_000  # events handled without looking up, so that a request to stop is heard


@inlined
def wake(t, now, node, kind, port, seq, stamp, slot, size):
    """Give an event to its node."""
    row = t.nodes[node]
    state = view(t.real, row[p.STATE], (row[p.STATE_SIZE],))
    config = view(t.real, row[p.CONFIG], (row[p.CONFIG_SIZE],))
    said = view(t.real, row[p.SAID], (row[p.SAID_SIZE],))
    told = view(t.real, row[p.TOLD], (row[p.TOLD_B], row[p.TOLD_I], row[p.TOLD_M]))
    return call(row[p.ADDRESS], state, config, now, kind, port, seq, stamp, p.payload_of(t, slot, size), said, told)


@inlined
def go_on_ticking(t, seed, at, node):
    row = t.nodes[node]
    row[p.TICKS] += 1
    due = next_tick(view(t.real, row[p.CLOCK], (8,)), seed, row[p.IDENTITY], row[p.TICKS], at)
    push(t.control, t.agenda, due, who(TICK, node, node), row[p.TICKS], 0, -1)


@inlined
def is_news(t, seq, stamp, slot):
    """Whether this action tells the world anything; if it does it is in the inbox now. A mere repetition is noted, and Python need not know."""
    control = t.control
    if stamp < control[p.HEARD_STAMP] or (stamp == control[p.HEARD_STAMP] and seq <= control[p.HEARD_SEQ]):
        return False
    size = t.slots[slot, SIZE]
    t.slots[p.INBOX, SIZE] = size
    here, there = p.payload_of(t, slot, size), p.payload_of(t, p.INBOX, size)
    news = stamp > control[p.HEARD_STAMP]
    for i in range(size):
        if there[i] != here[i]:
            there[i] = here[i]
            news = True
    control[p.HEARD_STAMP] = stamp
    control[p.HEARD_SEQ] = seq
    return news


@entry
def go(directory, seed, patience):
    """Post what the world hands over, then handle events until one belongs to Python; returns (why, now, stamp, seq)."""
    t = p.opened(directory)
    control, agenda, slots, outbox = t.control, t.agenda, t.slots, t.outbox
    if not p.roomy(t):
        return FULL, 0, 0, 0
    if control[p.RETURN] >= 0:
        push(control, agenda, control[p.RETURN], who(WORLD, 0, 0), 0, 0, -1)
        control[p.RETURN] = -1
    for i in range(control[p.LETTERS]):
        size = int(outbox[i, 3])
        slot = take_slot(control, slots, int(outbox[i, 1]), size)
        payload = p.payload_of(t, slot, size)
        for n in range(size):
            payload[n] = outbox[i, 4 + n]
        p.post(directory, seed, control[p.NOW], 0, int(outbox[i, 0]), int(outbox[i, 2]), slot)
        leave_slot(control, slots, slot)
    control[p.LETTERS] = 0
    left = patience
    while left > 0 or control[p.MORE] >= 0:
        left -= 1
        if not p.roomy(t):
            return FULL, 0, 0, 0
        node = control[p.MORE]
        if node >= 0:
            now = control[p.NOW]
            flags = wake(t, now, node, TICK, control[p.TICKED], 0, 0, p.INBOX, 0)
        else:
            if control[EVENTS] == 0:
                return STALLED, 0, 0, 0
            now, seq, port, slot = agenda[0, row_of.AT], agenda[0, row_of.SEQ], agenda[0, row_of.PORT], agenda[0, row_of.SLOT]
            kind, node, _src = of_who(agenda[0, row_of.WHO])
            drop_first(control, agenda)
            control[p.NOW] = now
            if kind == WORLD:
                return TURN, now, 0, 0
            if kind == TICK:
                control[p.TICKED] = 2
                flags = wake(t, now, node, TICK, 1, 0, 0, p.INBOX, 0)
                go_on_ticking(t, seed, now, node)
            else:
                control[p.DELIVERED + kind] += 1
                control[p.TICKED] = 0
                stamp = slots[slot, STAMP]
                if node == 0:
                    news = is_news(t, seq, stamp, slot)
                    leave_slot(control, slots, slot)
                    if news:
                        return HEARD, now, stamp, seq
                    continue
                flags = wake(t, now, node, kind, port, seq, stamp, slot, slots[slot, SIZE])
                leave_slot(control, slots, slot)
        control[p.MORE] = node if flags & p.AGAIN else -1
        if flags != 0:
            p.send(directory, t, seed, now, node, flags)
    return PAUSED, 0, 0, 0


class CompiledLoop(Loop):
    """A Loop of all nodes of a scenario in virtual time; same constructor (without hosts and wire), same results."""

    def prepare(self) -> None:
        super().prepare()
        self._take(lay_out(self))
        self._post()  # posts nothing, but compiles `go`

    def run(self, progress: Callable[[Loop], None] | None = None) -> None:
        """Handle events until the world has finished, somebody calls `stop`, or nobody has anything left to do."""
        self._take(lay_out(self))
        try:
            self._run(progress)
        finally:
            write_back(self, self._tables)

    def _run(self, progress: Callable[[Loop], None] | None) -> None:
        world, score, control = self.nodes[0], self.score, self._tables.control
        rows = 0
        while self.stopped is None:
            why, now, stamp, seq = go(self._directory, self.seed, PATIENCE)
            if why == TURN:
                letters, turn = world.act(now)
                if turn is not None:
                    control[p.RETURN] = max(turn, now)
                if score.finished:
                    self.stopped = "finished"
                if progress is not None and len(score.rows) > rows:
                    rows = len(score.rows)
                    count(self, self._tables)
                    progress(self)
                self._hand_over(letters)
            elif why == HEARD:
                tables = self._tables
                turn = world.hear(now, ACTIVITY, 0, seq, stamp, tables.pool[p.INBOX, : tables.slots[p.INBOX, SIZE]])
                if turn is not None:
                    control[p.RETURN] = turn
            elif why == FULL:
                self._take(grown(self._tables))
            elif why == STALLED:
                self.stopped = self._stalled(int(control[p.NOW]))
        self._post()

    def _take(self, tables: p.Tables) -> None:
        self._tables, self._directory, self._rows = tables, directory(tables), list(tables.outbox)

    def _hand_over(self, letters: list[Letter]) -> None:
        """Lay the world's letters out for `go` to post."""
        filled = 0
        for channel, stamp, payload, link in letters:
            if filled == p.OUTBOX:
                self._post()
                filled = 0
            row, size = self._rows[filled], payload.size
            row[0], row[1], row[2], row[3] = channel, stamp, link, size
            row[4 : 4 + size] = payload
            filled += 1
            self._tables.control[p.LETTERS] = filled

    def _post(self) -> None:
        while go(self._directory, self.seed, 0)[0] == FULL:
            self._take(grown(self._tables))
