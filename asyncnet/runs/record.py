"""What an engine hands back: everything a run did, whichever engine ran it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from asyncnet.loop.counts import Counts
from asyncnet.runs.checkpoint import Checkpoint


class Reporter(Protocol):
    """Where a running engine says how it is going."""

    def note(self, text: str) -> None:
        """One line about what is being done."""

    def row(self, row: dict[str, Any]) -> None:
        """One row of progress (metrics.Score.row)."""


def begun(reporter: Reporter, title: str, place: Path) -> None:
    """Tell a reporter that has `begin` what begins, and in which directory it is kept."""
    tell = getattr(reporter, "begin", None)
    if tell is not None:
        tell(title, place)


class Keeper(Protocol):
    """Where a running engine keeps what a later one can go on from (rundir.py)."""

    every: float  # seconds between checkpoints; 0: none
    name: str  # of the run
    recording: bool  # whether a run on real clocks writes down what its nodes hear

    def checkpoint(self, state: Checkpoint) -> None:
        """Keep a complete state."""

    def segment(self, loop: str, data: bytes) -> None:
        """Keep the next segment of a loop's recording (journal.py)."""

    def traffic(self, counts: Counts) -> None:
        """Keep what was counted so far, as it is shown to whoever watches (picture.py)."""


@dataclass(frozen=True)
class Record:
    """A run's outcome: why it stopped, what the world measured, what became of the messages, and where the weights ended."""

    stopped: str  # "finished", "interrupted", or what went wrong
    score: dict[str, Any]  # metrics.Score.summary
    returns: list[float]
    digest: str  # "" if it is not known of every node how it ended
    seconds: float  # from the first event to the last
    weights: dict[str, dict[str, np.ndarray]]  # node name -> what an optimiser changes: "weight", "bias", ...
    nodes: dict[str, dict[str, Any]]  # node name -> ticks, counts
    links: dict[str, dict[str, Any]]  # channel -> ledger, measured delay
    ledger: np.ndarray  # (columns, links) of ledger.py; (columns, 0) if nothing is known of the messages
    fields: dict[str, str]  # node name -> a digest of each field of its state (recorder.digest_of), in hexadecimal
    struck: list[int] = field(default_factory=list)  # how often each fault of the scenario has done something; [] if that is not known
    lengths: list[int] = field(default_factory=list)  # decisions that each episode took
    ends: list[int] = field(default_factory=list)  # after how many decisions of the run it ended
    rewards: list[tuple[int, float]] = field(default_factory=list)  # Rewards.binned
    measured: dict[str, Any] = field(default_factory=dict)  # what only real clocks have
    lost: bool = False  # whether it stopped because a part of it was lost: it may go on from its last checkpoint
    elapsed: int = 0  # microseconds of the run at its end, simulated or real
