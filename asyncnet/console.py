"""What people see: progress in a terminal, plain lines elsewhere, tables at the end. Everything here goes to standard error but the last table.

All of it is made printable here: some was read from files, and may be anybody's.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from asyncnet import interrupts
from asyncnet.text import printable

EVERY = 2.0  # seconds between plain lines


def line(row: dict[str, Any]) -> str:
    """One row of progress in words."""
    words = [f"{row['decisions']:>9,} decisions"]
    if "rollout/ep_rew_mean" in row:
        words.append(f"episode {row['rollout/episodes']:,}, mean return of the last 100: {row['rollout/ep_rew_mean']:.1f}")
    elif "rollout/mean_squared_error" in row:
        words.append(f"mean squared error lately: {row['rollout/mean_squared_error']:.3g}")
    else:
        words.append(f"mean reward lately: {row['rollout/mean_reward']:+.3f}")
    words.append(f"on time {row['world/on_time']:.0%}")
    return ", ".join(words)


class Plain:
    """A line now and then, for logs."""

    def __init__(self) -> None:
        self._last = 0.0
        self._began = time.monotonic()

    def note(self, text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)

    def row(self, row: dict[str, Any]) -> None:
        now = time.monotonic()
        if now - self._last >= EVERY or row["done"] >= 1.0:
            self._last = now
            print(f"{now - self._began:6.1f} s {row['done']:5.0%} {line(row)}", file=sys.stderr, flush=True)

    def study(self, done: float, text: str) -> None:
        now = time.monotonic()
        if now - self._last >= EVERY or done >= 1.0:
            self._last = now
            print(f"{now - self._began:6.1f} s {done:5.0%} {printable(text)}", file=sys.stderr, flush=True)

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to tidy."""


class Terminal:
    """A progress bar that says what is being learned."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._bar = Progress(BarColumn(24), TextColumn("{task.description}"), TimeElapsedColumn(), TimeRemainingColumn(), console=console)
        self._task = self._bar.add_task("starting", total=1.0)

    def note(self, text: str) -> None:
        self._bar.console.print(_text(text))

    def row(self, row: dict[str, Any]) -> None:
        self._bar.update(self._task, completed=row["done"], description=line(row))

    def study(self, done: float, text: str) -> None:
        self._bar.update(self._task, completed=done, description=printable(text))

    def __enter__(self) -> Terminal:
        interrupts.leaving.append(_show_cursor)
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        interrupts.leaving.remove(_show_cursor)


def _show_cursor() -> None:
    os.write(2, b"\n\x1b[?25h")


def reporter() -> Plain | Terminal:
    """The one that suits where standard error goes: no bar beside a debugger's prompt."""
    from asyncnet.kernels.plain import PLAIN  # imports numba

    return Terminal() if sys.stderr.isatty() and not PLAIN else Plain()


def show_summary(summary: dict[str, Any]) -> None:
    """The end of a run as a table on standard output."""
    shown = Table(show_header=False, box=None, pad_edge=False)
    names = {
        "decisions": "decisions",
        "mean_reward": "mean reward",
        "last_mean_reward": "mean reward, last 10 %",
        "mean_squared_error": "mean squared error",
        "last_mean_squared_error": "mean squared error, last 10 %",
        "episodes": "episodes",
        "mean_return": "mean return",
        "last_mean_return": "mean return, last 100 episodes",
        "on_time": "actions on time",
        "final": "actions not revised later",
        "missing": "decisions without an action",
        "action_delay": "actions late by, decisions",
        "decisions_per_second": "decisions per second",
    }
    for key, name in names.items():
        value = summary[key]
        if value is None or _said_better(key, summary) or (key in ("episodes", "missing") and value == 0):
            continue
        shown.add_row(name, _number(key, value))
    for channel, row in summary["links"].items():
        if "wire_p50_us" in row:
            shown.add_row(f"{channel} on the wire", f"p50 {row['wire_p50_us']:,.0f} us, p99 {row['wire_p99_us']:,.0f} us, beside any injected delay")
    shown.add_row("digest", summary["digest"][:16])
    shown.add_row("verdict", _text(summary["verdict"] + "".join(f"; {reason}" for reason in summary["reasons"])))
    if summary["run_dir"]:
        shown.add_row("run", _text(summary["run_dir"]))
    _output().print(shown)


def _said_better(key: str, figures: dict[str, Any]) -> bool:
    """Whether a figure is another's with the sign changed, and that one says what it is."""
    return key.endswith("mean_reward") and figures.get("mean_squared_error") is not None


def show_replicas(summary: dict[str, Any]) -> None:
    """Replicas as a table on standard output: a line for each seed, then mean and standard error."""
    figures = [key for key in summary["mean"] if not _said_better(key, summary["mean"])]
    shown = Table(box=None, pad_edge=False, header_style="")
    for name in ("seed", *figures, "digest", "verdict"):
        shown.add_column(name.replace("_", " "), justify="right")
    for run in summary["runs"]:
        shown.add_row(str(run["seed"]), *(_number(key, run[key]) for key in figures), run["digest"][:16], run["verdict"])
    for name in ("mean", "standard_error"):
        shown.add_row(name.replace("_", " "), *("" if summary[name][key] is None else _number(key, summary[name][key]) for key in figures))
    _output().print(shown)


