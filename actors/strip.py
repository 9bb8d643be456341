"""The last events that a host has written down, in memory that outlives it: what others have heard from it can then be replayed, however it ended.

A ring of rows (now, who, sequence number) behind one whose first number says how many were ever written. The loop writes what is on its tape here before
others hear what came of it (posting.publish). The memory has no name; whoever watches the run opens it while its owner lives, and so keeps it.
"""

from __future__ import annotations

import numpy as np

from .memory import Anonymous

ROWS = 1 << 18  # six megabytes: what a busy loop writes down in two seconds or so
COLUMNS = 3


class Strip:
    """A host's own, or with an `address` somebody else's; OSError: that one cannot be opened from here, or is no strip."""

    def __init__(self, address: list[str] | None = None) -> None:
        size = (1 + ROWS) * COLUMNS
        self._memory = Anonymous(size) if address is None else Anonymous.opened(address)
        if self._memory.all.size != size:
            raise OSError("no strip of this layout")
        self.rows = self._memory.all.reshape(-1, COLUMNS)
        self.address = self._memory.address

    @property
    def written(self) -> int:
        """How many rows were ever written."""
        return int(self.rows[0, 0])

    def since(self, event: int) -> np.ndarray | None:
        """The rows from that number on; None if they are not there any more."""
        written = self.written
        if not 0 <= written - event <= ROWS:
            return None
        return self.rows[1 + np.arange(event, written) % ROWS]
