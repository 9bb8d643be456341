"""A node as its loop sees it: a flat array of state, kernels that change it, and messages that come out.

A node never sleeps, reads a clock, opens a socket or draws a number that is not its own; its future depends on scenario, seed, name and its ordered
inbox, and on nothing else.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from weakref import WeakValueDictionary

import numpy as np

from asyncnet.kernels import layout
from asyncnet.kernels.pointer import address
from asyncnet.loop.message import TICK, Message
from asyncnet.nodes.family import Family
from asyncnet.nodes.outbox import AGAIN, AT, CHANNEL, COLUMNS, COUNT, LINK, SIZE, STAMP, STEP
from asyncnet.runs.metrics import Score
from asyncnet.team.network import NodePlan

_NOTHING: tuple[Message, ...] = ()
_NO_PAYLOAD = np.zeros(0)

_shared: WeakValueDictionary[bytes, np.ndarray] = WeakValueDictionary()


def shared(numbers: np.ndarray) -> np.ndarray:
    """The one array with these numbers, which nobody changes: nodes of one shape share their settings, and their clock."""
    return _shared.setdefault(numbers.tobytes(), numbers)


@functools.cache
def _room(rows: int, numbers: int) -> tuple[int, int]:
    """Such a room, one for all nodes that have the same."""
    return rows, numbers


@functools.cache
def _outbox(rows: int, numbers: int) -> tuple[np.ndarray, np.ndarray]:
    """An outbox for so many messages; nodes of one shape share it, for it is empty between two calls."""
    return np.zeros((rows + 1, COLUMNS), dtype=np.int64), np.zeros(numbers)


def learned(places: Collection[str]) -> list[str]:
    """Which of a node's fields are learned: those that have an optimiser's slots beside them, and biases."""
    return [name for name in places if name == "bias" or f"slots_{name}" in places]


class Node:
    """A node made of kernels: `hear` takes in a message, `act` takes a turn, both return messages; one on channel TURN asks for a turn then.

    `view` names the arrays inside `state` and those `given`; `config` holds its settings (layout.py). `room` is that of its outbox: messages, and numbers with
    the scratch behind them.
    """

    # Few bytes for each of many; __dict__ is for whoever listens in on one of them.
    __slots__ = ("__dict__", "_first", "_numbers", "bound", "config", "flags", "given", "places", "plan", "room", "size")

    def __init__(
        self, plan: NodePlan, bound: Family, dims: dict[str, int], values: dict[str, float], room: tuple[int, int], given: dict[str, np.ndarray]
    ) -> None:
        self.plan, self.bound, self.places, self.given = plan, bound, bound.places(dims), bound.places(dims, layout.GIVEN)
        self.config = shared(bound.config(dims, values, given, room[1]))
        self.size = layout.end(self.places)
        self.move_to(np.zeros(self.size), 0)
        self.room = _room(room[0], layout.end(bound.places(dims, layout.SCRATCH, room[1]), room[1]))
        self.flags = 0  # what the last event asked of the host beside sending

    @property
    def name(self) -> str:
        """What people call it."""
        return self.plan.name

    @property
    def index(self) -> int:
        """Its number in the team."""
        return self.plan.index

    @property
    def identity(self) -> int:
        """What its draws are keyed by."""
        return self.plan.identity

    def move_to(self, numbers: np.ndarray, first: int) -> None:
        """Live in this array from now on: what it holds from `first` on is the node's state."""
        self._numbers, self._first = numbers, first

    @property
    def state(self) -> np.ndarray:
        """All that it keeps."""
        return self._numbers[self._first : self._first + self.size]

    @property
    def view(self) -> layout.Views:
        """The arrays inside the state, by name."""
        return layout.Views(self.state, self.places, self.config, self.given)

    def begin(self) -> None:
        """Fill the state: initial weights, nothing heard."""
        self.bound.begin(self.state, self.config, _outbox(*self.room)[1])

    def prepare(self) -> None:
        """Compile what the node will need, or find it compiled."""
        address(self.bound.handle)

    def hear(self, now: int, channel: int, port: int, seq: int, stamp: int, payload: np.ndarray) -> list[Message] | tuple[Message, ...]:
        """Take in one message (on an on-arrival clock: and act on it)."""
        return self._messages(now, 0, channel, port, seq, stamp, payload)

    def act(self, now: int, seq: int = 0) -> list[Message] | tuple[Message, ...]:
        """Take the turn of a tick, or one that it has asked for, with that one's number."""
        return self._messages(now, 2, TICK, 1, seq, 0, _NO_PAYLOAD)

    def _messages(self, now: int, ticked: int, kind: int, port: int, seq: int, stamp: int, payload: np.ndarray) -> list[Message] | tuple[Message, ...]:
        out, numbers = _outbox(*self.room)
        messages: list[Message] = []
        self.flags = AGAIN
        while self.flags & AGAIN:
            out[0] = 0
            self.flags = self.bound.handle(self.state, self.config, now, kind, port, seq, stamp, payload, out, numbers)
            for row in out[1 : 1 + out[0, COUNT]].tolist():
                messages.append(Message(row[CHANNEL], row[STAMP], numbers[row[AT] : row[AT] + row[SIZE]].copy(), row[LINK]))
            if self.flags & STEP:
                self.step()
            kind, port, seq, stamp, payload = TICK, ticked, 0, 0, _NO_PAYLOAD
        return messages or _NOTHING

    @property
    def digested(self) -> np.ndarray:
        """What two runs are compared by: the state without the fields that only wait for Python to take them."""
        passing = [slice(*self.places[field.name][:2]) for field in self.bound.fields if not field.digested]
        return np.delete(self.state, np.r_[tuple(passing)]) if passing else self.state

    @property
    def turns(self) -> int:
        """How many turns that it has asked for it may wait for at once, as its machine says (TURNS)."""
        return getattr(self.bound.machine, "TURNS", 0)

    def step(self) -> None:
        """Do what the node's kernels leave to Python; only the world's do."""
        raise NotImplementedError

    def learned(self) -> dict[str, np.ndarray]:
        """Copies of what is learned, by name: the arrays that have an optimiser's slots beside them, and biases."""
        return {name: getattr(self.view, name).copy() for name in learned(self.places)}

    def counts(self) -> dict[str, int]:
        """What the node passed over and did, by name."""
        return dict(zip(self.bound.machine.COUNT_NAMES, self.view.counts.astype(int).tolist(), strict=True))


class World(Node):
    """The node that holds the task (world.py); its task, if it lives in Python, is stepped here, and here its score is kept."""

    def __init__(self, *args: object, outside: object, score: Score) -> None:
        super().__init__(*args)
        self.outside, self.score = outside, score

    def step(self) -> None:
        self.outside.step(self.view)

    def look(self, now: int) -> None:
        """Bring the score up to date."""
        self.score.take(self.view, now)

    def close(self) -> None:
        """Give back what the task holds."""
        if self.outside is not None:
            self.outside.close()
