"""Progress in a notebook: one output of the cell, drawn anew now and then."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from asyncnet.console import html
from asyncnet.console.progress import Progress

EVERY = 0.3  # seconds between two pictures


def in_a_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and hasattr(shell, "kernel")


class Notebook:
    """A table with a bar and a curve, in the place of the cell's output."""

    def __init__(self) -> None:
        self._progress, self._notes = Progress(), list[str]()
        self._last = 0.0
        self._output: Any = None

    def begin(self, title: str, place: Path | str) -> None:
        self._progress.begin(title, place)
        self._draw()

    def note(self, words: str) -> None:
        self._notes = [*self._notes[-7:], words]
        self._draw(at_once=True)

    def row(self, row: dict[str, Any]) -> None:
        self._progress.row(row)
        self._draw()

    def study(self, done: float, words: str) -> None:
        self._progress.study(done, words)
        self._draw()

    def page(self) -> str:
        """What is shown now, as HTML."""
        progress = self._progress
        rows = [*progress.pairs(curve=False), *(("", note) for note in self._notes)]
        drawn = html.curve(progress.scores, "", f"{progress.last['decisions']:,} decisions") if progress.scores else ""
        return html.bar(progress.done) + html.table(rows) + drawn

    def _draw(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if self._output is not None and (at_once or now - self._last >= EVERY):
            from IPython.display import HTML

            self._last = now
            self._output.update(HTML(self.page()))

    def __enter__(self) -> Notebook:
        from IPython.display import HTML, display

        self._output = display(HTML(self.page()), display_id=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._draw(at_once=True)
