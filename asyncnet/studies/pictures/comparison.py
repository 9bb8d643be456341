"""What cases differ in: paired differences, and the probability that a run of one is better than a run of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from asyncnet.studies import statistics
from asyncnet.studies.cases import Case
from asyncnet.studies.comparisons import Difference
from asyncnet.studies.figures import COLUMN, LETTER, PAGE, WIDTHS, Line, Picture, Point, better, blank, name_of
from asyncnet.studies.pictures.degradation import rows_of_dots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 48  # of a figure of differences
MOST_PAIRED = 8  # cases of which each is held to each


def paired(found: Sequence[Difference], column: str, outcome: str) -> Picture:
    """The differences along one column, coloured by its values."""
    rows = [one for one in found if one.column == column][:MOST_ROWS]
    labels = [f"{one.value}, {one.others}" if one.others else str(one.value) for one in rows]
    text = f"Each run minus the run of the same seed with {column} = {rows[0].first}: mean, and 95% bootstrap interval over seeds."
    axis = f"difference in {name_of(outcome)}"
    title = f"What {column} changes"
    return rows_of_dots(f"paired-{column}", title, text, labels, [one.difference for one in rows], [str(one.value) for one in rows], axis, 0.0)


def improvement(cases: Sequence[Case], outcome: str) -> Picture:
    """The probability that a run of one case is better than a run of another, for each pair."""
    found = {
        (y, x): statistics.improvement(*better(outcome, one.scores(outcome), other.scores(outcome)))
        for y, one in enumerate(cases)
        for x, other in enumerate(cases)
        if one is not other
    }
    points = [Point(x + 0.5, y + 0.5, f"{cases[y].label} better than {cases[x].label}: {one}") for (y, x), one in found.items()]

    def make(width: float) -> Figure:
        from matplotlib import colormaps

        figure, axes = blank(width, 0.6 + 0.22 * len(cases))
        shares = np.full((len(cases), len(cases)), np.nan)
        for at, one in found.items():
            shares[at] = one.value
        axes.pcolormesh(np.ma.masked_invalid(shares), cmap=colormaps["PuOr"], vmin=0.0, vmax=1.0, edgecolors="face", linewidth=0.1)
        axes.invert_yaxis()
        for (y, x), one in found.items():
            dark = abs(one.value - 0.5) > 0.3
            axes.text(x + 0.5, y + 0.5, f"{one.value:.2f}", ha="center", va="center", fontsize=6.5, color="#ffffff" if dark else "#000000")
        axes.set_yticks(np.arange(len(cases)) + 0.5, [f"{number}  {case.label}" for number, case in enumerate(cases, 1)])
        axes.set_xticks(np.arange(len(cases)) + 0.5, [str(number) for number in range(1, len(cases) + 1)])
        axes.set_xlabel("better than combination")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return figure

    letters = max(len(case.label) for case in cases)
    widths = tuple(WIDTHS) if 0.3 + LETTER * letters + 0.24 * len(cases) <= COLUMN else (PAGE,)
    text = "For each row and column the share of pairs of runs in which the row's is the better one (Mann-Whitney's U / nm)."
    return Picture("improvement", "Probability of improvement", text, make, [Line("probability", points)], widths)
