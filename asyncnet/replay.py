"""A recorded run done again in one process: every node hears what it heard then, in that order, and must come to the same bits.

The recording (journal.py) holds no payloads: what a node hears, its sender says again here. So an event can be replayed once its sender has come that far, and
where a message never comes, or a loss or a digest is another, the two runs part: that node, its event and its array are named.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from asyncnet import journal, snapshot
from asyncnet.agenda import of_who
from asyncnet.checkpoint import Checkpoint
from asyncnet.layout import Views
from asyncnet.loop import Loop
from asyncnet.message import CHANNEL_NAMES, TICK, WORLD, Letter
from asyncnet.node import Node
from asyncnet.recorder import differing, digest_of
from asyncnet.scenario import Scenario, ScenarioError
from asyncnet.timekeeper import Virtual
from asyncnet.world import LOOK, TURN


class Event(NamedTuple):
    """One thing that a node heard: its `number` among that node's, `now` in microseconds, and the message (kind, sender, sequence number) or TICK."""

    node: str
    number: int
    now: int
    kind: int
    sender: str
    seq: int

    def __str__(self) -> str:
        what = "its turn" if self.kind == WORLD else "a tick" if self.kind == TICK else f"{CHANNEL_NAMES[self.kind]} {self.seq} from {self.sender}"
        return f"event {self.number} of {self.node}, at {self.now / 1e6:.6f} s: {what}"


class Difference(NamedTuple):
    """Where replay and recording part: the event, the array (or ""), and what is the matter."""

    event: Event | None
    array: str
    why: str

    def __str__(self) -> str:
        return "; ".join(str(part) for part in (self.event, self.why) if part)


class Replayed(Loop):
    """A loop that takes its events from a recording; its messages wait until they are heard there."""

    def __init__(self, scenario: Scenario, begin: Checkpoint | None) -> None:
        super().__init__(scenario, Virtual())
        if begin is not None:
            snapshot.put(self, begin)
        self.mail: dict[tuple[int, int, int, int], deque[tuple[int, np.ndarray, int]]] = {}
        self.losses: deque[tuple[int, int, int, int]] = deque()
        self.last: dict[int, Event] = {}  # the last event of each node
        self.number_of = {node.name: i for i, node in self.nodes.items()}
        for _, kind, dst, src, seq, stamp, payload, port in self.agenda:
            if payload is not None:
                self._mail(kind, dst, src, seq, stamp, payload, port)
        self.agenda.clear()

    def _mail(self, kind: int, dst: int, src: int, seq: int, stamp: int, payload: np.ndarray, port: int) -> None:
        self.mail.setdefault((kind, dst, src, seq), deque()).append((stamp, payload, port))

    def _carry(self, way: Any, link: int, src: int, dst: int, port: int, seq: int, letter: Letter, now: int) -> None:
        super()._carry(way, link, src, dst, port, seq, letter, now)
        if self.agenda:
            self.agenda.clear()
            self._mail(letter.channel, dst, src, seq, letter.stamp, letter.payload, port)
        else:
            self.losses.append((letter.channel, dst, src, seq))

    def possible(self, now: int, kind: int, dst: int, src: int, seq: int) -> bool:
        """Whether an event can take place: a message can when it has been sent."""
        return kind in (TICK, WORLD) or (kind, dst, src, seq) in self.mail

    def event(self, row: tuple[int, ...], numbers: dict[int, int]) -> Event:
        """The event that a row of the recording stands for."""
        now, kind, dst, src, seq = row
        self.last[dst] = Event(self.nodes[dst].name, numbers[dst] + 1, now, kind, self.plan.nodes[src].name, seq)
        return self.last[dst]

    def missing(self, row: tuple[int, ...], numbers: dict[int, int]) -> Difference:
        """The difference of an event that never becomes possible."""
        return Difference(self.event(row, numbers), "", "this message is not sent now" if row[4] >= 0 else "this message is not lost now")

    def message(self, which: tuple[int, int, int, int] | None) -> str:
        """The name of a message."""
        if which is None:
            return "nothing"
        kind, dst, src, seq = which
        return f"{CHANNEL_NAMES.get(kind, kind)} {seq} from {self.plan.nodes[src].name} to {self.plan.nodes[dst].name}"

    def look(self) -> None:
        """Bring the score up to date, as a loop does at its end."""
        self._look(None)

    def do(self, now: int, kind: int, dst: int, src: int, seq: int) -> None:
        """Have it take place."""
        self.now, node = now, self.nodes[dst]
        if kind in (TICK, WORLD):
            self.ticks[dst] += kind == TICK
            letters = node.act(now)
        else:
            waiting = self.mail[kind, dst, src, seq]
            stamp, payload, port = waiting.popleft()
            if not waiting:
                del self.mail[kind, dst, src, seq]
            self.delivered[self._arrived(dst, kind, port)] += 1
            letters = node.hear(now, kind, port, seq, stamp, payload)
        for letter in letters:
            self._send(dst, letter, now)
        if dst == 0:
            if node.flags & TURN:
                node.take_turn()
            if node.flags & LOOK:
                self.look()


