"""Simulated time that loops share, so that a team on many actors ends in the bits of one process: conservative windows.

Every loop handles events up to its limit. Then all tell all what was said and when they will act next, and compute the next limits from the same numbers:

    N[k]       the next event of loop k: on its own agenda, or the earliest message sent to it
    limit[i] < min over k of N[k] + reach[k, i]        reach: the shortest way from k to i (for k = i, round and back) over the least delays of links

Nothing can reach loop i before that, so no loop ever has to take anything back, and since some N[k] is the least, somebody can always go on. Sources: Chandy
& Misra 1979 (look-ahead), Nicol 1993 (windows).

Where all must stand at the same instant, for a checkpoint or the end, the world's loop names a meeting: nobody passes it, and when nobody has anything left
to do before it, it has come. Near its end, when the world might finish within a window, the others do not pass the first event that it may have.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from asyncnet.loop.compiled.agenda import KIND_SHIFT
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.link import CONSTANT, UNIFORM
from asyncnet.loop.loop import LinkModel
from asyncnet.loop.message import CHANNEL_NAMES
from asyncnet.loop.timekeeper import NEVER, Virtual
from asyncnet.loop.underway import NOTHING
from asyncnet.runs import snapshot
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.scenario.schema import ScenarioError
from asyncnet.team.network import CHANNEL, DST, SRC, Plan

from .courier import SENDER

FAR = NEVER >> 1  # two of them added up are no overflow
PROMISE = 6  # the kind of the last row of a window's last frame: (meeting, this kind, window, purpose, loops), N as far as its sender knows as payload
NONE, CHECKPOINT, STOP, FINISH = range(4)  # purposes of a meeting
ENDING = 8  # added to one: do not pass what may be the world's next event
WAIT = 100_000  # microseconds to wait for a frame without looking up


def least(model: LinkModel) -> int:
    """The least delay, in microseconds, that messages of a channel may have."""
    total = 0.0
    for code, low, _ in model.conditions.tolist():
        if code in (CONSTANT, UNIFORM):
            total += low
    return round(total)


def reach(plan: Plan, models: Mapping[int, LinkModel], where: Mapping[int, str], names: list[str]) -> np.ndarray:
    """The least time (loops, loops) from an event of one loop to what it can cause in another, or round and back in itself.

    ScenarioError: a link between two loops may take no time, so neither could ever go on without asking the other.
    """
    place = np.array([names.index(where[i]) for i in range(len(plan.nodes))])
    out = np.full((len(names), len(names)), FAR, dtype=np.int64)
    for channel, model in models.items():
        links = plan.links[plan.links[:, CHANNEL] == channel]
        links = links[place[links[:, SRC]] != place[links[:, DST]]]
        if not len(links):
            continue
        if least(model) < 1:
            src, dst = plan.nodes[links[0, SRC]].name, plan.nodes[links[0, DST]].name
            key = f"links.{CHANNEL_NAMES[channel]}"
            why = f"{src} -> {dst} joins two actors and may take less than a microsecond; simulated time on Ray needs a longer delay there ({key}.delay)"
            raise ScenarioError("--time virtual", key, why)
        np.minimum.at(out, (place[links[:, SRC]], place[links[:, DST]]), least(model))
    for middle in range(len(names)):
        out = np.minimum(out, out[:, middle, None] + out[None, middle])
    return out


class Windowed(Virtual):
    """The time of a loop that shares it."""

    limit = -1


class WindowedLoop(CompiledLoop):
    """A CompiledLoop in simulated time whose peers are WindowedLoops too; `join` tells it of them before it runs."""

    def __init__(self, *arguments: Any, **how: Any) -> None:
        super().__init__(*arguments, **how)
        self.at_meeting: Checkpoint | None = None  # the state of its nodes at the last meeting that was for it
        self.waits: tuple[float, list[str]] = (0.0, [])  # since when it waits (time.monotonic), and for which loops
        self.window = 0
        self._wanted = NONE
        self._meeting, self._purpose, self._ending = NEVER, NONE, 0
        self._latest = 0  # no loop has handled an event after this
        self._early: list[tuple[np.ndarray, np.ndarray]] = []  # frames of the next window; no loop is farther ahead, so no more than all say in one
        self._missing: set[int] = set()  # loops whose promise of this window has not come

    def join(self, where: Mapping[int, str]) -> None:
        """Learn which loop hosts each node; raises ScenarioError as `reach` does."""
        self._names = sorted(set(where.values()))
        self._me, self._world = self._names.index(where[min(self.nodes)]), self._names.index(where[0])
        self._reach = reach(self.plan, self.models, where, self._names)
        self._place = np.array([self._names.index(where[i]) for i in range(len(self.plan.nodes))])
        self._next = np.full(len(self._names), NEVER, dtype=np.int64)
        self._known = np.full((len(self._names), len(self._names)), NEVER, dtype=np.int64)
        interval = max(1, round(self.scenario.task.world.interval * self.tick))
        # Decisions that the world may close before the others have heard of the first of them.
        self._closings = 1 + int((self._reach[self._world][self._reach[self._world] < FAR].max(initial=1) - 1) // interval)

    def meet(self, purpose: int) -> None:
        """Have all loops meet as soon as they can, for a CHECKPOINT or to STOP; for the world's loop, from any thread."""
        self._wanted = purpose

    def _idle(self, at: int) -> None:
        self._next[self._me] = at
        self._promise()
        known = self._hear()
        if known is None:
            return  # stopped
        nexts = known.min(axis=0)
        limits = (nexts[:, None] + self._reach).min(axis=0) - 1
        self._latest = max(self._latest, int(limits.max()))
        if nexts.min() >= NEVER:
            self._stall()
        elif self._meeting <= nexts.min():
            self._come()
        limit = min(int(limits[self._me]), self._meeting - 1)
        if self._ending and self._me != self._world:
            limit = min(limit, int(nexts[self._world]) - 1, int(limits[self._world]))
        self.keeper.limit = limit

    def _promise(self) -> None:
        """Send every peer what waits for it, and what is known of everybody's next event."""
        if self._me == self._world:
            self._ending = ENDING if self._near() else 0
            if self._wanted != NONE and self._meeting == NEVER:
                self._meeting, self._purpose, self._wanted = max(self._latest, self.now) + 1, self._wanted, NONE
        self._note_due()
        self.window += 1
        row = np.array([[self._meeting, PROMISE << KIND_SHIFT | self._me, self.window, self._purpose | self._ending, len(self._names)]])
        counts, out, numbers = self._tables.out_count, self._tables.out, self._tables.out_numbers
        for peer, name in enumerate(self._peers):
            rows, size = counts[peer].tolist()
            refused = self.wire.send(name, np.concatenate((out[peer, :rows], row)), np.concatenate((numbers[peer, :size], self._next.view(np.float64))))
            if refused is not None:
                self._refused(refused)
        counts[:] = 0

    def _note_due(self) -> None:
        """Note when what waits to be sent is due; `_next` has what was sent before in this window."""
        for peer, rows in enumerate(self._tables.out_count[:, 0].tolist()):
            if rows:
                place = self._names.index(self._peers[peer])
                self._next[place] = min(self._next[place], self._tables.out[peer, :rows, 0].min())

    def _flush(self) -> None:
        self._note_due()
        super()._flush()

    def _refused(self, rows: np.ndarray) -> None:
        raise RuntimeError("the wire had no room: messages of a window are lost")

    def _hear(self) -> np.ndarray | None:
        """Wait for everybody's promise of this window; returns N as each of them knows it (loops, loops), or None if the loop was stopped."""
        self._known[:] = NEVER
        self._known[self._me] = self._next
        self._next[:] = NEVER
        self._missing = {*range(len(self._names))} - {self._me}
        early, self._early = self._early, []
        for rows, numbers in early:
            self._take_frame(rows, numbers)
        since = time.monotonic()
        while self._missing:
            self.waits = since, [self._names[place] for place in sorted(self._missing)]
            for rows, numbers in self.wire.receive(WAIT):
                self._take_frame(rows, numbers)
            if self.stopped is not None:
                return None
        self.waits = 0.0, []
        return self._known

    def _take_frame(self, rows: np.ndarray, numbers: np.ndarray) -> None:
        """Take in messages and a promise. Those of a loop that is a window ahead wait: no state may know of a message before its cause."""
        ends = rows[-1, 1] >> KIND_SHIFT == PROMISE
        sender = int(rows[-1, 1]) & SENDER if ends else int(self._place[int(rows[0, 1]) & SENDER])
        if sender not in self._missing:
            self._early.append((rows, numbers))
            return
        if ends:
            meeting, _, window, purpose, loops = rows[-1].tolist()
            if window != self.window:
                raise RuntimeError(f"window {window} of loop {self._names[sender]} instead of {self.window}: a frame was lost")
            self._missing.discard(sender)
            self._known[sender] = numbers[-loops:].view(np.int64)
            if sender == self._world:
                self._meeting, self._purpose, self._ending = meeting, purpose & ~ENDING, purpose & ENDING
            rows, numbers = rows[:-1], numbers[:-loops]
        self._admit(rows, numbers)

    def _come(self) -> None:
        """All have come to the meeting."""
        self._come_to(self._meeting)
        if self._purpose == FINISH:
            self.stop("finished")
            return
        self._catch_up()
        self.at_meeting = snapshot.take(self)
        self.expect(NOTHING)
        if self._purpose == STOP:
            self.stop("interrupted")
        self._meeting, self._purpose = NEVER, NONE

    def _stall(self) -> None:
        if 0 in self.nodes:
            super()._stall()
        else:
            self.stop("stalled")

    def _near(self) -> bool:
        """Whether the world might finish within the next window."""
        counts, streams = self.nodes[0].counts(), len(self.nodes[0].view.episode)
        decisions, episodes = self.score.goal_decisions, self.score.goal_episodes
        if decisions is not None:
            return counts["decisions"] + self._closings >= decisions
        return counts["episodes"] + self._closings * streams >= episodes

    def _finish(self) -> None:
        self._meeting, self._purpose = self.now, FINISH
        self.keeper.limit = self.now - 1