def show_study(study: Any, rows: list[dict[str, Any]], outcome: str) -> None:
    """A study as a table on standard output: of each combination the outcome's mean, interval and interquartile mean over seeds, and the verdicts."""
    from asyncnet.studies import statistics, table

    shown = Table(box=None, pad_edge=False, header_style="")
    for name in (*study.columns(), "runs", f"mean {outcome.replace('_', ' ')}", "95% interval", "IQM", "verdicts"):
        shown.add_column(_text(str(name)), justify="left" if name in study.columns() else "right")
    for values, inside in table.groups(study, rows).items():
        scores = [row[outcome] for row in inside if row.get(outcome) is not None]
        mean, middle = statistics.interval(scores), statistics.interval(scores, statistics.iqm)
        verdicts: dict[str, int] = {}
        for row in inside:
            verdicts[row["verdict"]] = verdicts.get(row["verdict"], 0) + 1
        said = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
        figures = (f"{mean.value:.4g}", f"{mean.low:.4g} .. {mean.high:.4g}" if mean.n > 1 else "one run", f"{middle.value:.4g}") if mean.n else ("-", "-", "-")
        shown.add_row(*(_text(str(value)) for value in values), str(mean.n), *figures, said)
    _output().print(shown)


def show(parts: list[Any]) -> None:
    """What was made ready, on standard output; lines of text are left to the terminal to wrap, so that what is copied from them is whole."""
    output = _output()
    for part in parts:
        output.print(part, soft_wrap=not isinstance(part, Table))


def show_keys(keys: list[Any]) -> None:
    """Keys of a scenario on standard output, a line each."""
    shown = Table(box=None, pad_edge=False, header_style="")
    for name in ("key", "of", "what", "default", "for"):
        shown.add_column(name, overflow="fold")
    for key in keys:
        shown.add_row(*map(_text, key))
    _output().print(shown)


def show_explained(found: dict[str, Any], varied: str = "") -> None:
    """What a scenario comes to, on standard output."""
    output = _output()
    layers = Table(box=None, pad_edge=False, header_style="")
    for name in ("layer", "nodes", "units", "acts", "machine", "rule", "credit", "archive", "answers after", "learns after", "meanwhile"):
        layers.add_column(name, justify="right" if name in ("nodes", "units", "archive") else "left")
    times = {row["layer"]: row for row in found["times"]}
    for row in found["layers"]:
        time = times.get(row["layer"], {})
        between = time.get("between")
        meanwhile = "" if not between else f"{between[0]} samples" if between[0] == between[1] else f"{between[0]} to {between[1]} samples"
        kept = str(found["archives"].get(row["layer"], ""))
        figures = (_ticks(time.get("samples_after")), _ticks(time.get("learns_after")), meanwhile)
        words = (row["layer"], f"{row['nodes']:,}", f"{row['units']:,}", row["acts"], row["machine"], row["rule"], row["credit"], kept, *figures)
        layers.add_row(*map(_text, words))
    output.print(layers)
    output.print()
    links = Table(box=None, pad_edge=False, header_style="")
    for name in ("channel", "from", "to", "links", "numbers", "conditions"):
        links.add_column(name, justify="right" if name in ("links", "numbers") else "left")
    for row in found["links"]:
        words = (row["channel"], row["from"], row["to"], f"{row['links']:,}", f"{row['numbers']:,}", "; ".join(row["conditions"]) or "at once")
        links.add_row(*map(_text, words))
    output.print(links)
    world = found["world"]
    after = f"; an action comes {_ticks(world['action_after'])} after its observation" if world["action_after"] else ""
    output.print()
    output.print(_text(f"in {world['decisions']:,} decisions: {world['on_time']:.1%} of the actions in time{after} (median, and the most, in ticks)"))
    for line in found["warnings"]:
        output.print(_text(f"- {line}"))
    if "points" in found:
        points = " | ".join(", ".join(values) for values in found["points"])
        output.print(_text(f"{varied.partition('=')[0]}: {len(found['points'])} distinct points in {world['decisions']:,} decisions: {points}"))


def _ticks(spread: list[float] | None) -> str:
    """Median and most of some times in ticks."""
    return "" if spread is None else f"{spread[1]:.1f} ({spread[2]:.1f})"


def _number(key: str, value: float) -> str:
    if key in ("on_time", "final", "missing"):
        return f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if 1000 <= abs(value) < 1e12 else f"{value:,.4g}"


def show_lists(lists: dict[str, dict[str, str]], groups: dict[str, str]) -> None:
    """Names with one line each, by kind, on standard output; names that belong to a group stand under it."""
    console = _output()
    for kind, names in lists.items():
        table = Table(show_header=False, box=None, pad_edge=False, title=kind, title_justify="left", title_style="bold")
        group = ""
        for name in sorted(names, key=lambda name: groups.get(name, "")):
            if groups.get(name, "") != group:
                group = groups[name]
                table.add_row(f"  {group}", "", style="italic")
            table.add_row(f"  {'  ' if group else ''}{name}", names[name])
        console.print(table)


def _text(text: str) -> Text:
    """Text as it stands: no markup, nothing that a terminal obeys."""
    return Text(printable(text))


def _output() -> Console:
    """Standard output; as wide as the text needs where nobody's window says how wide it is."""
    return Console() if sys.stdout.isatty() else Console(width=240)
