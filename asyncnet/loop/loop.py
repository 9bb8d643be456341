"""The event loop: it hosts nodes, keeps the agenda, applies conditions to what they send, and knows no rule.

    take the first event of the agenda -> give it to its node -> put what the node sends on the agenda

The agenda is a heap of events ordered by content (message.py). This is the loop to read, and the oracle of the one that runs (compiled_loop.py), which
takes what is built here and also hosts a part of a team, joined to the others by a wire.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from itertools import chain
from typing import Any

import numpy as np

from asyncnet.kernels.plain import as_python
from asyncnet.loop import clock, ledger, mailbox, mishaps, underway, when
from asyncnet.loop.compiled.agenda import who
from asyncnet.loop.link import COLUMNS, LOST, ONCE, altered, in_line, outcome
from asyncnet.loop.message import CHANNEL_NAMES, DROP, TICK, TURN, Message
from asyncnet.loop.timekeeper import NEVER
from asyncnet.loop.underway import KIND, SRC, UnderWay
from asyncnet.nodes.node import Node
from asyncnet.nodes.outbox import LOOK
from asyncnet.runs.memory import most_events
from asyncnet.scenario.schema import Scenario
from asyncnet.tasks.parts import TaskFailed
from asyncnet.team.build import build, clock_of
from asyncnet.team.conditions import LinkModel, mishaps_of, models_of
from asyncnet.team.draw import plan
from asyncnet.team.network import DST, PORT, Plan

Tape = Callable[[np.ndarray], None]


class Loop:
    """Hosts the nodes numbered `mine` (all, if None) of a scenario's team.

    `reverse` builds the nodes in reverse order; it must change nothing (a test sees to that). `tape` is given what the nodes hear, in order, as rows of
    (now, who, sequence number), and with a negative sequence number what is lost on leaving (agenda.who packs kind, receiver and sender).
    """

    def __init__(self, scenario: Scenario, keeper: Any, mine: Iterable[int] | None = None, *, reverse: bool = False, tape: Tape | None = None) -> None:
        self.scenario, self.keeper, self.tape = scenario, keeper, tape
        self.plan: Plan = plan(scenario)
        self.stopped: str | None = None  # why the loop stopped, once it has
        self.paused = False  # whether it has come to the end of the time it was given
        self.now = 0
        self.seed, self.tick = scenario.seed, scenario.tick
        numbers = sorted(range(len(self.plan.nodes)) if mine is None else mine, reverse=reverse)
        self.nodes: dict[int, Node] = {i: build(scenario, self.plan, self.plan.nodes[i]) for i in numbers}
        self.score = self.nodes[0].score if 0 in self.nodes else None
        self.clocks = {i: clock_of(scenario, self.plan.nodes[i]) for i in sorted(self.nodes) if i}
        self.models = models_of(scenario, self.plan)
        self.struck = np.zeros(len(scenario.faults), dtype=np.int64)  # how often each fault has done something: to messages, ticks, nodes
        self.mishaps = {i: Mishaps(self.nodes[i], rows) for i, rows in mishaps_of(scenario, self.plan).items() if i in self.nodes}
        # By node: ticks that it took and that it missed, and the number of its last message on each channel.
        self.ticks, self.skipped = np.zeros((2, len(self.plan.nodes)), dtype=np.int64)
        self.sequence = np.zeros((len(self.plan.nodes), TICK), dtype=np.int64)
        self.books = ledger.Books(self.plan, loses=any(model.fixed < 0 for model in self.models.models), doubles=self.models.doubles)
        paced = any(model.paced for model in self.models.models)
        self.clears = np.zeros(len(self.plan.links) if paced else 0)  # when the next message of each link may leave its line
        self.held: dict[int, deque[tuple[int, Message]]] = {}
        self._found: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        self._asked: deque[Callable[[], None]] = deque()
        self._noted: list[tuple[int, int, int]] = []
        self.most_events = most_events(scenario, self.plan)
        self.boxes: dict[int, list[tuple]] = {i: [] for i, befalls in self.mishaps.items() if befalls.has_mailbox}  # heaps of what waits there
        self._agenda: list[tuple] = []
        self._coming: UnderWay | None = None  # the agenda, if it is not that list
        if 0 in self.nodes:
            heappush(self.agenda, (0, TURN, 0, 0, 0, 0, None, 0))
        for i, row in self.clocks.items():
            first = int(clock.first_tick(row, self.seed, self.nodes[i].identity))
            if first < NEVER and i in self.mishaps:
                first = self.mishaps[i].due(self.seed, -1, first, self.struck)
            if first < NEVER:
                heappush(self.agenda, (first, TICK, i, i, 0, 0, None, 0))

    @property
    def agenda(self) -> list[tuple]:
        """A heap of events (message.py)."""
        if self._coming is not None:
            self._agenda, self._coming = underway.events(self._coming), None
        return self._agenda

    def under_way(self) -> UnderWay:
        """The agenda as arrays."""
        return underway.gathered([*self._agenda, *chain(*self.boxes.values())]) if self._coming is None else self._coming

    def expect(self, what: UnderWay) -> None:
        """Have this as the agenda."""
        self._agenda, self._coming = [], what
        for waiting in self.boxes.values():
            waiting.clear()

    def prepare(self) -> None:
        """Compile what the run will need, or find it compiled, so that no clock waits for it."""
        for node in self.nodes.values():
            node.prepare()
        row = clock.row("periodic", 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)
        clock.next_tick(row, self.seed, 0, 1, 0)
        outcome(np.zeros((0, COLUMNS)), self.seed, 0, 0, 0, 0, 0, 0, 0, -1.0, 0, self.struck)

    def run(self, progress: Callable[[Loop], None] | None = None, until: int = NEVER) -> None:
        """Handle events until the world has finished, somebody calls `stop`, or nobody has anything left to do; or all those before the time `until`."""
        self.paused = False
        if self.score is not None and self.score.finished:  # it goes on from a state of its very end
            self._finish()
        try:
            self._run(progress, until)
            self._answer()  # not after an exception, which may have come in the middle of an event
        except TaskFailed as error:
            self._asked.clear()  # the event under way will never be over, and between two events nobody comes any more
            self.stop(str(error))
        finally:
            if not self.paused:  # else looking now would be one look more than without the pause
                self._look(None)
            self._write_tape()

    def _run(self, progress: Callable[[Loop], None] | None, until: int) -> None:
        agenda, nodes = self.agenda, self.nodes
        now = self.now
        while self.stopped is None:
            if self._asked:
                self._answer()
            at = agenda[0][0] if agenda else NEVER
            if at >= until < NEVER:
                self._pause(until)
                break
            if at > now:
                if at == NEVER:
                    self._stall()
                    break
                self._write_tape()
                self.now = now = self.keeper.reach(at)
                continue
            at, kind, dst, src, seq, stamp, payload, port = heappop(agenda)
            node = nodes[dst]
            if dst in self.boxes and kind not in (TICK, TURN):
                heappush(self.boxes[dst], (at, kind, dst, src, seq, stamp, payload, port))
                if len(self.boxes[dst]) > self.most_events:
                    self._give_up()
                continue
            if dst in self.mishaps and self._passed_over(at, kind, dst, src, seq, stamp, payload, port):
                continue
            if self.tape is not None:
                self._note(now, kind, dst, src, seq)
            if kind == TICK:
                messages = node.act(now)
                self._next_tick(node, dst, at, now)
            elif kind == TURN:
                messages = node.act(now, seq)
            else:
                self.books.came[self.plan.incoming(dst, kind).start + port] += 1
                messages = node.hear(now, kind, port, seq, stamp, payload)
            for message in messages:
                self._send(dst, message, now)
            if len(agenda) > self.most_events:
                self._give_up()
            if node.flags & LOOK:
                self._look(progress)

    def _passed_over(self, at: int, kind: int, dst: int, src: int, seq: int, stamp: int, payload: np.ndarray | None, port: int) -> bool:
        """Whether what befalls its node keeps an event from being heard; else the node is brought up to date."""
        until = self.mishaps[dst].passes_over(self.seed, self.ticks_by_itself(dst), kind, seq, self.now, self.struck)
        if until == 0:
            if kind == TICK and dst in self.boxes:
                self._read_mailbox(dst)
            self.mishaps[dst].bring_up(self.seed, self.now, self.struck)
        elif kind == TICK:
            self._next_tick(self.nodes[dst], dst, at, self.now, missed=True)
        elif until > 0:
            heappush(self.agenda, (until, kind, dst, src, seq, stamp, payload, port))
        else:
            self.books.came[self.plan.incoming(dst, kind).start + port] += 1
            if self.tape is not None:
                self._note(self.now, kind, dst, src, seq)
        return until != 0

    def _read_mailbox(self, dst: int) -> None:
        befalls, node = self.mishaps[dst], self.nodes[dst]
        waiting = [heappop(self.boxes[dst]) for _ in range(len(self.boxes[dst]))]
        seen = int(befalls.record[mishaps.SEEN])
        named = [(at, kind, port, seq) for at, kind, _, _, seq, _, _, port in waiting]
        verdicts = mailbox.sorted_out(befalls.rows, self.seed, node.identity, self.now, named, self.struck)
        for event, verdict in zip(waiting, verdicts, strict=True):
            at, kind, _, src, seq, stamp, payload, port = event
            if verdict == mailbox.WAITS:
                heappush(self.boxes[dst], event)
                continue
            at = max(at, seen)
            self.books.came[self.plan.incoming(dst, kind).start + port] += 1
            if self.tape is not None:
                self._note(at, kind + DROP * (verdict == mailbox.DROPPED), dst, src, seq)
            if verdict == mailbox.HEARD:
                befalls.bring_up(self.seed, at, self.struck)
                node.hear(at, kind, port, seq, stamp, payload)

    def missed(self, index: int) -> dict[str, int]:
        """How many ticks a node has missed by what befalls it; nothing if nothing can."""
        return {"missed": int(self.mishaps[index].record[mishaps.MISSED])} if index in self.mishaps else {}

    def ticks_by_itself(self, index: int) -> bool:
        """Whether a node has a clock."""
        return self.clocks[index][0] != clock.ON_ARRIVAL

    def _pause(self, at: int) -> None:
        self.paused, self.now = True, at

    def _look(self, progress: Callable[[Loop], None] | None) -> None:
        """Bring the score up to date; tell `progress` of a new row."""
        if 0 in self.nodes:
            rows = len(self.score.rows)
            self.nodes[0].look(self.now)
            if self.score.finished:
                self._finish()
            if progress is not None and (len(self.score.rows) > rows or self.score.called):
                progress(self)

    def _finish(self) -> None:
        self.stop("finished")

    def _stall(self) -> None:
        self.stop(f"stalled: nobody had anything to do after {self.now / 1e6:.3f} s; the world waited for decision {int(self.nodes[0].view.stamp[0])}")

    def _give_up(self) -> None:
        """End the run, for more messages are under way than there is room for."""
        named, counts = np.unique(self.under_way().rows[:, KIND : SRC + 1], axis=0, return_counts=True)
        (kind, dst, src), most = named[counts.argmax()].tolist(), counts.max()
        link = f"{CHANNEL_NAMES.get(kind, 'a tick')} {self.plan.nodes[src].name} -> {self.plan.nodes[dst].name}"
        self.stop(f"out of room: {counts.sum():,} messages are under way, at most {self.most_events:,} may be; {most:,} of them are {link}")

    def ask(self, what: Callable[[], None]) -> None:
        """Have the loop call `what` between two events, when all that it holds is up to date; from any thread."""
        self._asked.append(what)

    def _answer(self) -> None:
        while self._asked:
            self._asked.popleft()()

    def _note(self, now: int, kind: int, dst: int, src: int, seq: int) -> None:
        self._noted.append((now, int(as_python(who)(kind, dst, src)), seq))
        if len(self._noted) >= 1000:
            self._write_tape()

    def _write_tape(self) -> None:
        if self._noted:
            self.tape(np.array(self._noted, dtype=np.int64))
            self._noted.clear()

    def stop(self, why: str) -> None:
        """Make `run` return before its next event; may be called from another thread."""
        self.stopped = self.stopped or why

    def _next_tick(self, node: Node, index: int, at: int, now: int, *, missed: bool = False) -> None:
        self.ticks[index] += not missed
        befalls = self.mishaps.get(index)
        if befalls is not None:
            befalls.record[mishaps.MISSED] += missed
        while True:
            k = int(self.ticks[index] + self.skipped[index]) + (0 if befalls is None else int(befalls.record[mishaps.MISSED]))
            due = int(clock.next_tick(self.clocks[index], self.seed, node.identity, k, at))
            if befalls is not None:
                due = befalls.due(self.seed, at, due, self.struck)
            if due > now:
                break
            self.skipped[index] += 1  # wall time only: ticks that have passed are skipped, not made up for, and counted
            at = due
        heappush(self.agenda, (due, TICK, index, index, k, 0, None, 0))

    def _send(self, src: int, message: Message, now: int) -> None:
        channel, stamp, _, only = message
        if channel == TURN:
            heappush(self.agenda, (max(stamp, now), TURN, src, src, 0, 0, None, 0))
            return
        self.sequence[src, channel] += 1
        seq = int(self.sequence[src, channel])
        routes = self._routes(src, channel)
        for link, dst, port in routes if only < 0 else (routes[only],):
            self.books.sent[link] += 1
            model = self.models.at(link)
            if model.stale:
                held = self.held.setdefault(link, deque())
                held.append((seq, message))
                if len(held) <= model.stale:
                    continue
                first, kept = held.popleft()
                self._carry(model, link, src, dst, port, first, kept, now)
            else:
                self._carry(model, link, src, dst, port, seq, message, now)

    def _routes(self, src: int, channel: int) -> list[tuple[int, int, int]]:
        """The links by which a node sends on a channel: (link, receiver, port there)."""
        found = self._found.get((src, channel))
        if found is None:
            links = self.plan.outgoing(src, channel)
            found = self._found[src, channel] = list(zip(links, *self.plan.links[links, DST : PORT + 1].T.tolist(), strict=True))
        return found

    def _carry(self, model: LinkModel, link: int, src: int, dst: int, port: int, seq: int, message: Message, now: int) -> None:
        channel, delay = message.channel, model.fixed
        if delay < 0:
            ends, number = (self.plan.nodes[src].identity, self.plan.nodes[dst].identity), int(self.books.sent[link]) - model.stale
            waited = in_line(model.conditions, self.seed, self.clears, link, message.stamp, now, self.struck) if model.paced else 0
            if waited == LOST:
                delay, again = LOST, ONCE
            else:
                conditions, of_it = model.conditions, (channel, seq, number, message.stamp)
                delay, again = outcome(conditions, self.seed, *ends, *of_it, now, model.retry, waited, self.struck)
            if delay == LOST:
                self.books.lost[link] += 1
                if self.tape is not None:
                    self._note(now, channel, dst, src, -seq)
                return
            if model.alters:
                payload = message.payload.copy()
                stamp = altered(model.conditions, self.seed, *ends, channel, seq, message.stamp, now, payload, self.struck)
                message = message._replace(stamp=int(stamp), payload=payload)
            if again != ONCE:
                self.books.doubled[link] += 1
                heappush(self.agenda, (now + int(again), channel, dst, src, seq, message.stamp, message.payload, port))
        heappush(self.agenda, (now + int(delay), channel, dst, src, seq, message.stamp, message.payload, port))

    def so_far(self) -> tuple[int, np.ndarray, np.ndarray]:
        """The time, ticks by node, and by link what was sent, lost and delivered (3, links); from any thread, and nothing waits for it (counts.py)."""
        return self.now, self.ticks.copy(), self.books.table()[[ledger.SENT, ledger.LOST, ledger.DELIVERED]]

    def digest(self) -> str:
        """A hash over every hosted node's state, in the order of their numbers; equal exactly when two runs ended in the same bits."""
        return digest({i: node.digested for i, node in self.nodes.items()})


