"""What an engine hands back: everything a run did, whichever engine ran it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np


class Reporter(Protocol):
    """Where a running engine says how it is going."""

    def note(self, text: str) -> None:
        """One line about what is being done."""

    def row(self, row: dict[str, Any]) -> None:
        """One row of progress (metrics.Score.row)."""


@dataclass(frozen=True)
class Record:
    """A run's outcome: why it stopped, what the world measured, what became of the messages, and where the weights ended."""

    stopped: str  # "finished", "interrupted", or what went wrong
    score: dict[str, Any]  # metrics.Score.summary
    returns: list[float]
    digest: str
    seconds: float  # from the first event to the last
    weights: dict[str, dict[str, np.ndarray]]  # node name -> "weight", "bias" where it has them
    nodes: dict[str, dict[str, Any]]  # node name -> ticks, counts
    links: dict[str, dict[str, Any]]  # channel -> ledger, measured delay
    measured: dict[str, Any] = field(default_factory=dict)  # what only real clocks have
