"""A picture of a search: what came of each trial, and over each setting that was drawn. Made from search.csv alone."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncnet.runs import durable
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.studies import figures
from asyncnet.studies.space import Range, Search
from asyncnet.text import in_a_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST = 64 << 20  # bytes of search.csv
ACROSS = 3  # panels in a row
MOST_PANELS = 12
TRIED, BEST = figures.COLORS[0], figures.COLORS[1]


def write(folder: Path, search: Search) -> Path | None:
    """Write figures/search.svg, .pdf and .png into a search's folder; returns the first, None if no trial is complete. Raises ScenarioError."""
    trials = read(folder / "search.csv", search)
    if not trials:
        return None
    paths = [folder / "figures" / f"search.{kind}" for kind in figures.FORMATS]
    try:
        durable.make(folder / "figures")
    except OSError as error:
        raise ScenarioError(str(folder), "", f"no figures can be written there: {in_a_line(error)}") from None
    with figures.context():
        made = picture(trials, search)
        for path in paths:
            figures.save(made, path)
    return paths[0]


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


def picture(trials: list[dict[str, Any]], search: Search) -> Figure:
    """A panel of scores by trial with the best so far, and one for each setting."""
    from matplotlib.figure import Figure

    keys = list(search.space)[: MOST_PANELS - 1]
    down = -(-(len(keys) + 1) // ACROSS)
    figure = Figure(figsize=(figures.PAGE, 2.0 * down))
    panels = figure.subplots(down, ACROSS, sharey=True, squeeze=False).ravel()
    better = max if search.direction == "maximize" else min
    best = better(trials, key=lambda row: row["score"])
    scores = [row["score"] for row in trials]
    numbers = [row["trial"] for row in trials]
    panels[0].step(numbers, [better(scores[: end + 1]) for end in range(len(scores))], where="post", color=BEST)
    panels[0].set_xlabel("trial")
    panels[0].xaxis.get_major_locator().set_params(integer=True)
    _dots(panels[0], numbers, scores, best["trial"], best["score"])
    for panel, key in zip(panels[1:], keys, strict=False):
        values = search.space[key]
        panel.set_xlabel(f"{key} (factor)" if isinstance(values, Range) and values.times else key)
        at = [row[key] for row in trials]
        if isinstance(values, Range):
            if values.log:
                marks = (values.low, math.sqrt(values.low * values.high), values.high)
                panel.set_xscale("log")
                panel.set_xticks(marks, [f"{mark:.3g}" for mark in marks])
                panel.set_xticks([], minor=True)
            panel.set_xlim(*_beyond(values))
            _dots(panel, at, scores, best[key], best["score"])
        else:
            names = list(dict.fromkeys(at))
            _dots(panel, [names.index(name) for name in at], scores, names.index(best[key]), best["score"])
            panel.set_xticks(range(len(names)), [name if len(name) < 18 else f"{name[:16]}…" for name in names])
            panel.set_xlim(-0.5, len(names) - 0.5)
    for panel in panels[len(keys) + 1 :]:
        panel.set_axis_off()
    for panel in panels[::ACROSS]:
        panel.set_ylabel(figures.name_of(search.outcome))
    return figure


def _beyond(values: Range) -> tuple[float, float]:
    """The range with a little room at its ends."""
    if values.log:
        room = (values.high / values.low) ** 0.05
        return values.low / room, values.high * room
    room = 0.05 * (values.high - values.low)
    return values.low - room, values.high + room


def _dots(panel: Any, at: list[float], scores: list[float], best_at: float, best: float) -> None:
    panel.plot(at, scores, linestyle="", marker="o", markersize=3.5, color=TRIED, alpha=0.7, clip_on=False)
    panel.plot([best_at], [best], linestyle="", marker="*", markersize=9, color=BEST, clip_on=False)
