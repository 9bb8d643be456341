"""What is to come at a loop, as two arrays: rows in the order of events, and the payloads of its messages one after another.

The loop to read keeps tuples (message.py). A million of these take seconds to make, so whoever wants all of them at once (checkpoints, the ledger, the
compiled loop) has them like this.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

AT, KIND, DST, SRC, SEQ, STAMP, PORT, SIZE = range(8)  # columns; SIZE -1: it carries nothing
COLUMNS = 8


class UnderWay(NamedTuple):
    """Rows (n, COLUMNS), and numbers, SIZE of them for each row."""

    rows: np.ndarray
    values: np.ndarray


NOTHING = UnderWay(np.zeros((0, COLUMNS), dtype=np.int64), np.zeros(0))


def gathered(events: Iterable[tuple]) -> UnderWay:
    """Events as arrays."""
    ordered = sorted(events, key=lambda event: event[:5])
    rows = [(*event[:6], event[7], -1 if event[6] is None else event[6].size) for event in ordered]
    values = [event[6] for event in ordered if event[6] is not None]
    return UnderWay(np.array(rows, dtype=np.int64).reshape(-1, COLUMNS), np.concatenate([NOTHING.values, *values]))


def events(what: UnderWay) -> list[tuple]:
    """The same as events in their order, which is a heap."""
    ends = np.cumsum(np.maximum(what.rows[:, SIZE], 0)).tolist()
    return [
        (at, kind, dst, src, seq, stamp, None if size < 0 else what.values[end - size : end], port)
        for (at, kind, dst, src, seq, stamp, port, size), end in zip(what.rows.tolist(), ends, strict=True)
    ]


def ordered(what: UnderWay) -> UnderWay:
    """The same, its rows in the order of events."""
    rows, sizes = what.rows, np.maximum(what.rows[:, SIZE], 0)
    order = np.lexsort(rows[:, [SEQ, SRC, DST, KIND, AT]].T)
    starts, counts = (np.cumsum(sizes) - sizes)[order], sizes[order]
    places = np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(len(what.values))
    return UnderWay(rows[order], what.values[places])


def of(what: UnderWay, nodes: Iterable[int]) -> UnderWay:
    """Those of them that are for these nodes."""
    here = np.isin(what.rows[:, DST], list(nodes))
    return UnderWay(what.rows[here], what.values[np.repeat(here, np.maximum(what.rows[:, SIZE], 0))])
