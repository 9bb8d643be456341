"""A recorded run done again in one process: every node hears what it heard then, in that order, and must come to the same bits.

The recording (journal.py) holds no payloads: what a node hears, its sender says again here. So an event can take place once its sender has come that far, and
where a message never comes, or a loss or a digest is another, the two runs part: that node, its event and its array are named.

A loop whose process was lost has another life: its nodes go back to the state that was taken of them after a certain event, which is kept here when that event
has come, and go on from there as that life's recording says.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from asyncnet.kernels.layout import Views
from asyncnet.kernels.plain import as_python
from asyncnet.loop import ledger
from asyncnet.loop.compiled.agenda import of_who, who
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import CHANNEL_NAMES, DROP, LIFE, TICK, TURN
from asyncnet.loop.mishaps import MISSED, SEEN
from asyncnet.loop.timekeeper import Virtual
from asyncnet.nodes.node import Node
from asyncnet.nodes.outbox import LOOK
from asyncnet.record.journal import SUFFIX, Digest, Reader, Room, Segment, life_of
from asyncnet.record.recorder import differing, digest_of, put_transition
from asyncnet.runs import snapshot
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.scenario.schema import Scenario, ScenarioError
from asyncnet.team.network import CHANNEL, DST, SRC

MOST_WAITING = 256 << 20  # bytes of messages that were said and not heard yet
MESSAGE = 400  # bytes, about, that one takes beside its payload
AT_ONCE = 256  # rows of a segment

Key = tuple[int, int, int, int]  # kind, receiver, sender, sequence number
Row = tuple[int, int, int, int, int]  # an event: now, and what is heard; a loss: its sequence number is negative


class Event(NamedTuple):
    """One thing that a node heard: its `number` among that node's, `now` in microseconds, and the message (kind, sender, sequence number) or TICK."""

    node: str
    number: int
    now: int
    kind: int
    sender: str
    seq: int

    def __str__(self) -> str:
        what = "its turn" if self.kind == TURN else "a tick" if self.kind == TICK else f"{CHANNEL_NAMES[self.kind % DROP]} {abs(self.seq)} from {self.sender}"
        what += ", for which its mailbox had no room" * (self.kind >= DROP)
        return f"event {self.number} of {self.node}, at {self.now / 1e6:.6f} s: {what}"


class Difference(NamedTuple):
    """Where replay and recording part: the event (None: before any), the array (or ""), and what is the matter."""

    event: Event | None
    array: str
    why: str

    def __str__(self) -> str:
        return "; ".join(str(part) for part in (self.event, self.why) if part)


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
            return "; ".join([f"different: {self.difference}", *self.damage])
        found = f"identical: {self.events:,} events, {self.digests:,} digests" + ("; stopped there" if self.stopped else "")
        return "; ".join([found, *(f"as far as the recording goes: {line}" for line in self.damage)])


