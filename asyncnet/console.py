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
