"""A picture of a search: what came of each trial, and over each setting that was drawn. Made from search.csv alone."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncnet.runs import durable
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.studies.figures import COLORS, PAGE, Line, Picture, Point, name_of
from asyncnet.studies.space import Range, Search
from asyncnet.text import in_a_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST = 64 << 20  # bytes of search.csv
ACROSS = 3  # panels in a row
MOST_PANELS = 12
TRIED, BEST = COLORS[0], COLORS[1]


def trials(folder: Path, search: Search) -> Picture | None:
    """The picture of a search's folder; None if no trial is complete. Raises ScenarioError for trials of another search."""
    found = read(folder / "search.csv", search)
    if not found:
        return None
    panels = [_Panel("trial", None, found), *(_Panel(key, search.space[key], found) for key in list(search.space)[: MOST_PANELS - 1])]
    better = max if search.direction == "maximize" else min
    best = better(range(len(found)), key=lambda number: found[number]["score"])

    def make(width: float) -> Figure:
        from matplotlib.figure import Figure

        down = -(-len(panels) // ACROSS)
        figure = Figure(figsize=(width, 2.0 * down))
        drawn = figure.subplots(down, ACROSS, sharey=True, squeeze=False).ravel()
        scores = [row["score"] for row in found]
        so_far = [better(scores[: end + 1]) for end in range(len(scores))]
        drawn[0].step(panels[0].at, so_far, where="post", color=BEST)
        for axes, panel in zip(drawn, panels, strict=False):
            panel.dress(axes)
            axes.plot(panel.at, scores, linestyle="", marker="o", markersize=3.5, color=TRIED, alpha=0.7, clip_on=False)
            axes.plot([panel.at[best]], [scores[best]], linestyle="", marker="*", markersize=9, color=BEST, clip_on=False)
        for axes in drawn[len(panels) :]:
            axes.set_axis_off()
        for axes in drawn[::ACROSS]:
            axes.set_ylabel(name_of(search.outcome))
        return figure

    lines = [Line(panel.name, [Point(x, row["score"], panel.said(row)) for x, row in zip(panel.at, found, strict=True)], n) for n, panel in enumerate(panels)]
    text = "Left: the trials in order and the best so far; then the same trials over each setting that was drawn. A star: the one that was taken."
    return Picture("search", f"Search: {name_of(search.outcome)} of {len(found)} trials", text, make, lines, (PAGE,))


def read(path: Path, search: Search) -> list[dict[str, Any]]:
    """The complete trials in search.csv: number, score, and what was drawn, numbers of ranges as such. Raises ScenarioError for another search's."""
    found = []
    try:
        for row in csv.DictReader(io.StringIO(durable.read(path, LARGEST).decode(), newline="")):
            if row["state"] != "complete":
                continue
            drawn = {key: float(row[key]) if isinstance(values, Range) else row[key] for key, values in search.space.items()}
            found.append({"trial": int(row["trial"]), "score": float(row[search.outcome]), **drawn})
        if not all(math.isfinite(number) for row in found for number in row.values() if isinstance(number, float)):
            raise ValueError("numbers must be finite")
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise ScenarioError(str(path), "", f"cannot be read as the trials of this search: {in_a_line(error)}") from None
    return found


class _Panel:
    """What is across in one panel: the trial's number, or a setting that was drawn; of a list of values the place in it."""

    def __init__(self, key: str, values: Any, found: Sequence[Mapping[str, Any]]) -> None:
        self.key, self.values = key, values
        self.name = f"{key} (factor)" if isinstance(values, Range) and values.times else key
        drawn = [row[key] for row in found]
        self.words = [] if values is None or isinstance(values, Range) else list(dict.fromkeys(drawn))
        self.at = [float(self.words.index(one)) if self.words else float(one) for one in drawn]

    def said(self, row: Mapping[str, Any]) -> str:
        """A trial in words."""
        value = row[self.key] if self.words else f"{row[self.key]:.4g}"
        return f"trial {row['trial']}: {row['score']:.4g}" + ("" if self.values is None else f"; {self.name} {value}")

    def dress(self, axes: Any) -> None:
        """Its scale, ticks and name."""
        axes.set_xlabel(self.name)
        if self.values is None:
            axes.xaxis.get_major_locator().set_params(integer=True)
        elif self.words:
            axes.set_xticks(range(len(self.words)), [name if len(name) < 18 else f"{name[:16]}\u2026" for name in self.words])
            axes.set_xlim(-0.5, len(self.words) - 0.5)
        else:
            if self.values.log:
                marks = (self.values.low, math.sqrt(self.values.low * self.values.high), self.values.high)
                axes.set_xscale("log")
                axes.set_xticks(marks, [f"{mark:.3g}" for mark in marks])
                axes.set_xticks([], minor=True)
            axes.set_xlim(*_beyond(self.values))


def _beyond(values: Range) -> tuple[float, float]:
    """The range with a little room at its ends."""
    if values.log:
        room = (values.high / values.low) ** 0.05
        return values.low / room, values.high * room
    room = 0.05 * (values.high - values.low)
    return values.low - room, values.high + room
