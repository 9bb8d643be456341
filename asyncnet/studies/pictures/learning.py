"""How runs learned: the score over decisions, a line and a band for each case; and the share of runs above each score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from asyncnet.studies import statistics
from asyncnet.studies.cases import Case, curve_name
from asyncnet.studies.figures import COLORS, COLUMN, Line, Picture, Point, blank, legend, name_of, tag
from asyncnet.studies.pictures.degradation import said_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 60  # of a learning curve of several runs; a single run has all its own
TAUS = 101  # scores of a performance profile


def curve(case: Case, outcome: str) -> tuple[np.ndarray, list[statistics.Interval]]:
    """(moments, mean and interval over runs at each); no moments where no run has two rows of progress."""
    runs = [run.curve for run in case.runs if run.curve[0].size > 1]
    if not runs:
        return np.zeros(0), []
    if len(runs) == 1:
        return runs[0][0], [statistics.interval([score]) for score in runs[0][1]]
    moments = np.linspace(max(at[0] for at, _ in runs), min(at[-1] for at, _ in runs), POINTS)
    scores = np.array([np.interp(moments, at, score) for at, score in runs])
    return moments, [statistics.interval(scores[:, number]) for number in range(POINTS)]


def curves(cases: Sequence[Case], outcome: str) -> Picture | None:
    """The score during learning: mean and interval over seeds at common moments; None where no run has a curve."""
    found = [(case.label, *curve(case, outcome)) for case in cases]
    found = [each for each in found if len(each[1])]
    if not found:
        return None
    lines = [
        Line(label, [Point(float(x), one.value, f"decision {x:,.0f}: {said_of(one)}") for x, one in zip(at, band, strict=True)]) for label, at, band in found
    ]
    several = max(one.n for _, _, band in found for one in band) > 1

    def make(width: float) -> Figure:
        figure, axes = blank(width, 2.4 if width == COLUMN else 3.0)
        for number, (label, at, band) in enumerate(found):
            color = COLORS[number % len(COLORS)]
            axes.plot(at, [one.value for one in band], color=color, label=label, gid=tag("line", number))
            axes.fill_between(at, [one.low for one in band], [one.high for one in band], color=color, alpha=0.18, linewidth=0, gid=tag("band", number))
        axes.set_xlabel("decisions")
        axes.set_ylabel(curve_name(outcome)[1])
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.locator_params(axis="x", nbins=5 if width == COLUMN else 9)
        legend(figure, axes)
        return figure

    text = "Mean over seeds, band: 95% bootstrap interval at each moment." if several else "One run, no interval."
    return Picture("learning", "Learning", text, make, lines)


def profiles(cases: Sequence[Case], outcome: str) -> Picture:
    """The share of runs above each score."""
    known = [score for case in cases for score in case.scores(outcome)]
    taus = np.linspace(min(known), max(known), TAUS)
    lines = []
    for case in cases:
        shares = statistics.profile(case.scores(outcome), taus)
        lines.append(
            Line(case.label, [Point(float(tau), float(share), f"{share:.0%} of the runs above {tau:.4g}") for tau, share in zip(taus, shares, strict=True)])
        )

    def make(width: float) -> Figure:
        figure, axes = blank(width, 2.4 if width == COLUMN else 2.8)
        for number, line in enumerate(lines):
            at, shares = [point.x for point in line.points], [point.y for point in line.points]
            axes.plot(at, shares, color=COLORS[number % len(COLORS)], label=line.label, drawstyle="steps-post", gid=tag("line", number))
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel(f"score \u03c4: {name_of(outcome)}")
        axes.set_ylabel("share of runs above \u03c4")
        legend(figure, axes)
        return figure

    text = "Performance profiles (Agarwal et al. 2021): the share of runs with a score above \u03c4."
    return Picture("profiles", "Performance profiles", text, make, lines)
