"""How figures look, for one column of a paper or for two, and how they are saved: SVG, PDF, PNG; the same figure is the same bytes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncnet.runs import durable
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.text import in_a_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.4, 7.0  # inches: one column, two
WIDTHS = {COLUMN: "", PAGE: "-wide"}  # and what that adds to a figure's name
TALLEST = 9.0  # inches
LONGEST_NAME = 240  # bytes of a file's name: file systems take 255, and it has a longer one while it is written
FORMATS = ("svg", "pdf", "png")
DPI = 300  # of a PNG
MOST_CURVES = 10  # more cannot be told apart
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f", "#b22222", "#6a3d9a", "#8c564b")  # told apart by colour-blind readers
MARKERS = "osD^vP"  # and by those who print in grey
INK = "#2b2b2a"  # of axes and words; a report puts its own in the place of it
LETTER = 0.052  # inches that a letter of the smallest print takes
STYLE = {
    "font.family": "sans-serif",
    "font.size": 8.0,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 8.0,
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
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
    "action_delay": "mean lateness of actions, decisions",
}
LESS_IS_BETTER = ("mean_squared_error", "last_mean_squared_error", "missing", "action_delay")


class Point(NamedTuple):
    """A point of a line, and what is said of it when a reader asks."""

    x: float
    y: float
    said: str


class Line(NamedTuple):
    """A series as it is drawn: in the axes of number `panel`, belonging to an entry of the legend (None: to that of its own number)."""

    label: str
    points: Sequence[Point]
    panel: int = 0
    entry: int | None = None


class Picture(NamedTuple):
    """A figure with its name (of files), its title, what it shows, how it is drawn at a width, its series, and for which widths there is room."""

    name: str
    title: str
    text: str
    make: Callable[[float], Figure]
    lines: Sequence[Line]
    widths: tuple[float, ...] = tuple(WIDTHS)
    left: int = 0  # combinations that it does not show

    @property
    def series(self) -> int:
        """How many series it has."""
        return len(self.lines)

    @property
    def points(self) -> int:
        """How many points these have together."""
        return sum(len(line.points) for line in self.lines)

    def drawn(self, width: float) -> Figure:
        """The figure at a width in inches, in the style of all."""
        with styled():
            return self.make(width)


def name_of(figure: str) -> str:
    """A figure of the table in words."""
    return NAMES.get(figure, figure.replace("_", " "))


def better(outcome: str, one: Sequence[float], other: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    """Two lists of scores such that more is better in both comparisons: (one, other), exchanged for an outcome of which less is better."""
    return (other, one) if outcome in LESS_IS_BETTER else (one, other)


def blank(width: float, height: float, panels: int = 1) -> tuple[Figure, Any]:
    """An empty figure and its axes; of several panels, one under another with one x axis, an array of them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, min(height, TALLEST)))
    return figure, figure.add_subplot() if panels == 1 else figure.subplots(panels, 1, sharex=True)


def tag(kind: str, number: int) -> str:
    """The name of a drawn part: `line`, `band`, `key` or `word` of a series, for whoever looks for it in the SVG."""
    return f"{kind}-{number}"


def legend(figure: Figure, axes: Any) -> None:
    """The names of the lines, below, where they hide nothing; none for one line."""
    lines, names = axes.get_legend_handles_labels()
    if len(lines) < 2:
        return
    columns = max(1, min(4, len(lines), int(figure.get_figwidth() / (0.38 + LETTER * max(map(len, names))))))
    figure.set_figheight(figure.get_figheight() + 0.15 * -(-len(lines) // columns))
    made = figure.legend(lines, names, loc="outside lower left", ncols=columns, handlelength=1.4, columnspacing=1.2)
    for number, (handle, word) in enumerate(zip(made.legend_handles, made.get_texts(), strict=True)):
        handle.set_gid(tag("key", number))
        word.set_gid(tag("word", number))


def places(figure: Figure, lines: Iterable[Line]) -> list[list[tuple[float, float]]]:
    """Where the points of each line are in a figure that was saved, in shares of its width and height from the upper left."""
    out = []
    for line in lines:
        move = figure.axes[line.panel].transData + figure.transFigure.inverted()
        out.append([(float(x), 1.0 - float(y)) for x, y in move.transform([(point.x, point.y) for point in line.points])] if line.points else [])
    return out


def encoded(figure: Figure, kind: str) -> bytes:
    """A figure as a file of one of FORMATS. Its parts stay where the first time has put them."""
    file = io.BytesIO()
    dated = {"svg": "Date", "pdf": "CreationDate"}.get(kind)
    with styled():
        figure.savefig(file, format=kind, dpi=DPI, metadata={dated: None} if dated else {"Software": None})
    figure.set_layout_engine("none")
    return file.getvalue()


def file_name(name: str, end: str) -> str:
    """The name of a figure's file: one that no file system takes is cut short, and a digest tells it from others that begin alike."""
    plain, room = name.replace("/", "-"), LONGEST_NAME - len(end)
    if plain == name and len(name.encode()) <= room:
        return f"{name}{end}"
    digest = f"-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return f"{plain.encode()[: room - len(digest)].decode(errors='ignore')}{digest}{end}"


def save(figure: Figure, path: Path) -> None:
    """Write a figure; its format is that of the name, one of FORMATS."""
    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise ScenarioError(str(path), "", f"a figure is {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, by the end of its name")
    try:
        durable.replace(path, encoded(figure, kind))
    except OSError as error:
        raise ScenarioError(str(path), "", in_a_line(error)) from None


def styled() -> Any:
    """A context in which figures look as ours do."""
    from matplotlib import rc_context

    return rc_context(STYLE)


def by_label(names: Sequence[str]) -> Mapping[str, str]:
    """A colour for each name, in order; names beyond the last colour begin again."""
    return {name: COLORS[number % len(COLORS)] for number, name in enumerate(names)}
