"""Progress in a terminal: a live table under a bar. What does not fit its width stands on more lines; nothing is cut."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from asyncnet import interrupts
from asyncnet.console.output import pairs, text
from asyncnet.console.progress import Progress

REFRESHED = 4  # times a second
ROOM = 2  # columns at the right that stay empty: a terminal writes ^C where the cursor is, and must not begin a line for it


class Terminal:
    """A live table of what is known of a run, or of a study."""

    def __init__(self, console: Console | None = None) -> None:
        """On standard error, unless another console is given."""
        self._console = console or Console(stderr=True)
        self._progress = Progress()
        self._live = Live(console=self._console, get_renderable=self.table, refresh_per_second=REFRESHED)

    def begin(self, title: str, place: Path | str) -> None:
        self._progress.begin(title, place)

    def note(self, words: str) -> None:
        self._console.print(text(words))

    def row(self, row: dict[str, Any]) -> None:
        self._progress.row(row)

    def study(self, done: float, words: str) -> None:
        self._progress.study(done, words)

    def table(self) -> RenderableType:
        """What is shown now."""
        progress = self._progress
        bar = Table.grid(expand=True, padding=(0, 1))
        bar.add_column(ratio=1)
        bar.add_column(justify="right", no_wrap=True, min_width=4)
        bar.add_row(ProgressBar(1.0, progress.done), text(f"{progress.done:.0%}"))
        rows = pairs(progress.pairs(curve=not self._console.options.ascii_only), len("decisions"))
        return Constrain(Group(bar, rows), max(1, self._console.width - ROOM))

    def __enter__(self) -> Terminal:
        interrupts.leaving.append(_show_cursor)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        interrupts.leaving.remove(_show_cursor)


def _show_cursor() -> None:
    os.write(2, b"\n\x1b[?25h")
