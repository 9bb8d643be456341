"""The two notions of time of a loop: `reach(at, wire)` returns the present once there may be something to do."""

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

    def reach(self, at: int, wire: Wire | None) -> tuple[int, list[tuple]]:
        del wire
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

    def reach(self, at: int, wire: Wire | None) -> tuple[int, list[tuple]]:
        wait = min(at - self.now, self.LONGEST)
        if wire is not None:
            wire.flush()
            came = wire.collect(max(0, wait))
            return self.now, came
        if wait > 0:
            time.sleep(wait / 1e6)
        return self.now, []
