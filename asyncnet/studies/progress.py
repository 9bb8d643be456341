"""How far many runs are, and how long the rest will take: a run counts as much as it is long."""

from __future__ import annotations

import time
from typing import Protocol

from asyncnet.scenario.schema import Scenario


class Shown(Protocol):
    """Where a sweep says how it is going."""

    def note(self, text: str) -> None:
        """One line."""

    def study(self, done: float, text: str) -> None:
        """How far all is, as a share, and what has come of it."""


def length(scenario: Scenario | None) -> float:
    """How long a run is, in episodes or decisions: runs of one study take times in about these proportions."""
    return 0.0 if scenario is None else float(scenario.task.episodes or scenario.task.decisions or 1)


class Progress:
    """Of `total` runs, `work` long together: which were there already, which have ended, and how far those are that are being run."""

    def __init__(self, shown: Shown | None, total: int, work: float) -> None:
        self._shown, self._total, self._work = shown, total, work
        self._began, self._ended, self._done = time.monotonic(), 0, 0.0
        self._running: dict[int, tuple[float, float]] = {}

    def note(self, text: str) -> None:
        """Say something."""
        if self._shown is not None:
            self._shown.note(text)

    def passed(self, runs: int, work: float) -> None:
        """Some need not be run: they are there, or are another's twins."""
        self._ended += runs
        self._work -= work

    def reached(self, number: int, share: float, work: float, text: str = "") -> None:
        """A run, `work` long, has got so far; 1: it has ended."""
        self._running[number] = share, work
        if share >= 1.0:
            del self._running[number]
            self._done += work
            self._ended += 1
        if self._shown is not None:
            done = min(1.0, (self._done + sum(part * whole for part, whole in self._running.values())) / max(self._work, 1e-9))
            took = time.monotonic() - self._began
            left = f", about {_minutes(took / done * (1.0 - done))} left" if done > 0.02 and self._ended < self._total else ""
            self._shown.study(done, f"{self._ended:,} of {self._total:,} runs{left}{text}")


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
