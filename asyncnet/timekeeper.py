"""The two notions of time of a loop: `reach(at, wire, listens)` returns the present, and the events that came, once there may be something to do.

A loop that `listens` is woken by messages. One whose nodes all act by their own clocks alone need not be: a message means nothing before the next
tick, so it sleeps until then and takes all that has come at once, at a fraction of the wake-ups.
"""

from __future__ import annotations

import time
from typing import Protocol

NEVER = 2**62


class Wire(Protocol):
    """How a loop's messages reach other loops, and theirs reach it."""

    def post(self, event: tuple, now: int) -> None:
        """Take an event for a node hosted elsewhere."""

    def flush(self) -> None:
        """Send what was posted."""

    def collect(self, timeout: int) -> list[tuple]:
        """Events that have come; waits up to `timeout` microseconds for the first."""


class Virtual:
    """Simulated time: it jumps to the next event."""

    now = 0

    def reach(self, at: int, wire: Wire | None, listens: bool) -> tuple[int, list[tuple]]:
        del wire, listens
        self.now = at
        return at, []


class Wall:
    """Real time in microseconds since `start` (a reading of time.monotonic_ns): it waits until the next event is due or a message comes."""

    LONGEST = 100_000  # microseconds without looking up, so that a request to stop is heard

    def __init__(self, start: int) -> None:
        self.start = start

    @property
    def now(self) -> int:
        return (time.monotonic_ns() - self.start) // 1000

    def reach(self, at: int, wire: Wire | None, listens: bool) -> tuple[int, list[tuple]]:
        wait = max(0, min(at - self.now, self.LONGEST))
        if wire is None:
            time.sleep(wait / 1e6)
            return self.now, []
        wire.flush()
        if listens:
            came = wire.collect(wait)
        else:
            time.sleep(wait / 1e6)
            came = wire.collect(0)
        return self.now, came
