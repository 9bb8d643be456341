"""Speed and memory, each figure as a ratio to a yardstick measured in the same run: the machines these run on are shared and noisy."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from asyncnet.runs.record import Record


class Row(NamedTuple):
    """One figure beside its yardstick; `ratio` says how many times better ours is, None where the figure stands for itself."""

    what: str
    ours: float
    unit: str
    yardstick: str = ""
    theirs: float | None = None
    ratio: float | None = None


def faster(what: str, ours: float, unit: str, yardstick: str, theirs: float) -> Row:
    """A figure of which more is better."""
    return Row(what, ours, unit, yardstick, theirs, ours / theirs)


def shorter(what: str, ours: float, unit: str, yardstick: str, theirs: float) -> Row:
    """A figure of which less is better."""
    return Row(what, ours, unit, yardstick, theirs, theirs / ours)


def whole(record: Record) -> Record:
    """The record of a run that was not interrupted; else KeyboardInterrupt, for then the benchmark is: it has nothing to end in order."""
    if record.stopped == "interrupted":
        raise KeyboardInterrupt
    return record


def show(rows: Iterable[Row], as_json: bool = False) -> None:
    """Print rows as a table, or as one JSON object."""
    rows = list(rows)
    if as_json:
        print(json.dumps({"date": time.strftime("%Y-%m-%d"), "rows": [row._asdict() for row in rows]}))
        return
    table = Table(box=None, pad_edge=False, header_style="")
    for name, side in (("", "left"), ("here", "right"), ("unit", "left"), ("yardstick", "left"), ("there", "right"), ("ratio", "right")):
        table.add_column(name, justify=side)
    for row in rows:
        theirs = "" if row.theirs is None else f"{row.theirs:,.4g}" if row.theirs < 1000 else f"{row.theirs:,.0f}"
        ours = f"{row.ours:,.4g}" if row.ours < 1000 else f"{row.ours:,.0f}"
        table.add_row(row.what, ours, row.unit, row.yardstick, theirs, "" if row.ratio is None else f"{row.ratio:.3g}")
    console = Console()
    Console(width=console.width if console.is_terminal else 200).print(table)
