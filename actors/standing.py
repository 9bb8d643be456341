"""A loop on real clocks that can be made to stand still, for a state of the whole team in which nothing is under way between loops.

All are told to stand from the same instant of the run. A loop that stands handles nothing and takes in what is still on the wire, so in the end every message
is where a state knows of it, and the books of all loops together balance; that is how one knows. Then all go on from that instant: the run's own time has
stood still too, so nobody has missed a tick.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.ledger import account
from asyncnet.loop.timekeeper import Wall

LOOK = 0.002  # seconds between looks at what has come


def at_time_of_day(at: int, now: int) -> Wall:
    """A clock that shows the run's time `now`, in microseconds, at the time of day `at`, in nanoseconds."""
    return Wall(at - (time.time_ns() - time.monotonic_ns()) - 1000 * now)


class StandingLoop(CompiledLoop):
    """A CompiledLoop in real time whose peers are StandingLoops too."""

    def __init__(self, *arguments: Any, **how: Any) -> None:
        super().__init__(*arguments, **how)
        self.stands: tuple[int, np.ndarray] | None = None  # while it stands: since when, in the run's time, and its books
        self._going_on: tuple[int, int] | None = None

    def stand(self, at: int) -> None:
        """Stand still from `at` on, nanoseconds of the time of day, until `go_on`; from any thread."""
        self._going_on = None
        since = self.keeper.now + (at - time.time_ns()) // 1000 if self.stands is None else self.stands[0]
        timer = threading.Timer((at - time.time_ns()) / 1e9, self._order, (since,))
        timer.daemon = True
        timer.start()

    def _order(self, since: int) -> None:
        self.ask(lambda: self._stand(since))
        self.wire.wake()

    def go_on(self, now: int, at: int) -> None:
        """Go on at `at`, nanoseconds of the time of day, where the run's time is `now`; from any thread."""
        self._going_on = now, at

    def _stand(self, since: int) -> None:
        while self._going_on is None and self.stopped is None:
            self.take_in()
            self._catch_up()
            self.stands = max(since, self.now), account(self)
            self._answer()
            time.sleep(LOOK)
        self.stands = None
        if self._going_on is not None:
            now, at = self._going_on
            self.keeper.start = at_time_of_day(at, now).start
            time.sleep(max(0.0, (now - self.keeper.now) / 1e6))
