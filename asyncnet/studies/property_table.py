"""The table of properties for people: in a terminal of 80 columns, and as Markdown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncnet.studies.marks import COLUMNS, Mark
from asyncnet.text import printable

if TYPE_CHECKING:
    from asyncnet.studies.properties import Properties, Run

SIGNS = {True: "✓", False: "✗", None: "?"}
LEGEND = "✓ holds, ✗ does not, ? left open; in brackets what the paper says (RLDM 2022), where it says something"


def sign(mark: Mark) -> str:
    """A mark in a cell, the paper's in brackets."""
    return SIGNS[mark.holds] + (f" ({SIGNS[mark.paper]})" if mark.paper is not None else "")


def shown(found: Properties) -> list[Any]:
    """What is printed: the table, and under it each rule's figures with the runs behind them: a rich table, and lines."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("rule", overflow="fold", max_width=24)
    for name in ("local", "no symmetric\nfeedback", "free\nclocks", "online", "one\nscalar"):
        table.add_column(name, justify="center")
    for row in found.rows:
        table.add_row(Text(printable(row.rule)), *(sign(mark) for mark in row.marks))
    parts: list[Any] = [table, LEGEND]
    for row in found.rows:
        parts += ["", f"{row.rule}: {row.task}"]
        for label, score in row.scores.items():
            parts += [f"  {label}: score at the end {score}", *(f"    {line}" for line in _kept(row.runs[label]))]
        for mark in row.marks:
            parts.append(f"  {SIGNS[mark.holds]} {mark.column}: {mark.why} [{', '.join(mark.rests_on) or 'no run'}]")
        parts += [f"  note: {note}" for note in row.notes]
    return parts


def _kept(runs: Sequence[Run]) -> list[str]:
    """Where the first run of an experiment is kept, and how many others there are."""
    there = [run for run in runs if run.run_dir]
    more = f"; and {len(there) - 1} more seeds" if there[1:] else ""
    return [printable(f"{os.path.relpath(run.run_dir)} digest {run.digest[:16]}{more}") for run in there[:1]]


def markdown(found: Properties) -> str:
    """The table, its figures, and the runs behind them as Markdown."""
    lines = [f"| rule | {' | '.join(COLUMNS.values())} |", f"|---|{'---|' * len(COLUMNS)}"]
    for row in found.rows:
        cells = [f"{sign(mark)}<br>{_cell(mark.figure)}" for mark in row.marks]
        lines.append(f"| {_cell(row.rule)} | {' | '.join(cells)} |")
    lines += ["", f"{LEGEND}.", ""]
    for row in found.rows:
        lines += [f"## {_cell(row.rule)}", "", f"{row.task}.", "", "| experiment | score at the end, 95% interval | seeds |", "|---|---|---|"]
        lines += [f"| {label} | {score} | {score.n} |" for label, score in row.scores.items()]
        lines.append("")
        lines += [f"- {SIGNS[mark.holds]} **{mark.column}**: {_cell(mark.why)}. Rests on: {', '.join(mark.rests_on) or 'no run'}." for mark in row.marks]
        lines += [f"- *{_cell(note)}*" for note in row.notes]
        lines += ["", "| experiment | seed | run | digest |", "|---|---|---|---|"]
        lines += [
            f"| {label} | {run.seed} | `{Path(run.run_dir).name if run.run_dir else '-'}` | `{run.digest[:16]}` |"
            for label, runs in row.runs.items()
            for run in runs
        ]
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return printable(text).replace("|", "\\|")