def replay(
    scenario: Scenario,
    folder: Path,
    begin: Checkpoint | None = None,
    before: Callable[[Event, Node], bool] | None = None,
    watch: Callable[[Loop], None] = lambda _: None,
) -> Report:
    """Replay the recording in a folder, from the state `begin` if it began there; raises ScenarioError for a file that is none.

    `before` is called with each event and the node that will hear it, and ends the replay by returning True; `watch` is given the loop before it begins.
    """
    loop, paths = Replayed(scenario, begin), sorted(folder.glob(f"*{SUFFIX}"))
    lives: dict[str, dict[int, Path]] = {}
    for path in paths:
        name, life = life_of(path)
        if name not in loop.hosts:
            raise ScenarioError(str(path), "", f"a team of {len(loop.nodes)} has no loop of that name")
        lives.setdefault(name, {})[life] = path
    for name, found in lives.items():
        if max(found) >= len(found):
            n = next(n for n in count() if n not in found)
            raise ScenarioError(str(folder / f"{name}{f'-{n}' * (n > 0)}{SUFFIX}"), "", "it is missing, and there are recordings of what came after it")
    streams = [_Stream([found[life] for life in sorted(found)], loop) for found in lives.values()]
    loop.reset()
    watch(loop)
    difference, stopped = _first(stream.compare() for stream in streams), False
    while difference is None:
        # In the order of time, but for what waits for a message: clocks of different machines differ a little.
        ready = [stream for stream in streams if stream.row is not None and loop.possible(*stream.row)]
        if not ready:
            break
        stream = min(ready, key=_time)
        if before is not None and before(loop.coming(stream.row), loop.nodes[stream.row[2]]):
            stopped = True
            break
        difference = stream.step()
        if loop.waiting > MOST_WAITING:
            break
    damage = [stream.damage for stream in streams if stream.damage]
    if loop.waiting > MOST_WAITING:
        damage.append(f"{folder}: messages of more than {MOST_WAITING >> 20} MiB wait to be heard")
    if difference is None and not stopped and not damage:
        damage = _absent(loop, streams, folder)
        waiting = [stream for stream in streams if stream.row is not None]
        if waiting and not damage:
            difference = loop.impossible(min(waiting, key=_time).row)
    return Report(sum(loop.numbers.values()), sum(stream.compared for stream in streams), difference, damage, stopped, loop)


def _first(differences: Iterator[Difference | None]) -> Difference | None:
    return next((difference for difference in differences if difference is not None), None)


def _time(stream: _Stream) -> int:
    return stream.row[0]


def _absent(loop: Replayed, streams: list[_Stream], folder: Path) -> list[str]:
    """A line if there are nodes of which nothing is recorded."""
    if not streams:
        return [f"{folder}: holds no recording"]
    heard = set().union(*(stream.nodes for stream in streams))
    names = [node.name for i, node in sorted(loop.nodes.items()) if i not in heard]
    return [f"{folder}: nothing is recorded of {', '.join(names[:5])}{' and others' if len(names) > 5 else ''}"] if names else []


