"""What a running loop has counted so far, read beside it: for whoever shows how a run is going."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from asyncnet.nodes.world import DECISIONS, EPISODES

if TYPE_CHECKING:
    from asyncnet.loop.loop import Loop


ARRAYS = ("ticks", "learned", "sent", "lost", "delivered")


class Counts(NamedTuple):
    """Figures of a loop, or of all loops of a team together: by node (nodes,), by link (links,), and those of the world."""

    now: int  # microseconds, simulated or real
    decisions: int
    episodes: int
    ticks: np.ndarray
    learned: np.ndarray
    sent: np.ndarray
    lost: np.ndarray
    delivered: np.ndarray


def counted(loop: Loop) -> Counts:
    """What a prepared loop has counted; from any thread, while it runs. Of figures that belong together some may be an event older than others."""
    now, ticks, links = loop.so_far()
    learned, decisions, episodes = np.zeros_like(ticks), 0, 0
    for i, node in loop.nodes.items():
        counts = node.view.counts
        if i == 0:
            decisions, episodes = int(counts[DECISIONS]), int(counts[EPISODES])
        elif "learned" in node.bound.machine.COUNT_NAMES:
            learned[i] = counts[node.bound.machine.COUNT_NAMES.index("learned")]
    return Counts(now, decisions, episodes, ticks, learned, *links)


def together(parts: Iterable[Counts]) -> Counts:
    """Those of the loops of one team as one: each node and each end of a link is in one of them only."""
    columns = list(zip(*parts, strict=True))
    return Counts(max(columns[0]), *(sum(column) for column in columns[1:]))