class _Outcomes:
    """In place of a task that lives outside: its steps lead to what they led to then."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream

    def step(self, v: Views) -> None:
        if not self._stream.outcomes:
            raise LookupError("the recording holds no outcome of this step of the task")
        row, seen, streams = self._stream.outcomes.popleft(), v.observation.size, len(v.reward)
        v.observation[:] = row[:seen].reshape(v.observation.shape)
        v.reward[:], v.ended[:] = row[seen : seen + streams], row[seen + streams :]


class _Stream:
    """The recording of one loop, read as far as it is needed: `row` is its next event (now, kind, receiver, sender, sequence number), None at its end."""

    def __init__(self, path: Path) -> None:
        self._reader = journal.Reader(path)
        self._segments = iter(self._reader)
        self._rows: Iterator[tuple[int, ...]] = iter(())
        self._marks: deque[tuple[journal.Digest, bool]] = deque()
        self.outcomes: deque[np.ndarray] = deque()
        self.done, self.ended, self.row = 0, False, None
        self._advance()

    @property
    def damage(self) -> str | None:
        return self._reader.damage

    def take(self) -> tuple[int, ...]:
        """The next event; the one after it is the next now."""
        row = self.row
        self.done += 1
        self._advance()
        return row

    def due(self) -> list[tuple[journal.Digest, bool]]:
        """The digests that were noted after the events taken so far, and whether that was at the loop's end."""
        out = []
        while self._marks and self._marks[0][0].event <= self.done:
            out.append(self._marks.popleft())
        return out

    def _advance(self) -> None:
        self.row = next(self._rows, None)
        while self.row is None:
            segment = next(self._segments, None)
            if segment is None:
                return
            self._marks += [(digest, segment.last) for digest in segment.digests]
            self.outcomes += segment.outcomes
            kinds, dst, src = of_who.py_func(segment.events[:, 1])
            columns = (segment.events[:, 0], kinds, dst, src, segment.events[:, 2])
            self._rows = zip(*(column.tolist() for column in columns), strict=True)
            self.row = next(self._rows, None)


class Report(NamedTuple):
    """What a replay found: events done, digests compared, the first difference (None: identical), and what is the matter with the files."""

    events: int
    digests: int
    difference: Difference | None
    damage: list[str]
    stopped: bool  # `before` said so
    loop: Replayed

    @property
    def line(self) -> str:
        """The finding in one line."""
        if self.difference is not None:
            return f"different: {self.difference}"
        found = f"identical: {self.events:,} events, {self.digests:,} digests"
        return "; ".join([found, *(f"as far as the recording goes: {line}" for line in self.damage)])


def replay(scenario: Scenario, folder: Path, begin: Checkpoint | None = None, before: Callable[[Event, Node], bool] | None = None) -> Report:
    """Replay the recording in a folder, from the state `begin` if it began there; raises ScenarioError if there is none.

    `before` is called with each event and the node that will hear it, and ends the replay by returning True.
    """
    files = sorted(folder.glob(f"*{journal.SUFFIX}"))
    if not files:
        raise ScenarioError(str(folder), "", "holds no recording")
    loop = Replayed(scenario, begin)
    streams = [_Stream(path) for path in files]
    if loop.nodes[0].outside is not None:
        loop.nodes[0].outside.close()
        loop.nodes[0].outside = _Outcomes(streams[0])  # the world's loop is the first
    numbers = dict.fromkeys(loop.nodes, 0)
    compared, difference, event, stopped = 0, None, None, False
    while difference is None:
        waiting = sorted((stream for stream in streams if stream.row is not None), key=lambda stream: stream.row[0])
        # In the order of time, but for what waits for a message: clocks of different machines differ a little.
        stream = next((stream for stream in waiting if loop.possible(*stream.row)), None)
        if stream is None:
            broken = waiting and not any(one.damage for one in streams)
            difference = loop.missing(waiting[0].row, numbers) if broken else None
            break
        event = loop.event(stream.row, numbers)
        if before is not None and before(event, loop.nodes[stream.row[2]]):
            stopped = True
            break
        try:
            loop.do(*stream.take())
        except LookupError as error:
            difference = Difference(event, "", str(error.args[0]))
            break
        numbers[loop.number_of[event.node]] += 1
        difference = _losses(loop, stream, event)
        for digest, last in stream.due() if difference is None else ():
            if last and not stream.ended:
                stream.ended = True
                if stream is streams[0]:
                    loop.look()
            compared += 1
            difference = difference or _compare(loop, digest, event)
    return Report(sum(numbers.values()), compared, difference, [stream.damage for stream in streams if stream.damage], stopped, loop)


def _losses(loop: Replayed, stream: _Stream, event: Event) -> Difference | None:
    """Whether what was lost after an event is what is lost now."""
    while loop.losses or (stream.row is not None and stream.row[4] < 0):
        now = loop.losses.popleft() if loop.losses else None
        then = None
        if stream.row is not None and stream.row[4] < 0:
            _, kind, dst, src, seq = stream.take()
            then = kind, dst, src, -seq
        if now != then:
            if stream.row is None and then is None and stream.damage:
                return None
            return Difference(event, "", f"lost then: {loop.message(then)}; lost now: {loop.message(now)}")
    return None


def _compare(loop: Replayed, digest: journal.Digest, event: Event | None) -> Difference | None:
    node = loop.nodes[digest.node]
    now = digest_of(node)
    if now == digest.fields:
        return None
    array = differing(node, now, digest.fields)
    return Difference(loop.last.get(digest.node, event), array, f"its {array} differs after it")