class Replayed(Loop):
    """A loop that takes its events from a recording; what its nodes send waits until it is heard there."""

    def __init__(self, scenario: Scenario, begin: Checkpoint | None) -> None:
        super().__init__(scenario, Virtual(), tape=lambda rows: None)
        self.room = Room()
        self.hosts = {str(i) for i in self.nodes}  # names that loops can have had: there were no more of them than nodes
        # Whatever can be heard: messages of the plan's links, ticks, turns that a node has asked for.
        links = self.plan.links.astype(np.int64)
        self.messages = as_python(who)(links[:, CHANNEL], links[:, DST], links[:, SRC])
        asking = [i for i, node in self.nodes.items() if node.turns]
        own = [*((TICK, i) for i in self.nodes if i), *((TURN, i) for i in asking)]
        self.dropped = as_python(who)(links[:, CHANNEL] + DROP, links[:, DST], links[:, SRC])[np.isin(links[:, DST], list(self.boxes))]
        self.turns = np.array([as_python(who)(kind, i, i) for kind, i in own])
        self.transitions: _Transitions | None = None
        world = self.nodes[0]
        if world.outside is not None:
            world.close()
            world.outside = self.transitions = _Transitions(self.room)
        if begin is not None:
            snapshot.put(self, begin)
        self.mail: dict[Key, deque[tuple[int, np.ndarray, int, int]]] = {}  # of several with one name the first sent is heard first
        self.waiting = 0  # bytes of it
        self.gone: list[Key] = []  # lost on leaving, in the last event
        self.numbers = dict.fromkeys(self.nodes, 0)  # events of each node
        self.last: dict[int, Row] = {}
        self._take_mail()

    def reset(self) -> None:
        """Have a task that lives outside stand as it stood when the recording began."""
        if self.transitions:
            self.nodes[0].outside.step(self.nodes[0].view)

    def possible(self, now: int, kind: int, dst: int, src: int, seq: int) -> bool:
        """Whether an event can take place: a message can when it has been sent."""
        return kind in (TICK, TURN) or (kind % DROP, dst, src, seq) in self.mail

    def do(self, now: int, kind: int, dst: int, src: int, seq: int) -> None:
        """Have it take place; raises _NoOutcome."""
        self.now, node = now, self.nodes[dst]
        self.last[dst] = now, kind, dst, src, seq
        self.numbers[dst] += 1
        self.gone = []
        turned_away, kind = kind >= DROP, kind % DROP
        if not turned_away and dst in self.mishaps:  # a tick that it misses is not recorded, a message that comes too late to one that has crashed is
            turned_away = kind not in (TICK, TURN) and self.mishaps[dst].passes_over(self.seed, self.ticks_by_itself(dst), kind, seq, now, self.struck) != 0
            if not turned_away:
                self.mishaps[dst].bring_up(self.seed, now, self.struck)
        if kind in (TICK, TURN):
            self.ticks[dst] += kind == TICK
            messages = node.act(now, seq if kind == TURN else 0)
        else:
            stamp, payload, port = self._open(kind, dst, src, seq)
            self.books.came[self.plan.incoming(dst, kind).start + port] += 1
            messages = () if turned_away else node.hear(now, kind, port, seq, stamp, payload)
        for message in messages:
            self._send(dst, message, now)
        self._take_mail()
        if node.flags & LOOK:
            node.look(now)

    def _open(self, *message: int) -> tuple[int, np.ndarray, int]:
        waiting = self.mail[message]
        if len(waiting) == 1:
            del self.mail[message]
        stamp, payload, port, size = waiting.popleft()
        self.waiting -= size
        return stamp, payload, port

    def _take_mail(self) -> None:
        """What the nodes have sent waits here and not on the agenda."""
        receivers = Counter(id(payload) for *_, payload, _ in self.agenda)
        for _, kind, dst, src, seq, stamp, payload, port in self.agenda:
            if payload is not None:  # else it is a turn, and the recording says when that is
                size = MESSAGE + payload.nbytes // receivers[id(payload)]
                self.mail.setdefault((kind, dst, src, seq), deque()).append((stamp, payload, port, size))
                self.waiting += size
        self.agenda.clear()

    def _note(self, now: int, kind: int, dst: int, src: int, seq: int) -> None:
        self.gone.append((kind, dst, src, -seq))

    def states_of(self, nodes: Iterable[int]) -> Checkpoint:
        """How these nodes stand."""
        return snapshot.part(snapshot.take(self), self.plan, nodes)

    def go_back(self, state: Checkpoint, nodes: Iterable[int], life: int) -> None:
        """Have these nodes go on as they stood then, in another life."""
        arrays, mine = state.arrays, np.isin(self.plan.links[:, SRC], list(nodes))
        for i in nodes:
            self.nodes[i].state[:] = arrays[f"node/{self.nodes[i].name}"]
            if i in self.mishaps:
                self.mishaps[i].kept[:] = arrays[f"kept/{self.nodes[i].name}"]
                self.mishaps[i].record[[SEEN, MISSED]] = arrays["mishaps"][arrays["mishaps"][:, 0] == i, 1:][0]
            self.sequence[i] = life * LIFE
        self.books.sent[mine] = arrays["ledger"][ledger.SENT, mine]
        if self.clears.size:
            self.clears[mine] = arrays["clears"][mine]
        for link in np.flatnonzero(mine).tolist():
            self.held.pop(link, None)
        if 0 in nodes:
            self.nodes[0].score.restore(self.nodes[0].view, state.about["score"], snapshot.within(arrays, "score/"))

    def coming(self, row: Row) -> Event:
        """The event of that row, which is the next of its node."""
        return self._event(row, self.numbers[row[2]] + 1)

    def past(self, dst: int) -> Event | None:
        """The last event of a node."""
        return self._event(self.last[dst], self.numbers[dst]) if dst in self.last else None

    def _event(self, row: Row, number: int) -> Event:
        now, kind, dst, src, seq = row
        return Event(self.nodes[dst].name, number, now, kind, self.nodes[src].name, seq)

    def impossible(self, row: Row) -> Difference:
        """The difference of what cannot take place."""
        return Difference(self.coming(row), "", "this message is not on its way now" if row[4] >= 0 else "this message is not lost now")

    def described(self, message: Key) -> str:
        """A message in words."""
        kind, dst, src, seq = message
        return f"{CHANNEL_NAMES[kind]} {seq} from {self.nodes[src].name} to {self.nodes[dst].name}"


