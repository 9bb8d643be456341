"""Writes traffic.jsonl (traffic.py) while a run goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from asyncnet.loop.counts import ARRAYS, Counts, counted
from asyncnet.loop.loop import Loop
from asyncnet.runs import durable
from asyncnet.runs.picture import Picture
from asyncnet.runs.record import Record
from asyncnet.runs.traffic import MOST_BYTES, Row, before, line
from asyncnet.scenario.schema import Scenario

FIRST = 0.2  # seconds of a run until its first row
EVERY = 0.5  # seconds between rows, at least
SHARE = 0.005  # of the time that rows may take
LATELY = 60  # rows that stay as close as they were written


@contextmanager
def noted(loop: Loop, note: Callable[[Counts], None]) -> Iterator[None]:
    """Within the block what a prepared loop has counted is noted now and then by a thread beside it, so seldom that it takes no more than SHARE of the time."""
    over = Event()

    def work() -> None:
        if over.wait(FIRST):
            return
        picture, wait = Picture(loop.scenario), 0.0
        while not over.wait(wait):
            began = time.thread_time()
            note(picture.shown(counted(loop)))
            wait = max(EVERY, (time.thread_time() - began) / SHARE)

    thread = Thread(target=work, name="traffic", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Log:
    """Writes the file, which is made with its first row. OSError: the disk does not take it, which costs rows and nothing else.

    Of a run that goes on at the time `since` the rows up to then are kept.
    """

    def __init__(self, path: Path, scenario: Scenario, since: int | None = None) -> None:
        self._path, self._scenario, self._since = path, scenario, since
        self._picture: Picture | None = None
        self._lines: durable.Lines | None = None
        self._rows: list[tuple[float, str]] = []
        self._first, self._size = "", 0
        self._began = 0.0

    def counts(self, counts: Counts) -> None:
        """Add a row; of what was counted, as it is shown (Picture.shown)."""
        columns = {name: getattr(counts, name).tolist() for name in ARRAYS}
        self._add(lambda seconds: Row(seconds=seconds, now=counts.now, decisions=counts.decisions, episodes=counts.episodes, **columns))

    def end(self, record: Record) -> None:
        """Add the last row, if anything is known of the messages then."""
        if record.ledger.size:
            self._add(lambda seconds: self._picture.last(record, seconds))

    def close(self) -> None:
        """Close the file."""
        if self._lines is not None:
            self._lines.close()

    def _add(self, made: Callable[[float], Row]) -> None:
        if self._lines is None:
            self._open()
        row = made(round(time.monotonic() - self._began, 3))
        text = line(row)
        if self._size + len(text) > MOST_BYTES:
            self._thin()
        self._rows.append((row.seconds, text))
        self._write(text)

    def _open(self) -> None:
        self._picture = self._picture or Picture(self._scenario)
        self._first = line(self._picture.team)
        if self._since is not None:
            self._rows = [(row.seconds, line(row)) for row in before(self._path, self._since, self._picture.team)]
            self._since = None
        self._began = time.monotonic() - (self._rows[-1][0] if self._rows else 0.0)
        self._lines = durable.Lines(self._path)
        self._write(self._first, *(text for _, text in self._rows))

    def _write(self, *texts: str) -> None:
        self._size += sum(map(len, texts))
        self._lines.add("".join(texts))

    def _thin(self) -> None:
        """Leave out about half of the older rows, those that are closest to the one before."""
        recent = min(LATELY, len(self._rows) // 4)
        older, lately = self._rows[: len(self._rows) - recent], self._rows[len(self._rows) - recent :]
        least = 1.5 * (older[-1][0] - older[0][0]) / len(older)
        kept = older[:1]
        for row in older[1:]:
            if row[0] - kept[-1][0] >= least:
                kept.append(row)
        aside = self._path.with_name(f".{self._path.name}{durable.PART}")
        lines = durable.Lines(aside)
        try:
            lines.add("".join([self._first, *(text for _, text in (*kept, *lately))]))
            os.replace(aside, self._path)
        except OSError:
            lines.close()
            with suppress(OSError):
                os.unlink(aside)
            raise
        self._lines.close()
        self._lines, self._rows = lines, [*kept, *lately]
        self._size = len(self._first) + sum(len(text) for _, text in self._rows)
