"""What happened on links and clocks: how late actions were, how long messages were on their way, how fast nodes ticked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from asyncnet.studies.figures import COLORS, COLUMN, Line, Picture, Point, blank, legend, tag
from asyncnet.studies.happened import Rate, layer_of
from asyncnet.studies.transit import Transit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 40  # of a histogram of delays
MOST_PANELS = 9
MOST_LATE = 24  # decisions that are shown one by one; what was later still is added up
EVEN = 0.005  # of its ticks that a node may be off its clock before that is worth a picture of several cases
MOST_NODES = 24  # whose rates are shown one by one; else layer by layer


def lateness(found: Mapping[str, np.ndarray]) -> Picture | None:
    """The share of decisions whose action was 0, 1, 2, ... decisions late, by case; None where none was late."""
    if not found or all(shares[1:].sum() == 0.0 for shares in found.values()):
        return None
    last = min(MOST_LATE, max(len(shares) for shares in found.values()) - 1)
    shown = {}
    for label, shares in found.items():
        shown[label] = np.zeros(last + 1)
        shown[label][: min(len(shares), last + 1)] = shares[: last + 1]
        shown[label][last] += shares[last + 1 :].sum()
    words = [f"{at}{' or more' if at == last == MOST_LATE else ''} late" if at else "in time" for at in range(last + 1)]
    lines = [
        Line(label, [Point(at, float(share), f"{words[at]}: {share:.3%} of the decisions") for at, share in enumerate(shares)])
        for label, shares in shown.items()
    ]

    def make(width: float) -> Figure:
        figure, axes = blank(width, 2.2 if width == COLUMN else 2.6)
        wide = 0.8 / len(shown)
        for number, (label, shares) in enumerate(shown.items()):
            at = np.arange(last + 1) + wide * (number - 0.5 * (len(shown) - 1))
            bars = axes.bar(at, shares, wide, color=COLORS[number % len(COLORS)], label=label)
            for place, bar in enumerate(bars):
                bar.set_gid(f"{place}-{tag('line', number)}")
        axes.set_yscale("log")
        axes.set_ylim(top=1.3)
        axes.set_yticks([1.0, 0.1, 0.01, 0.001], ["100%", "10%", "1%", "0.1%"])
        axes.minorticks_off()
        axes.set_ylim(bottom=max(5e-4, 0.5 * min((float(shares[shares > 0].min()) for shares in shown.values() if shares.any()), default=1.0)))
        axes.locator_params(axis="x", integer=True)
        axes.set_xlabel("decisions by which the action used was late")
        axes.set_ylabel("share of decisions")
        legend(figure, axes)
        return figure

    return Picture("lateness", "Late actions", "Which action the world used at each decision: that for the open one (0), or an older one.", make, lines)


def ways(found: Mapping[str, Mapping[tuple[str, str], Transit]]) -> Picture | None:
    """Histograms of the delays of messages by channel and layer that hears, a panel for each, a line for each case; None where all took the same time."""
    keys = [key for key in dict.fromkeys(key for several in found.values() for key in several) if len(found) == 1 or _differ(found, key)][:MOST_PANELS]
    known = [several[key].delays for several in found.values() for key in keys if key in several]
    most = max((float(delays.max()) for delays in known if delays.size), default=0.0)
    if most == 0.0 or len({float(limit(delays)) for delays in known if delays.size for limit in (np.min, np.max)}) == 1:
        return None
    edges = np.linspace(0.0, _beyond(known, most), BINS + 1)
    panels = [f"{channel} to {layer}" for channel, layer in keys]
    series: list[tuple[str, int, int, np.ndarray]] = []  # label, number of the case, panel, shares
    for number, (label, several) in enumerate(found.items()):
        for panel, key in enumerate(keys):
            if key in several and several[key].delays.size:
                counts, _ = np.histogram(np.minimum(several[key].delays, edges[-1]), edges)
                series.append((label, number, panel, counts / several[key].delays.size))
    middles = 0.5 * (edges[1:] + edges[:-1])

    def point(at: int, share: float) -> Point:
        return Point(float(middles[at]), share, f"{edges[at]:.3g} to {edges[at + 1]:.3g} ticks: {share:.2%} of the messages")

    lines = [
        Line(f"{label}, {panels[panel]}" if len(found) > 1 else panels[panel], [point(at, float(share)) for at, share in enumerate(shares)], panel, case)
        for label, case, panel, shares in series
    ]

    def make(width: float) -> Figure:
        figure, axes = panes(width, panels)
        for label, case, panel, shares in series:
            color, whole = COLORS[case % len(COLORS)], len(found) == 1
            gid = f"{panel}-{tag('line', case)}"
            axes[panel].stairs(shares, edges, color=color, fill=whole, linewidth=1.0, label=label if panel == 0 else None, gid=gid)
        axes[-1].set_xlabel("ticks on the way" + (" (the last bin: or more)" if edges[-1] < most else ""))
        legend(figure, axes[0])
        return figure

    text = "Share of the messages by the time from leaving to arriving, without the wait for the receiver's next tick."
    text += " Links whose messages all take one time in all cases are left out." if len(found) > 1 else ""
    return Picture("delays", "Delays of messages", text, make, lines)


def _differ(found: Mapping[str, Mapping[tuple[str, str], Transit]], key: tuple[str, str]) -> bool:
    """Whether the delays of some messages are not the same in all cases."""
    delays = [several[key].delays for several in found.values() if key in several and several[key].delays.size]
    return len({float(limit(each)) for each in delays for limit in (np.min, np.max)}) > 1


def _beyond(known: Sequence[np.ndarray], most: float) -> float:
    """Where a histogram of delays ends: at the longest, or where all but one in a thousand are."""
    rare = max(float(np.quantile(delays, 0.999)) for delays in known if delays.size)
    return max(min(most, 1.2 * rare), 1e-3) * (1.0 + 1.0 / BINS)


def panes(width: float, titles: Sequence[str]) -> tuple[Figure, list[Any]]:
    """A figure of panels one under another, each with its title inside."""
    figure, axes = blank(width, 0.5 + 0.62 * len(titles), len(titles))
    axes = [axes] if len(titles) == 1 else list(axes)
    for one, title in zip(axes, titles, strict=True):
        one.set_title(title, fontsize=7, pad=2)
        one.yaxis.set_major_locator(_two_ticks())
        one.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}" if value >= 0.01 or value == 0 else f"{value:.1%}")
    return figure, axes


def _two_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(2)


def wire(measured: Mapping[str, Any]) -> Picture | None:
    """Histograms of what a wire really took, by the actor that hears, a line for each channel; None where nothing was measured."""
    spreads = [(name, channels) for name, channels in measured.items() if channels][:MOST_PANELS]
    if not spreads:
        return None
    names = list(dict.fromkeys(channel for _, channels in spreads for channel in channels))
    known = [us for _, channels in spreads for spread in channels.values() for us, _ in spread]
    edges = np.geomspace(max(1.0, 0.7 * min(known)), 1.4 * max(known), BINS + 1)
    middles = np.sqrt(edges[1:] * edges[:-1])
    series = []
    for panel, (_, channels) in enumerate(spreads):
        for channel, spread in channels.items():
            times, counts = zip(*spread, strict=True)
            shares, _ = np.histogram(times, edges, weights=np.array(counts) / sum(counts))
            series.append((channel, panel, shares))
    lines = [
        Line(
            f"{channel} to {spreads[panel][0]}",
            [
                Point(float(at), float(share), f"{low:,.0f} to {high:,.0f} \u00b5s: {share:.2%} of the messages")
                for at, low, high, share in zip(middles, edges, edges[1:], shares, strict=False)
            ],
            panel,
            names.index(channel),
        )
        for channel, panel, shares in series
    ]

    def make(width: float) -> Figure:
        figure, axes = panes(width, [f"to {name}" for name, _ in spreads])
        for channel, panel, shares in series:
            entry = names.index(channel)
            axes[panel].stairs(shares, edges, color=COLORS[entry % len(COLORS)], linewidth=1.0, gid=f"{panel}-{tag('line', entry)}")
        for number, channel in enumerate(names):
            axes[0].plot([], [], color=COLORS[number], label=channel)
        axes[-1].set_xscale("log")
        axes[-1].set_xlabel("\u00b5s on the wire")
        legend(figure, axes[0])
        return figure

    return Picture("wire", "Time on the wire, by actor", "Measured, from one actor's loop to the other's, beside any delay asked for.", make, lines)


def rates(found: Mapping[str, Sequence[Rate]]) -> Picture | None:
    """Ticks for each that a clock asks for, by node (or layer) and case; None where no node has a clock, or all of several cases kept theirs."""
    clocked = {label: [rate for rate in several if rate.share is not None] for label, several in found.items()}
    names = list(dict.fromkeys(rate.node for several in clocked.values() for rate in several))
    if not names or (len(found) > 1 and all(abs(rate.share - 1.0) < EVEN for several in clocked.values() for rate in several)):
        return None
    alone = len(names) <= MOST_NODES
    rows = names if alone else list(dict.fromkeys(map(layer_of, names)))
    lines, spans = [], []
    for label, several in clocked.items():
        points, ends = [], []
        for y, row in enumerate(rows):
            inside = [rate for rate in several if (rate.node if alone else layer_of(rate.node)) == row]
            if inside:
                share = sum(rate.ticks for rate in inside) / sum(rate.asked for rate in inside)
                shares = [rate.share for rate in inside]
                points.append(Point(share, y, f"{row}: {share:.2%} of its ticks ({sum(rate.ticks for rate in inside):,}); {inside[0].clock}"))
                ends.append((min(shares), max(shares)))
        lines.append(Line(label, points))
        spans.append(ends)

    def make(width: float) -> Figure:
        figure, axes = blank(width, 0.6 + 0.17 * len(rows))
        step = 0.6 / max(1, len(lines))
        for number, (line, ends) in enumerate(zip(lines, spans, strict=True)):
            color, off = COLORS[number % len(COLORS)], step * (number - 0.5 * (len(lines) - 1))
            at = [point.y + off for point in line.points]
            axes.hlines(at, [low for low, _ in ends], [high for _, high in ends], color=color, linewidth=2.0, alpha=0.45, gid=tag("band", number))
            axes.plot([point.x for point in line.points], at, "o", color=color, markersize=3.5, label=line.label, gid=tag("line", number))
        axes.axvline(1.0, linewidth=0.6, color="#7f7f7f")
        low, high = (limit([point.x for line in lines for point in line.points]) for limit in (min, max))
        axes.set_xlim(min(0.95, low - 0.02), max(1.05, high + 0.02))
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xlabel("ticks, of those that its clock asks for")
        legend(figure, axes)
        return figure

    return Picture("rates", "Ticks against clocks", "1: a node ticked as often as its clock asks for; bars: from its slowest node to its fastest.", make, lines)
