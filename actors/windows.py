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

from asyncnet.loop.compiled import posting as p
from asyncnet.loop.compiled.compiled_loop import CompiledLoop, go_together
from asyncnet.loop.compiled.ring import PROMISED
from asyncnet.loop.compiled.sharing import FINISH, NONE, STOP
from asyncnet.loop.timekeeper import NEVER, Virtual
from asyncnet.loop.underway import NOTHING
from asyncnet.runs import snapshot
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.scenario.schema import ScenarioError
from asyncnet.team.conditions import Models
from asyncnet.team.network import DST, SRC, Plan

FAR = NEVER >> 1  # two of them added up are no overflow


def reach(plan: Plan, models: Models, where: Mapping[int, str], names: list[str]) -> np.ndarray:
    """The least time (loops, loops) from an event of one loop to what it can cause in another, or round and back in itself.

    ScenarioError: a link between two loops may take no time, so neither could ever go on without asking the other.
    """
    place = np.array([names.index(where[i]) for i in range(len(plan.nodes))])
    out = np.full((len(names), len(names)), FAR, dtype=np.int64)
    between = place[plan.links[:, SRC]] != place[plan.links[:, DST]]
    for number, model in enumerate(models.models):
        links = plan.links[between & (models.of == number)]
        if not len(links):
            continue
        if model.least < 1:
            src, dst = plan.nodes[links[0, SRC]].name, plan.nodes[links[0, DST]].name
            key = f"links.{model.channel}"
            why = f"{src} -> {dst} joins two actors and may take less than a microsecond; simulated time on Ray needs a longer delay there ({key}.delay)"
            raise ScenarioError("--time virtual", key, why)
        np.minimum.at(out, (place[links[:, SRC]], place[links[:, DST]]), model.least)
    for middle in range(len(names)):
        out = np.minimum(out, out[:, middle, None] + out[None, middle])
    return out


class Windowed(Virtual):
    """The time of a loop that shares it."""


class WindowedLoop(CompiledLoop):
    """A CompiledLoop in simulated time whose peers are WindowedLoops too; `join` tells it of them before it runs."""

    def __init__(self, *arguments: Any, **how: Any) -> None:
        super().__init__(*arguments, **how)
        self.at_meeting: Checkpoint | None = None  # the state of its nodes at the last meeting that was for it
        self._wanted = NONE
        self._since = 0, 0.0  # a window, and when it was first seen to wait in it (time.monotonic)

    def join(self, where: Mapping[int, str]) -> None:
        """Learn which loop hosts each node; raises ScenarioError as `reach` does."""
        self._names = sorted(set(where.values()))
        self._me, self._world = self._names.index(where[min(self.nodes)]), self._names.index(where[0])
        between = reach(self.plan, self.models, where, self._names)
        self.shared = between, np.full((len(self._names) + 2, len(self._names)), NEVER, dtype=np.int64)
        interval = max(1, round(self.scenario.task.world.interval * self.tick))
        # Decisions that the world may close before the others have heard of the first of them.
        self._closings = 1 + int((between[self._world][between[self._world] < FAR].max(initial=1) - 1) // interval)

    def _lay_out(self) -> None:
        super()._lay_out()
        if self.wire is None:
            return
        control, ours = self._tables.control, [p.SHARES, p.ME, p.WORLD, p.LIMIT, p.MEETING, p.WANTED, p.CLOSINGS, p.GOAL]
        control[ours] = 1, self._me, self._world, -1, NEVER, self._wanted, self._closings, -1
        if self.score is not None:
            counts, real = self.nodes[0].view.counts, self._tables.real
            control[p.COUNTS], control[p.STREAMS] = (counts.ctypes.data - real.ctypes.data) // 8, len(self.nodes[0].view.episode)
            if self.score.goal_decisions is not None:
                control[p.GOAL] = self.score.goal_decisions
            else:
                control[p.GOAL_EPISODES] = self.score.goal_episodes

    def _go(self, batch: int, until: int) -> tuple[int, int]:
        return go_together(self._directory, self.seed, batch)

    @property
    def window(self) -> int:
        """How many windows there were."""
        return int(self._tables.control[p.WINDOW])

    @property
    def waits(self) -> tuple[float, list[str]]:
        """Since when it is known to wait (time.monotonic), and for which loops; from any thread."""
        window = self.window
        if not self._tables.control[p.AWAITS]:
            return 0.0, []
        if self._since[0] != window:
            self._since = window, time.monotonic()
        promised = self._tables.peers[:, PROMISED].tolist()
        return self._since[1], [name for name, last in zip(self.wire.names, promised, strict=True) if last != window]

    def meet(self, purpose: int) -> None:
        """Have all loops meet as soon as they can, for a CHECKPOINT or to STOP; for the world's loop, from any thread."""
        self._wanted = self._tables.control[p.WANTED] = purpose

    def _meet(self) -> None:
        """All have come to the meeting."""
        control = self._tables.control
        self._come_to(int(control[p.MEETING]))
        if control[p.PURPOSE] == FINISH:
            self.stop("finished")
            return
        self._catch_up()
        self.at_meeting = snapshot.take(self)
        self.expect(NOTHING)
        if control[p.PURPOSE] == STOP:
            self.stop("interrupted")
        self._wanted = NONE
        control[p.MEETING], control[p.PURPOSE] = NEVER, NONE

    def _stall(self) -> None:
        if 0 in self.nodes:
            self.now = int(self._tables.control[p.NOW])
            super()._stall()
        else:
            self.stop("stalled")

    def _finish(self) -> None:
        self._tables.control[[p.MEETING, p.PURPOSE, p.LIMIT]] = self.now, FINISH, self.now - 1
