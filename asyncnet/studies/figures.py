"""Pictures of a study, for one column of a paper or two: learning curves with bands, degradation curves, heat maps, intervals, profiles.

Every figure is made from the study's table and its runs' progress alone. Bands and bars are 95% bootstrap intervals of the mean over seeds (statistics.py).
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from asyncnet.runs import durable
from asyncnet.runs.opened import Opened
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.studies import statistics, table
from asyncnet.studies.sweep import Swept
from asyncnet.text import in_a_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.4, 7.0  # inches: one column, two
FORMATS = ("svg", "pdf", "png")
DPI = 300  # of a PNG
MOST_CURVES = 10  # more cannot be told apart
POINTS = 60  # of a learning curve
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f", "#b22222", "#6a3d9a", "#1b9e77")  # told apart by colour-blind readers
INK = "#2b2b2a"  # of axes and words; a report puts its own in the place of it
STYLE = {
    "font.family": "sans-serif",
    "font.size": 8.0,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 8.0,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "legend.fontsize": 7.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "asyncnet",
    "pdf.fonttype": 42,
    "figure.constrained_layout.use": True,
    "savefig.transparent": True,
}
NAMES = {
    "last_mean_reward": "mean reward, last 10%",
    "mean_reward": "mean reward",
    "last_mean_return": "mean return, last 100 episodes",
    "mean_return": "mean return",
    "last_mean_squared_error": "mean squared error, last 10%",
    "mean_squared_error": "mean squared error",
    "on_time": "actions on time",
}
CURVES = {  # the figure of a row of progress that stands for an outcome, and its name
    "return": ("rollout/ep_rew_mean", "mean return of the last 100 episodes"),
    "error": ("rollout/mean_squared_error", "mean squared error lately"),
    "reward": ("rollout/mean_reward", "mean reward lately"),
}


class Picture(NamedTuple):
    """A figure with its name (of files), its title, what it shows, and how many series and points it has."""

    name: str
    title: str
    text: str
    make: Callable[[], Figure]
    series: int
    points: int


def name_of(figure: str) -> str:
    """A figure of the table in words."""
    return NAMES.get(figure, figure.replace("_", " "))


def pictures(swept: Swept, outcome: str) -> Iterator[Picture]:
    """All pictures that a study has."""
    study, rows = swept.study, [row for row in swept.rows if row.get(outcome) is not None]
    if not rows:
        return
    groups = table.groups(study, rows)
    numeric = [column for column in study.columns() if _numeric(rows, column)]
    for column in numeric:
        yield _degradation(swept, rows, column, outcome)
    others = [column for column in study.columns() if column not in numeric]
    if len(others) >= 2:
        yield _heat_map(rows, others[0], others[1], outcome)
    elif len(numeric) >= 2:
        yield _heat_map(rows, numeric[0], numeric[1], outcome)
    if others and len(groups) > 1:
        yield _dots(swept, groups, outcome)
    if len(groups) <= MOST_CURVES:
        yield _curves(swept, groups, outcome)
    if 2 <= len(groups) <= MOST_CURVES and all(len(inside) >= 3 for inside in groups.values()):
        yield _profiles(swept, groups, outcome)


def _numeric(rows: Sequence[Mapping[str, Any]], column: str) -> bool:
    values = {row[column] for row in rows}
    return len(values) > 2 and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _label(study: Any, values: Sequence[Any], but: Sequence[str] = ()) -> str:
    named = [(column, value) for column, value in zip(study.columns(), values, strict=True) if column not in but]
    return (
        ", ".join(f"{value}" if column in ("under", "variant", "scenario") else f"{column.rpartition('.')[2]} {value}" for column, value in named) or study.name
    )


def _axes(width: float, height: float) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def _legend(figure: Figure, axes: Any) -> None:
    """The names of the lines, below, where they hide nothing; none for one line."""
    lines, names = axes.get_legend_handles_labels()
    if len(lines) > 1:
        rows = -(-len(lines) // 2)
        figure.set_figheight(figure.get_figheight() + 0.14 * rows)
        figure.legend(lines, names, loc="outside lower center", ncols=2 if max(map(len, names)) < 34 else 1)


def _styled(make: Callable[[], Figure]) -> Callable[[], Figure]:
    def made() -> Figure:
        with context():
            return make()

    return made


def _degradation(swept: Swept, rows: Sequence[Mapping[str, Any]], column: str, outcome: str) -> Picture:
    """The outcome over the values of one setting: a line for each combination of the others."""
    study = swept.study
    lines: dict[str, dict[float, list[float]]] = {}
    for values, inside in table.groups(study, rows).items():
        at = values[study.columns().index(column)]
        lines.setdefault(_label(study, values, (column,)), {}).setdefault(at, []).extend(row[outcome] for row in inside)
    shown = dict(list(lines.items())[:MOST_CURVES])

    def make() -> Figure:
        figure, axes = _axes(COLUMN, 2.5)
        for (label, line), color in zip(shown.items(), COLORS, strict=False):
            at = sorted(line)
            found = [statistics.interval(line[value]) for value in at]
            axes.plot(at, [one.value for one in found], color=color, marker="o", markersize=3, label=label)
            axes.fill_between(at, [one.low for one in found], [one.high for one in found], color=color, alpha=0.18, linewidth=0)
        axes.set_xlabel(column)
        axes.set_ylabel(name_of(outcome))
        _legend(figure, axes)
        return figure

    points = sum(len(line) for line in shown.values())
    left = f"; {len(lines) - len(shown)} more combinations are in the table" if len(lines) > len(shown) else ""
    text = f"Mean over seeds with 95% bootstrap intervals{left}."
    return Picture(f"degradation-{column}", f"{name_of(outcome)} over {column}", text, _styled(make), len(shown), points)


def _heat_map(rows: Sequence[Mapping[str, Any]], down: str, across: str, outcome: str) -> Picture:
    """Means for each pair of values of two settings."""
    ups, sides = (list(dict.fromkeys(row[column] for row in rows)) for column in (down, across))
    means = np.full((len(ups), len(sides)), np.nan)
    for y, up in enumerate(ups):
        for x, side in enumerate(sides):
            values = [row[outcome] for row in rows if row[down] == up and row[across] == side]
            means[y, x] = np.mean(values) if values else np.nan

    def make() -> Figure:
        from matplotlib import colormaps

        wide = max(0.75, 0.085 * max(len(str(side)) for side in sides))
        figure, axes = _axes(min(PAGE, 1.6 + wide * len(sides)), min(9.0, 0.9 + 0.26 * len(ups)))
        low, high = float(np.nanmin(means)), float(np.nanmax(means))
        axes.pcolormesh(means, cmap=colormaps["cividis"], vmin=low, vmax=max(high, low + 1e-12), edgecolors="face", linewidth=0.1)
        axes.invert_yaxis()
        for (y, x), value in np.ndenumerate(means):
            if np.isfinite(value):
                bright = (value - low) / max(high - low, 1e-12) > 0.55
                axes.text(x + 0.5, y + 0.5, f"{value:.3g}", ha="center", va="center", fontsize=7, color="#000000" if bright else "#ffffff")
        axes.set_xticks(np.arange(len(sides)) + 0.5, [str(side) for side in sides], rotation=20 if 1.6 + wide * len(sides) > PAGE else 0)
        axes.set_yticks(np.arange(len(ups)) + 0.5, [str(up) for up in ups])
        axes.set_xlabel(across)
        axes.set_ylabel(down)
        axes.tick_params(length=0)
        return figure

    count = int(np.isfinite(means).sum())
    return Picture(
        f"heat-{down}-{across}", f"{name_of(outcome)}, {down} and {across}", "Means over seeds, and over all that is not shown.", _styled(make), 1, count
    )


def _dots(swept: Swept, groups: Mapping[tuple[Any, ...], Sequence[Mapping[str, Any]]], outcome: str) -> Picture:
    """A dot and an interval for each combination."""
    labels = [_label(swept.study, values) for values in groups]
    found = [statistics.interval([row[outcome] for row in inside]) for inside in groups.values()]
    kinds = [values[-1] if len(values) > 1 else "" for values in groups]  # the values of the last column have a colour each
    families = list(dict.fromkeys(kinds))

    def make() -> Figure:
        figure, axes = _axes(PAGE if max(map(len, labels)) > 40 else COLUMN + 1.2, min(11.0, 0.7 + 0.17 * len(labels)))
        for y, (one, kind) in enumerate(zip(found, kinds, strict=True)):
            color = COLORS[families.index(kind) % len(COLORS)]
            axes.plot([one.low, one.high], [y, y], color=color, linewidth=2.0, solid_capstyle="butt", alpha=0.45)
            axes.plot([one.value], [y], "o", color=color, markersize=3.5)
        axes.set_yticks(range(len(labels)), labels)
        axes.invert_yaxis()
        axes.set_xlabel(name_of(outcome))
        axes.grid(axis="x", linewidth=0.3, alpha=0.4)
        return figure

    return Picture(
        "intervals", f"{name_of(outcome)} of each combination", "Mean over seeds, bars: 95% bootstrap intervals.", _styled(make), len(found), len(found)
    )


def curve_of(outcome: str, rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """(decisions, score) of a run's rows of progress."""
    key = next(key for word, (key, _) in CURVES.items() if word in outcome or word == "reward")
    known = [(row["decisions"], row[key]) for row in rows if row.get(key) is not None]
    return (np.array([at for at, _ in known], dtype=float), np.array([score for _, score in known], dtype=float))


