"""Writing down what a loop's nodes hear while it runs on real clocks, so that playback.py can do it again.

A Recorder is a loop's tape. About once a second it asks the loop for a moment between two events, notes digests of its nodes and closes a segment
(journal.py). Encoding may be done by another thread: the loop waits for the digests only, which are spaced so that they take a hundredth of its time.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from asyncnet.kernels.layout import Views
from asyncnet.loop.loop import Loop
from asyncnet.nodes.node import Node
from asyncnet.record.journal import Digest, Segment, encode

EVERY = 1.0  # seconds between segments
MOST_EVENTS = 1 << 18  # in a segment
MOST_NUMBERS = 1 << 22  # in its transitions
WIDTH = 8  # bytes of a field's digest
LEISURE = 100  # a second of digests every hundred seconds


def fields_of(node: Node) -> list[str]:
    """The names of a node's fields, in the order of their digests."""
    return [field.name for field in node.bound.fields if field.digested]


def digest_of(node: Node) -> bytes:
    """Eight bytes for each field of a node's state."""
    return b"".join(hashlib.blake2b(node.view.part(name), digest_size=WIDTH).digest() for name in fields_of(node))


def differing(node: Node, one: bytes, other: bytes) -> str:
    """The first field of a node for which two digests of it differ."""
    places = range(0, max(len(one), len(other)), WIDTH)
    return next((name for name, at in zip(fields_of(node), places, strict=False) if one[at : at + WIDTH] != other[at : at + WIDTH]), "layout")


def transition(v: Views) -> np.ndarray:
    """How a task that lives outside stands, as one row: observation, reward, ending."""
    return np.concatenate((v.observation.ravel(), v.reward, v.ended))


def put_transition(v: Views, row: np.ndarray) -> None:
    """Have it stand so."""
    parts = np.split(row, np.cumsum((v.observation.size, v.reward.size)))
    for array, part in zip((v.observation, v.reward, v.ended), parts, strict=True):
        array[:] = part.reshape(array.shape)


class Recorder:
    """The tape of the loop called `name`; give it the loop with `watch` before it runs."""

    def __init__(self, name: str, out: Callable[[bytes], None] | None = None, first: int = 0) -> None:
        """With `out` each segment is encoded when it is closed and given there; else it waits for `segments`. Events are counted from `first` on."""
        self.name, self.number, self.events, self._out = name, 0, first, out
        self._first = first
        self._rows: list[np.ndarray] = []
        self._transitions: list[np.ndarray] = []
        self._digests: list[Digest] = []
        self._closed: deque[Segment] = deque()
        self._cut_at = self._digest_at = time.monotonic() + EVERY
        self._asked = False

    def watch(self, loop: Loop) -> None:
        """Be this loop's tape; of a task that lives outside, note how it stands now and after each of its steps."""
        self.loop = loop
        loop.tape = self
        if 0 in loop.nodes and loop.nodes[0].outside is not None:
            self._transitions.append(transition(loop.nodes[0].view))
            loop.nodes[0].outside = _Witness(loop.nodes[0].outside, self._note_transition)

    def __call__(self, rows: np.ndarray) -> None:
        """Take events (now, who, sequence number) that the loop has written down."""
        self._rows.append(rows)
        self.events += len(rows)
        if time.monotonic() >= self._cut_at or self.events - self._first >= MOST_EVENTS:
            self._ask()

    def finish(self) -> None:
        """Close the last segment, when the loop has ended in order; without it the recording ends with the segment before."""
        self._note_digests()
        self._close(last=True)

    def segments(self) -> list[tuple[int, bytes]]:
        """The segments closed since the last call, encoded, and after which event each ends; from any thread."""
        out = []
        while self._closed:
            segment = self._closed.popleft()
            out.append((segment.first + len(segment.events), encode(segment)))
        return out

    def say_how_it_begins(self) -> None:
        """Close a segment with no events, but with a digest of each node: of a loop that has gone back to an earlier state, before it runs."""
        self._note_digests()
        self._close(last=False)

    def _ask(self) -> None:
        if not self._asked:
            self._asked = True
            self.loop.ask(self._cut)

    def _cut(self) -> None:
        self._asked = False
        began = time.monotonic()
        self._cut_at = began + EVERY
        if began >= self._digest_at:
            self._note_digests()
            took = time.monotonic() - began
            self._digest_at = began + max(EVERY, LEISURE * took)
        self._close(last=False)

    def _note_transition(self, row: np.ndarray) -> None:
        self._transitions.append(row)
        if len(self._transitions) * len(row) >= MOST_NUMBERS:
            self._ask()

    def _note_digests(self) -> None:
        self._digests += [Digest(self.events, i, digest_of(self.loop.nodes[i])) for i in sorted(self.loop.nodes)]

    def _close(self, last: bool) -> None:
        events = np.concatenate([np.zeros((0, 3), dtype=np.int64), *self._rows])
        transitions = np.array(self._transitions) if self._transitions else np.zeros((0, 0))
        pieces = list(_pieces(events, transitions))
        for left, piece in zip(reversed(range(len(pieces))), pieces, strict=True):
            digests = () if left else tuple(self._digests)
            segment = Segment(self.name, self.number, self._first, *piece, digests, last and not left)
            if self._out is not None:
                self._out(encode(segment))
            else:
                self._closed.append(segment)
            self.number, self._first = self.number + 1, self._first + len(piece[0])
        self._rows, self._digests = [], []
        self._transitions.clear()


def _pieces(events: np.ndarray, transitions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What was written down, in pieces that a segment holds: a busy loop is late in closing one. Transitions come no later than the events they are of."""
    rows = max(1, MOST_NUMBERS // max(1, transitions.shape[1]))
    while len(transitions) > rows:
        yield events[:0], transitions[:rows]
        transitions = transitions[rows:]
    while len(events) > MOST_EVENTS:
        yield events[:MOST_EVENTS], transitions
        events, transitions = events[MOST_EVENTS:], transitions[:0]
    yield events, transitions


class _Witness:
    """A task that lives outside, and somebody who is told what each of its steps leads to."""

    def __init__(self, outside: Any, tell: Callable[[np.ndarray], None]) -> None:
        self._outside, self._tell = outside, tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outside, name)

    def step(self, v: Views) -> None:
        """Step it, and tell."""
        self._outside.step(v)
        self._tell(transition(v))