class Mishaps:
    """What befalls a node (mishaps.py): its rows, what is kept of it, and a copy of its state for each crash."""

    __slots__ = ("_node", "kept", "record", "rows")

    def __init__(self, node: Node, rows: np.ndarray) -> None:
        self._node, self.rows = node, rows
        first, last, _ = node.places["counts"]
        self.record = np.array([-1.0, 0.0, first, last, 0.0, 0.0, len(rows), mishaps.NO_BOX, mishaps.NO_BOX])
        self.kept = np.tile(node.state, int((rows[:, mishaps.KIND] == mishaps.CRASH).sum()))

    @property
    def has_mailbox(self) -> bool:
        """Whether messages that wait for the node may find no room."""
        return bool((self.rows[:, mishaps.KIND] >= mishaps.BLOCK).any())

    def move_to(self, numbers: np.ndarray, first: int) -> None:
        """Live in this array from now on, the record from `first` on and the copies where that says."""
        self.record = numbers[first : first + mishaps.RECORD]
        kept = int(self.record[mishaps.KEPT])
        self.kept = numbers[kept : kept + self.kept.size]

    def passes_over(self, seed: int, ticks: bool, kind: int, seq: int, now: int, struck: np.ndarray) -> int:
        """What becomes of an event that comes to the node."""
        return int(mishaps.passes_over(self.rows, seed, self._node.identity, ticks, kind, seq, now, struck))

    def due(self, seed: int, at: int, then: int, struck: np.ndarray) -> int:
        """When the tick after the one at `at` is due, which would be due at `then`."""
        return int(mishaps.due(self.rows, seed, self._node.identity, at, then, struck))

    def longest(self, ticks: int) -> int:
        """Microseconds that a tick may at most be away which without it is at most so far."""
        slow, shifts = (self.rows[self.rows[:, mishaps.KIND] == kind] for kind in (mishaps.SLOW, mishaps.SHIFT))
        longest = ticks * float(np.maximum(slow[:, mishaps.VALUE], 1.0).prod()) + len(slow)
        every = shifts[:, mishaps.WHEN + when.EVERY]
        comes = when.MOST * (2.0 + longest / np.where(every > 0.0, every, math.inf))
        return math.ceil(min(longest + float((shifts[:, mishaps.VALUE] * comes).sum()), NEVER // 2))

    def bring_up(self, seed: int, now: int, struck: np.ndarray) -> None:
        """Bring the node up to `now`."""
        mishaps.bring_up(self.record, self.rows, seed, self._node.identity, self._node.state, self.kept, now, struck)


def digest(states: dict[int, np.ndarray]) -> str:
    """SHA-256 over (number, size, bytes) of each state in the order of numbers."""
    seal = hashlib.sha256()
    for i in sorted(states):
        state = np.ascontiguousarray(states[i], dtype="<f8")
        seal.update(f"{i} {state.size} ".encode())
        seal.update(state.tobytes())
    return seal.hexdigest()