def _curves(swept: Swept, groups: Mapping[tuple[Any, ...], Sequence[Mapping[str, Any]]], outcome: str) -> Picture:
    """The score during learning: mean and interval over seeds at common moments."""
    lines: dict[str, tuple[np.ndarray, list[statistics.Interval]]] = {}
    for values, inside in groups.items():
        runs = [curve_of(outcome, (swept.came(row["run"]) or {"rows": []})["rows"]) for row in inside]
        runs = [(at, score) for at, score in runs if at.size > 1]
        if runs:
            moments = np.linspace(max(at[0] for at, _ in runs), min(at[-1] for at, _ in runs), POINTS)
            scores = np.array([np.interp(moments, at, score) for at, score in runs])
            lines[_label(swept.study, values)] = moments, [statistics.interval(scores[:, n]) for n in range(POINTS)]

    def make() -> Figure:
        figure, axes = _axes(COLUMN + 1.0, 2.7)
        for (label, (at, found)), color in zip(lines.items(), COLORS, strict=False):
            axes.plot(at, [one.value for one in found], color=color, label=label)
            axes.fill_between(at, [one.low for one in found], [one.high for one in found], color=color, alpha=0.18, linewidth=0)
        axes.set_xlabel("decisions")
        axes.set_ylabel(next(name for word, (_, name) in CURVES.items() if word in outcome or word == "reward"))
        _legend(figure, axes)
        return figure

    text = "Mean over seeds, band: 95% bootstrap interval at each moment."
    return Picture("learning", "Learning", text, _styled(make), len(lines), POINTS * len(lines))