class _NoOutcome(Exception):
    """The recording does not say what a step of the task led to."""


class _Transitions:
    """In place of a task that lives outside: its steps lead to what they led to then, segment by segment."""

    def __init__(self, room: Room) -> None:
        self._room, self._rows = room, 0
        self._segments: deque[np.ndarray] = deque()

    def __bool__(self) -> bool:
        return bool(self._segments)

    def extend(self, rows: np.ndarray) -> None:
        """Add what is recorded of further steps; it takes its room until the last of them."""
        if len(rows):
            self._segments.append(rows)
            self._room.left -= rows.nbytes

    def step(self, v: Views) -> None:
        if not self:
            raise _NoOutcome
        put_transition(v, self._segments[0][self._rows])
        self._rows += 1
        if self._rows == len(self._segments[0]):
            self._room.left += self._segments.popleft().nbytes
            self._rows = 0

    def restore(self, *_: object) -> None:
        """Nothing of it is here to go back."""

    def saved(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Nor to be kept."""
        return {}, {}


class _Stream:
    """The recording of one loop, read as far as it is needed, and held to what happens now.

    `row` is what comes next in it, None at its end; `damage` says what is wrong with the file, once that is known; `nodes` are those it has told of so far.
    """

    def __init__(self, paths: list[Path], loop: Replayed) -> None:
        self.path, self.loop, self._later = paths[0], loop, deque(paths[1:])
        self.row: Row | None = None
        self.damage: str | None = None
        self.nodes: set[int] = set()
        self.compared = 0
        self._done = 0
        self._rows: Iterator[Row] = iter(())
        self._digests: deque[tuple[Digest, bool]] = deque()  # and whether the loop had ended
        self._reader = Reader(self.path, loop.room)
        self._segments = iter(self._reader)
        world = loop.nodes[0].view
        self._width = world.observation.size + world.reward.size + world.ended.size
        self._back, self._next, self._kept, self._broken = -1, set[int](), None, ""
        self._look_for_another_life()
        self._advance()
        self._live_on()

    def step(self) -> Difference | None:
        """Have the next event take place; the difference if that, what was lost then, or a digest is not as it is now."""
        if self._later and self._done == self._back:
            self._kept = self.loop.states_of(self._next)
        row = self._take()
        try:
            self.loop.do(*row)
        except _NoOutcome:
            return Difference(self.loop.past(row[2]), "", "the recording does not hold what this step of the task led to")
        difference = self._losses(row[2]) or self.compare()
        if difference is None and self.row is None:
            self._live_on()
            difference = self.compare()
        return difference

    def _look_for_another_life(self) -> None:
        """Find out after which event the next life begins, and of which nodes that is, if there is one."""
        if self._later:
            reader = Reader(self._later[0])
            first = next(iter(reader), None)
            self._back, self._next = (-1, set()) if first is None else (first.first, {one.node for one in first.digests if one.node in self.loop.nodes})
            self._broken = "" if self._next else reader.damage or f"{self._later[0]}: does not say how its life begins"

    def _live_on(self) -> None:
        """At the end of one life: go on with the next, if that is known to be its end."""
        while self.row is None and self._later and not self.damage:
            if self._broken:
                self.damage = self._broken
                return
            if self._done == self._back:
                self._kept = self.loop.states_of(self._next)
            if self._kept is None:
                self.damage = f"{self._later[0]}: it begins after event {self._back}, which is none of the life before"
                return
            life = int(self.loop.sequence[sorted(self._next)].max(initial=0)) // LIFE + 1
            self.loop.go_back(self._kept, self._next, life)
            self.path, self._done, self._kept = self._later.popleft(), self._back, None
            self._reader = Reader(self.path, self.loop.room)
            self._segments = iter(self._reader)
            self._look_for_another_life()
            self._advance()

    def _take(self) -> Row:
        row = self.row
        self._done += 1
        self._advance()
        return row

    def _losses(self, dst: int) -> Difference | None:
        then: list[Key] = []
        while self.row is not None and self.row[4] < 0:
            _, kind, receiver, sender, seq = self._take()
            then.append((kind, receiver, sender, -seq))
        now = self.loop.gone
        if then == now or (self.row is None and self.damage and then == now[: len(then)]):  # the file ends here, not the losses
            return None
        at = next((n for n, (one, other) in enumerate(zip(then, now, strict=False)) if one != other), min(len(then), len(now)))
        lost = [self.loop.described(messages[at]) if at < len(messages) else "nothing" for messages in (then, now)]
        return Difference(self.loop.past(dst), "", f"lost then: {lost[0]}; lost now: {lost[1]}")

    def compare(self) -> Difference | None:
        """The difference if a digest noted after the events taken so far is not that of now."""
        while self._digests and self._digests[0][0].event <= self._done:
            digest, ended = self._digests.popleft()
            node = self.loop.nodes[digest.node]
            if ended and digest.node == 0:
                node.look(self.loop.now)  # as a loop does at its end
            now = digest_of(node)
            self.compared += 1
            if now != digest.fields:
                array, event = differing(node, now, digest.fields), self.loop.past(digest.node)
                return Difference(event, array, f"its {array} differs after it" if event else f"the {array} of {node.name} differs before its first event")
        return None

    def _advance(self) -> None:
        self.row = next(self._rows, None)
        while self.row is None and (segment := self._read()) is not None:
            self._rows = _rows(segment.events)
            self._digests += [(digest, segment.last) for digest in segment.digests]
            if self.loop.transitions is not None:
                self.loop.transitions.extend(segment.transitions)
            self.row = next(self._rows, None)

    def _read(self) -> Segment | None:
        """The next segment, if there is one that this team can have recorded."""
        segment = next(self._segments, None)
        if segment is None:
            self.damage = self.damage or self._reader.damage
        elif why := self._wrong(segment):
            self.damage, self._segments = f"{self.path}: segment {segment.number}: {why}", iter(())
            return None
        return segment

    def _wrong(self, segment: Segment) -> str:
        """What cannot be of this team in a segment, or nothing; notes of whom it tells."""
        loop, lost = self.loop, segment.events[:, 2] < 0
        heard, gone = (np.unique(segment.events[which, 1]) for which in (~lost, lost))
        if not (np.isin(heard, np.concatenate((loop.messages, loop.turns, loop.dropped))).all() and np.isin(gone, loop.messages).all()):
            return "an event that this team cannot have"
        if len(segment.transitions) and (segment.transitions.shape[1] != self._width or loop.transitions is None):
            return "transitions that its task cannot have"
        last = segment.first + len(segment.events)
        if not all(segment.first <= digest.event <= last and digest.node in loop.nodes for digest in segment.digests):
            return "a digest of no node or no event of this segment"
        self.nodes.update(np.unique(as_python(of_who)(heard)[1]).tolist(), (digest.node for digest in segment.digests))
        return ""


def _rows(events: np.ndarray) -> Iterator[Row]:
    """The rows of a segment; as Python's numbers they take ten times the room, so there are a few at a time."""
    for at in range(0, len(events), AT_ONCE):
        now, codes, seqs = events[at : at + AT_ONCE].T
        yield from zip(*(column.tolist() for column in (now, *as_python(of_who)(codes), seqs)), strict=True)
