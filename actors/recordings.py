"""What has been fetched of each host's recording; and the end of one whose host was lost, from the memory that outlives it (strip.py)."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from asyncnet.record.journal import Segment, encode
from asyncnet.runs.record import Keeper

from .hosts import STARTING, Hosts
from .strip import Strip

Fetched = dict[str, list[tuple[int, bytes]]]  # by host: segments, and after which event each ends


class Recordings:
    """Which life of each host is being recorded, and how far that has been fetched."""

    def __init__(self, hosts: Hosts, kept: Keeper) -> None:
        self._hosts, self._kept = hosts, kept
        self._lives: dict[str, int] = {}
        self._taken: dict[str, tuple[int, int]] = {}  # segments, and the number of the next event
        self._strips: dict[str, Strip] = {}

    def called(self, name: str) -> str:
        """What the recording of a host is called."""
        return f"{name}-{self._lives[name]}" if name in self._lives else name

    def collect(self) -> None:
        """Fetch and keep what all have recorded."""
        self.keep(self.fetched())

    def fetched(self, of: list[str] | None = None) -> Fetched:
        """What these hosts (all, if None) have recorded since the last time."""
        return self._hosts.answers("segments", of=of)

    def keep(self, found: Fetched) -> None:
        """Keep it."""
        for name, segments in found.items():
            for until, segment in segments:
                self._kept.segment(self.called(name), segment)
                self._taken[name] = self._taken.get(name, (0, 0))[0] + 1, until

    def watch(self, names: list[str]) -> None:
        """Hold what these hosts write down last, as far as it can be reached from here."""
        for name, address in self._hosts.answers("outliving", of=names, timeout=STARTING).items():
            with suppress(OSError, ValueError, OverflowError):
                self._strips[name] = Strip(address)

    def lost(self, name: str, *, all_is_there: bool) -> None:
        """A host is gone: end its recording with what it had written down, if all of that is to be had, and have the next be that of another life.

        What the steps of a task in Python led to is not on the strip: `all_is_there` is False for a world that has one.
        """
        strip, (number, first) = self._strips.pop(name, None), self._taken.pop(name, (0, 0))
        if all_is_there and strip is not None and (rows := strip.since(first)) is not None:
            self._kept.segment(self.called(name), encode(Segment(self.called(name), number, first, rows, np.zeros((0, 0)), (), True)))
        self._lives[name] = self._lives.get(name, 0) + 1
