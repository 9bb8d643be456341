"""An outcome over what was varied: degradation curves, heat maps of two settings, a dot for each combination."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from asyncnet.studies import statistics
from asyncnet.studies.cases import Case, labelled
from asyncnet.studies.figures import (
    COLORS,
    COLUMN,
    LETTER,
    MARKERS,
    MOST_CURVES,
    PAGE,
    TALLEST,
    WIDTHS,
    Line,
    Picture,
    Point,
    blank,
    by_label,
    legend,
    name_of,
    tag,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL = 0.36  # inches that a number of a heat map takes
FEW_LETTERS = 26  # of a label beside a figure of one column; longer ones go on in a second line


def numeric(cases: Sequence[Case], columns: Sequence[str]) -> list[str]:
    """The columns whose values are numbers, at least three of them: an axis."""
    out = []
    for number, column in enumerate(columns):
        values = {case.values[number] for case in cases}
        if len(values) > 2 and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
            out.append(column)
    return out


def of_grid(cases: Sequence[Case], columns: Sequence[str], outcome: str) -> Iterator[Picture]:
    """All pictures of an outcome over what was varied."""
    axes = numeric(cases, columns)
    for column in axes:
        yield degradation(cases, columns, column, outcome)
    others = [column for column in columns if column not in axes]
    pair = others[:2] if len(others) >= 2 else axes[:2]
    if len(pair) == 2:
        yield heat_map(cases, columns, *pair, outcome)
    if others and len(cases) > 1:
        yield dots("intervals", f"{name_of(outcome)} of each combination", cases, columns, outcome)


def said_of(found: statistics.Interval, what: str = "") -> str:
    """A figure in the words that a reader is shown: value, interval, runs."""
    runs = f"{found.n} run{'s' if found.n != 1 else ''}"
    return f"{what}{found.value:.4g}" + (f", 95% {found.low:.4g} to {found.high:.4g}" if found.n > 1 else "") + f", {runs}"


def degradation(cases: Sequence[Case], columns: Sequence[str], column: str, outcome: str) -> Picture:
    """The outcome over the values of one setting: a line for each combination of the others."""
    place = list(columns).index(column)
    found: dict[str, dict[float, list[float]]] = {}
    for case in cases:
        label = labelled(columns, case.values, (column,)) or name_of(outcome)
        found.setdefault(label, {}).setdefault(case.values[place], []).extend(case.scores(outcome))
    shown = dict(list(found.items())[:MOST_CURVES])
    lines, bands = [], []
    for label, scores in shown.items():
        at = sorted(scores)
        bands.append([statistics.interval(scores[value]) for value in at])
        lines.append(Line(label, [Point(x, one.value, f"{column} {x:g}: {said_of(one)}") for x, one in zip(at, bands[-1], strict=True)]))

    def make(width: float) -> Figure:
        figure, axes = blank(width, 2.4 if width == COLUMN else 2.8)
        for number, (line, band) in enumerate(zip(lines, bands, strict=True)):
            at, color, marker = [point.x for point in line.points], COLORS[number], MARKERS[number % len(MARKERS)]
            axes.plot(at, [point.y for point in line.points], color=color, marker=marker, markersize=3, label=line.label, gid=tag("line", number))
            axes.fill_between(at, [one.low for one in band], [one.high for one in band], color=color, alpha=0.18, linewidth=0, gid=tag("band", number))
        values = sorted({point.x for line in lines for point in line.points})
        if min(values) >= 0 and sorted(values)[-2] < 0.25 * values[-1]:  # most of them would lie on one another
            axes.set_xscale("symlog", linthresh=min(value for value in values if value > 0))
            axes.set_xticks(values, [f"{value:g}" for value in values])
            axes.minorticks_off()
        axes.set_xlabel(column)
        axes.set_ylabel(name_of(outcome))
        legend(figure, axes)
        return figure

    left = len(found) - len(shown)
    text = f"Mean over seeds with 95% bootstrap intervals{f'; {left} more combinations are in the table' if left else ''}."
    return Picture(f"degradation-{column}", f"{name_of(outcome)} over {column}", text, make, lines, left=left)


def heat_map(cases: Sequence[Case], columns: Sequence[str], down: str, across: str, outcome: str) -> Picture:
    """Means for each pair of values of two settings."""
    place, side = list(columns).index(down), list(columns).index(across)
    ups, sides = (list(dict.fromkeys(case.values[number] for case in cases)) for number in (place, side))
    scores: dict[tuple[int, int], list[float]] = {}
    for case in cases:
        scores.setdefault((ups.index(case.values[place]), sides.index(case.values[side])), []).extend(case.scores(outcome))
    cells = {at: statistics.interval(found) for at, found in scores.items() if found}
    means = np.full((len(ups), len(sides)), np.nan)
    for at, one in cells.items():
        means[at] = one.value
    points = [Point(x + 0.5, y + 0.5, f"{down} {ups[y]}, {across} {sides[x]}: {said_of(one)}") for (y, x), one in sorted(cells.items())]

    def make(width: float) -> Figure:
        from matplotlib import colormaps

        letters = max(len(str(name)) for name in sides)
        turned = letters * LETTER > (width - 1.3) / len(sides)
        figure, axes = blank(width, 0.8 + 0.24 * len(ups) + (0.7 * letters * LETTER if turned else 0.0))
        low, high = float(np.nanmin(means)), float(np.nanmax(means))
        axes.pcolormesh(means, cmap=colormaps["cividis"], vmin=low, vmax=max(high, low + 1e-12), edgecolors="face", linewidth=0.1)
        axes.invert_yaxis()
        for (y, x), value in np.ndenumerate(means):
            if np.isfinite(value):
                bright = (value - low) / max(high - low, 1e-12) > 0.55
                axes.text(x + 0.5, y + 0.5, f"{value:.3g}", ha="center", va="center", fontsize=7, color="#000000" if bright else "#ffffff")
        axes.set_xticks(np.arange(len(sides)) + 0.5, [str(name) for name in sides], rotation=40 if turned else 0, ha="right" if turned else "center")
        axes.set_yticks(np.arange(len(ups)) + 0.5, [str(name) for name in ups])
        axes.set_xlabel(across)
        axes.set_ylabel(down)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return figure

    rest = [column for column in columns if column not in (down, across)]
    text = f"Means over seeds{''.join(f' and over {column}' for column in rest)}; intervals are in the table."
    room = 0.6 + LETTER * max(len(str(name)) for name in ups) + CELL * len(sides) <= COLUMN
    widths = tuple(WIDTHS) if room else (PAGE,)
    return Picture(f"heat-{down}-{across}", f"{name_of(outcome)} by {down} and {across}", text, make, [Line(name_of(outcome), points)], widths)


def dots(name: str, title: str, cases: Sequence[Case], columns: Sequence[str], outcome: str) -> Picture:
    """A dot and an interval for each combination; the values of the last column have a colour each."""
    found = [statistics.interval(case.scores(outcome)) for case in cases]
    kinds = [case.values[-1] if len(columns) > 1 else "" for case in cases]
    text = "Mean over seeds, bars: 95% bootstrap intervals."
    return rows_of_dots(name, title, text, [case.label for case in cases], found, list(map(str, kinds)), name_of(outcome))


def rows_of_dots(
    name: str, title: str, text: str, labels: Sequence[str], found: Sequence[statistics.Interval], kinds: Sequence[str], axis: str, zero: float | None = None
) -> Picture:
    """A row with a dot and an interval for each label, coloured by kind; with a line at `zero`."""
    colors = by_label(list(dict.fromkeys(kinds)))
    lines = [Line(label, [Point(one.value, y, f"{said_of(one)}")]) for y, (label, one) in enumerate(zip(labels, found, strict=True))]
    rows = [max(1, -(-len(label) // FEW_LETTERS)) for label in labels]

    def make(width: float) -> Figure:
        narrow = width == COLUMN
        figure, axes = blank(width, 0.6 + 0.15 * (sum(rows) if narrow else len(rows)))
        for y, (one, kind) in enumerate(zip(found, kinds, strict=True)):
            axes.plot([one.low, one.high], [y, y], color=colors[kind], linewidth=2.0, solid_capstyle="butt", alpha=0.45, gid=tag("band", y))
            axes.plot([one.value], [y], "o", color=colors[kind], markersize=3.5, gid=tag("line", y))
        names = [textwrap.fill(label, FEW_LETTERS, break_on_hyphens=False) for label in labels] if narrow else labels
        axes.set_yticks(range(len(labels)), names)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlabel(axis)
        axes.grid(axis="x", linewidth=0.3, alpha=0.4)
        if zero is not None:
            axes.axvline(zero, linewidth=0.6, color="#7f7f7f")
        return figure

    tall = 0.6 + 0.15 * sum(rows)
    widths = tuple(WIDTHS) if tall <= TALLEST else (PAGE,)
    return Picture(name, title, text, make, lines, widths)
