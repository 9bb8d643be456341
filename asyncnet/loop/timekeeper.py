"""Notions of time of a loop: `reach(at)` returns the present once it may be time for what is due at `at`, `limit` is the last instant that may be handled now.

A third, simulated time that loops share, is actors/windows.py.
"""

from __future__ import annotations

import time

NEVER = 2**62


class Virtual:
    """Simulated time: it jumps to the next event."""

    now = 0
    limit = NEVER - 1

    def reach(self, at: int) -> int:
        self.now = at
        return at


class Wall:
    """Real time in microseconds since `start` (a reading of time.monotonic_ns)."""

    LONGEST = 100_000  # microseconds without looking up, so that a request to stop is heard

    def __init__(self, start: int) -> None:
        self.start = start

    @property
    def now(self) -> int:
        return (time.monotonic_ns() - self.start) // 1000

    @property
    def limit(self) -> int:
        return self.now

    def left(self, at: int) -> int:
        """Microseconds until then, at most LONGEST."""
        return max(0, min(at - self.now, self.LONGEST))

    def reach(self, at: int) -> int:
        time.sleep(self.left(at) / 1e6)
        return self.now