def of_runs(runs: Sequence[Opened]) -> Figure:
    """The score during learning of finished runs, a line each."""
    with context():
        figure, axes = _axes(COLUMN + 1.0, 2.7)
        known = {key: name for key, name in CURVES.values() if all(key in run.progress for run in runs)}
        key = next(iter(known), "rollout/mean_reward")
        for run, color in zip(runs, itertools.cycle(COLORS)):
            scenario = run.scenario
            label = ", ".join([scenario.name, scenario.rule.name, *scenario.under, f"seed {scenario.seed}"])
            axes.plot(run.progress["decisions"], run.progress[key], color=color, label=label)
        axes.set_xlabel("decisions")
        axes.set_ylabel(known.get(key, name_of("mean_reward")))
        _legend(figure, axes)
        return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure; its format is that of the name, one of FORMATS. The same figure is the same bytes."""
    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise ScenarioError(str(path), "", f"a figure is {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, by the end of its name")
    file = io.BytesIO()
    dated = {"svg": "Date", "pdf": "CreationDate"}.get(kind)
    with context():
        figure.savefig(file, format=kind, dpi=DPI, metadata={dated: None} if dated else {"Software": None})
    try:
        durable.replace(path, file.getvalue())
    except OSError as error:
        raise ScenarioError(str(path), "", in_a_line(error)) from None


def context() -> Any:
    """Within, what is drawn and saved is in the style of all figures."""
    from matplotlib import rc_context

    return rc_context(STYLE)


def _profiles(swept: Swept, groups: Mapping[tuple[Any, ...], Sequence[Mapping[str, Any]]], outcome: str) -> Picture:
    """The share of runs above each score."""
    scores = {_label(swept.study, values): [row[outcome] for row in inside] for values, inside in groups.items()}
    known = [score for values in scores.values() for score in values]
    taus = np.linspace(min(known), max(known), 100)

    def make() -> Figure:
        figure, axes = _axes(COLUMN, 2.5)
        for (label, values), color in zip(scores.items(), COLORS, strict=False):
            axes.plot(taus, statistics.profile(values, taus), color=color, label=label, drawstyle="steps-post")
        axes.set_xlabel(f"score tau: {name_of(outcome)}")
        axes.set_ylabel("share of runs with a score above tau")
        _legend(figure, axes)
        return figure

    text = "Performance profiles (Agarwal et al. 2021): the higher, the better."
    return Picture("profiles", "Performance profiles", text, _styled(make), len(scores), 100 * len(scores))
