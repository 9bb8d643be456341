"""Whether a state that comes from a file can be one of this team.

Machine code checks nothing: what a kernel uses as an index, a count or a time must be right before it runs. So whatever is put into a loop passes here:
every array has its shape, every field of a node holds what its declaration says (layout.Field), every event is one that the plan knows, of its size and at a
time that can come. Weights, traces and the like may be any numbers, for a run that has diverged can go on too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import ConfigDict, Field, ValidationError

from asyncnet.loop import clock, ledger
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import TICK, TRANSITION, TURN
from asyncnet.loop.timekeeper import NEVER
from asyncnet.nodes import world
from asyncnet.nodes.node import Node
from asyncnet.runs.checkpoint import MANIFEST, STATE, Checkpoint
from asyncnet.runs.rewards import sums_of
from asyncnet.scenario.model import Model
from asyncnet.scenario.schema import ScenarioError
from asyncnet.team import network
from asyncnet.team.network import CHANNEL, DST, PORT, SRC

MOST = 2**53 - 1  # whole numbers up to here are exact in float64
MOST_COUNTED = 2**60  # so that a handful can be added up
AT, KIND, TO, FROM, SEQ, STAMP, AT_PORT, SIZE = range(8)  # columns of an agenda
LINK, HELD_SEQ, HELD_STAMP, HELD_SIZE = range(4)  # of what is held back


class _Score(Model):
    rows: list[dict[str, int | float | None]]
    look_at: Annotated[int, Field(ge=0, le=MOST)]


class _About(Model):
    model_config = ConfigDict(extra="ignore")
    now: Annotated[int, Field(ge=0, le=MOST)]
    score: _Score


def check(loop: Loop, whole: Checkpoint, *, at_once: bool = False) -> None:
    """Raise a ScenarioError that names file and array if `whole` is no state from which the loop, just made, can go on.

    `at_once`: it is the state of one instant of simulated time, where nothing is late and nobody has heard of a decision that the world has not come to.
    """
    _Check(loop, whole, at_once).all()


class _Limits(NamedTuple):
    """What the states of nodes of one kind may hold: whole numbers from `low` to `high` at some places, at others what a node just built has."""

    whole: np.ndarray
    low: np.ndarray
    high: np.ndarray
    fixed: np.ndarray


class _Check:
    def __init__(self, loop: Loop, whole: Checkpoint, at_once: bool) -> None:
        self.loop, self.plan, self.whole, self.at_once = loop, loop.plan, whole, at_once
        self.decision = MOST
        self._limits: dict[tuple[int, int], _Limits] = {}
        self._sizes: dict[int, int] = {}

    def all(self) -> None:
        try:
            about = _About.model_validate(self.whole.about)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, ("about", *first["loc"])))
            raise ScenarioError(f"{self.whole.where}/{MANIFEST}", key, f"not a state of this team: {first['msg']}") from None
        self.now = about.now
        if 0 in self.loop.nodes:
            self._world(about.score.look_at)
        for node in self.loop.nodes.values():
            self._node(node)
        counts = self._array("counts", np.int64, len(self.plan.nodes), 3 + TICK)
        self._demand((np.sort(counts[:, 0]) == np.arange(len(counts))).all(), "counts", "a row for each node is needed")
        self._within("counts", counts, 0, MOST)
        self._within("ledger", self._array("ledger", np.int64, len(ledger.COLUMNS), len(self.plan.links)), 0, MOST_COUNTED)
        if self.loop.struck.size:
            self._within("struck", self._array("struck", np.int64, self.loop.struck.size), 0, MOST_COUNTED)
        if self.loop.clears.size:
            clears = self._array("clears", np.float64, self.loop.clears.size)
            longest = np.array([model.longest_line for model in self.loop.models.models])[self.loop.models.of]
            self._demand((clears >= 0.0).all() and (clears <= self.now + longest).all(), "clears", "a line is longer than any can be")
        if self.loop.mishaps:
            self._mishaps(self._array("mishaps", np.int64, None, 3))
        self._agenda(self._array("agenda", np.int64, None, 8))
        self._held(self._array("held", np.int64, None, 4))

    def _demand(self, sound: bool, name: str, why: str) -> None:
        if not sound:
            raise ScenarioError(f"{self.whole.where}/{STATE}", name, f"not a state of this team: {why}")

    def _array(self, name: str, dtype: type, *shape: int | None) -> np.ndarray:
        """An array of that type and shape; None: of any length."""
        found = self.whole.arrays.get(name)
        self._demand(found is not None, name, "it is missing")
        fits = found.dtype == dtype and len(shape) == found.ndim and all(want in (None, size) for want, size in zip(shape, found.shape, strict=True))
        self._demand(fits, name, f"{found.dtype} {found.shape} where {np.dtype(dtype)} {tuple('any' if size is None else size for size in shape)} is needed")
        return found

    def _within(self, name: str, numbers: np.ndarray, low: Any, high: Any, what: str = "") -> None:
        wrong = (numbers < low) | (numbers > high)
        if wrong.any():
            at = tuple(np.argwhere(wrong)[0])
            low, high = (np.broadcast_to(bound, numbers.shape)[at] for bound in (low, high))
            self._demand(False, name, f"{what or 'it'} holds {numbers[at]}, not a number from {low} to {high}")

    def _world(self, look_at: int) -> None:
        node = self.loop.nodes[0]
        state = self._array(f"node/{node.name}", np.float64, node.state.size)
        view = {name: state[first:last] for name, (first, last, _) in node.places.items()}
        if self.at_once:
            self._within(f"node/{node.name}", np.nan_to_num(view["stamp"], nan=-2.0), -1, MOST, "stamp")
            self.decision = int(view["stamp"][0])
        self._node(node)
        self._demand(view["look_at"][0] == look_at, f"node/{node.name}", f"look_at is {view['look_at'][0]:g}, its score's {look_at}")
        decisions, ended = (int(view["counts"][what]) for what in (world.DECISIONS, world.EPISODES))
        logged = len(self._array("score/rewards", np.float64, None)) + int(view["log_count"][0])
        summed = sums_of(max(0, decisions - logged))
        fits = (
            logged == decisions if "score/sums" not in self.whole.arrays else logged <= decisions and self._array("score/sums", np.float64, None).size == summed
        )
        self._demand(fits, "score/rewards", f"{logged} are known of {decisions}")
        known = len(self._array("score/returns", np.float64, None)) + int(view["return_count"][0])
        self._demand(known == ended, "score/returns", f"{known} are known of {ended}")
        episodes = self._array("score/episodes", np.int64, 2, len(self.whole.arrays["score/returns"]))
        self._within("score/episodes", episodes, 1, int(view["counts"][world.DECISIONS]))
        ends = np.concatenate((episodes[1], view["episode_log"][1 : 2 * int(view["return_count"][0]) : 2]))
        self._demand((np.diff(ends) >= 0).all() and (ends <= view["counts"][world.DECISIONS]).all(), "score/episodes", "episodes that ended in no order")

    def _mishaps(self, rows: np.ndarray) -> None:
        """Of each node that anything befalls when it was last brought up to date, ticks that it missed, and copies of its state."""
        named = rows[:, 0]
        self._demand(np.isin([*self.loop.mishaps], named).all() and len(np.unique(named)) == len(named), "mishaps", "a row for each node is needed")
        self._within("mishaps", rows[:, 1], -1, self.now, "a time")
        self._within("mishaps", rows[:, 2], 0, MOST, "ticks")
        for i, made in self.loop.mishaps.items():
            node = self.loop.nodes[i]
            copies = self._array(f"kept/{node.name}", np.float64, made.kept.size)
            for copy in copies.reshape(-1, node.state.size):
                self._state(node, f"kept/{node.name}", copy)

    def _node(self, node: Node) -> None:
        name = f"node/{node.name}"
        self._state(node, name, self._array(name, np.float64, node.state.size))

    def _state(self, node: Node, name: str, state: np.ndarray) -> None:
        limits = self._limits_of(node)
        held = state[limits.whole]
        right = (held >= limits.low) & (held <= limits.high) & (held == np.floor(held))
        if not right.all():
            at = int(np.argmin(right))
            why = f"{self._field(node, limits.whole[at])} holds {held[at]:g}, not a whole number from {limits.low[at]:.0f} to {limits.high[at]:.0f}"
            self._demand(False, name, why)
        same = state[limits.fixed] == node.state[limits.fixed]
        if not same.all():
            at = limits.fixed[int(np.argmin(same))]
            self._demand(False, name, f"{self._field(node, at)} holds {state[at]:g}, which is {node.state[at]:g} in this team")

    @staticmethod
    def _field(node: Node, at: int) -> str:
        return next(name for name, (first, last, _) in node.places.items() if first <= at < last)

    def _limits_of(self, node: Node) -> _Limits:
        """What a node's declared fields may hold, as places in its state."""
        key = id(node.places), id(node.config)
        if key not in self._limits:
            names = [*node.bound.dimensions, *(name for name, _ in node.bound.settings)]
            known = dict(zip(names, node.config.tolist(), strict=False)) | {"now": self.now, "decision": self.decision}
            fixed, places, low, high = [], [], [], []
            for field in node.bound.fields:
                first, last, shape = node.places[field.name]
                columns = np.arange(first, last).reshape(-1, max(1, shape[-1]))
                words = field.holds.split()
                for number, word in enumerate(words):
                    part = columns[:, number : None if number == len(words) - 1 else number + 1].ravel()
                    if word == "fixed":
                        fixed.append(part)
                    elif word != "any":
                        bounds = [_bound(text, known) for text in word.split("..")]
                        places.append(part)
                        low.append(np.full(part.size, bounds[0], dtype=np.int64))
                        high.append(np.full(part.size, bounds[1], dtype=np.int64))
            empty = np.zeros(0, dtype=np.int64)
            self._limits[key] = _Limits(*(np.concatenate([empty, *parts]) for parts in (places, low, high, fixed)))
        return self._limits[key]

    def _size(self, link: int) -> int:
        if link not in self._sizes:
            self._sizes[link] = network.payload_size(self.plan, self.loop.scenario.task.streams, link)
        return self._sizes[link]

    def _agenda(self, rows: np.ndarray) -> None:
        name, nodes, links = "agenda", len(self.plan.nodes), self.plan.links.astype(np.int64)
        waits = np.isin(rows[:, TO], list(self.loop.boxes)) & (rows[:, SIZE] >= 0)  # in a mailbox
        self._within(name, rows[:, AT], np.where(waits, 0, self.now if self.at_once else 0), NEVER - 1, "a time")
        for column, last, what in ((KIND, TICK, "a kind"), (TO, nodes - 1, "a receiver"), (FROM, nodes - 1, "a sender"), (SEQ, MOST, "a sequence number")):
            self._within(name, rows[:, column], 0, last, what)
        self._within(name, rows[:, STAMP], 0, max(0, self.decision), "a stamp")
        own = (rows[:, KIND] == TURN) | (rows[:, KIND] == TICK)
        self._demand((rows[own][:, [AT_PORT, SIZE]] == (0, -1)).all() and (rows[own, TO] == rows[own, FROM]).all(), name, "a turn that nobody takes")
        self._turns(rows[own])
        sent = rows[~own]
        columns = links[:, [CHANNEL, DST, SRC]], sent[:, [KIND, TO, FROM]]
        codes, wanted = ((kind * nodes + to) * nodes + src for kind, to, src in (each.T for each in columns))
        order = np.argsort(codes)
        place = np.minimum(np.searchsorted(codes, wanted, sorter=order), max(0, len(codes) - 1))
        self._demand((codes[order[place]] == wanted).all(), name, "a message that nobody sends")
        self._messages(name, order[place], sent[:, SIZE], np.cumsum(np.maximum(rows[:, SIZE], 0))[~own])
        self._demand(len(np.unique(sent[:, :STAMP], axis=0)) == len(sent), name, "the same message twice at one time")
        self._within(name, sent[:, AT_PORT], links[order[place], PORT], links[order[place], PORT], "a port")

    def _turns(self, rows: np.ndarray) -> None:
        """Each clock has its next tick, each node no more turns than it may have asked for, the world those that it waits for; none is too far away."""
        asked = rows[rows[:, KIND] == TURN]
        for i, count in zip(*np.unique(asked[:, TO], return_counts=True), strict=True):
            most = self.loop.nodes[i].turns if i in self.loop.nodes else count
            self._demand(count <= most, "agenda", f"{count} turns of {self.plan.nodes[i].name}, which asks for {most or 'none'}")
        for i, row in self.loop.clocks.items():
            ticks = rows[(rows[:, KIND] == TICK) & (rows[:, TO] == i), AT]
            self._demand(len(ticks) == (row[0] != clock.ON_ARRIVAL), "agenda", f"{len(ticks)} ticks of {self.plan.nodes[i].name}")
            befalls = self.loop.mishaps.get(i)
            longest = clock.longest(row) if befalls is None else befalls.longest(clock.longest(row))
            self._within("agenda", ticks, 0, self.now + longest, f"a tick of {self.plan.nodes[i].name}")
        if 0 in self.loop.nodes:
            node, turns = self.loop.nodes[0], rows[(rows[:, KIND] == TURN) & (rows[:, TO] == 0)]
            state = self.whole.arrays[f"node/{node.name}"]
            stamp, guarded, closing = (state[node.places[name][0]] for name in ("stamp", "guarded", "closing"))
            settings = self.loop.scenario.task.world
            waited = 1 if stamp < 0.0 or not settings.waits else int(guarded + closing)
            self._demand(len(turns) == waited, "agenda", f"{len(turns)} turns of the world, which waits for {waited}")
            longest = self.loop.tick * max(1.0, settings.interval, settings.timeout)
            self._within("agenda", turns[:, AT], 0, self.now + round(longest) + 1, "a turn of the world")

    def _held(self, rows: np.ndarray) -> None:
        links = self.plan.links
        self._within("held", rows[:, LINK], 0, len(links) - 1, "a link")
        self._within("held", rows[:, HELD_SEQ], 0, MOST, "a sequence number")
        self._within("held", rows[:, HELD_STAMP], 0, max(0, self.decision), "a stamp")
        which, counts = np.unique(rows[:, LINK], return_counts=True)
        for link, count in zip(which.tolist(), counts.tolist(), strict=True):
            most = self.loop.models.at(link).stale
            self._demand(count <= most, "held", f"{count} messages of a link that holds back {most}")
        self._messages("held", rows[:, LINK], rows[:, HELD_SIZE], np.cumsum(np.maximum(rows[:, HELD_SIZE], 0)))

    def _messages(self, name: str, which: np.ndarray, sizes: np.ndarray, ends: np.ndarray) -> None:
        """Their sizes are those of their links, their numbers are there, and where one of these is a stamp, it is."""
        right = np.array([self._size(link) for link in which.tolist()], dtype=np.int64)
        self._within(name, sizes, right, right, "a size")
        values = self._array(f"{name}/values", np.float64, int(right.sum()))
        named = values[(ends - sizes)[self.plan.links[which, CHANNEL] == TRANSITION]]
        self._demand(((named >= -1) & (named <= MOST) & (named == np.floor(named))).all(), f"{name}/values", "a transition of no decision")


def _bound(text: str, known: Mapping[str, float]) -> float:
    """A sum of names and numbers; of nothing: the largest."""
    return sum(known[word] if word in known else int(word) for word in text.split("+")) if text else MOST
