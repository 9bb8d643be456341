"""How far a run or a study is, in words; and plain lines of it, for logs."""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from asyncnet.text import printable

EVERY = 2.0  # seconds between plain lines
LATELY = 60.0  # seconds over which speed is measured
BLOCKS = "▁▂▃▄▅▆▇█"
SCORES = {  # what a task is scored by: the first that a row of progress has
    "rollout/ep_rew_mean": ("return", "{:,.1f}, mean of the last 100 episodes"),
    "rollout/mean_squared_error": ("error", "{:.3g}, mean squared error lately"),
    "rollout/mean_reward": ("reward", "{:+.3f}, mean lately"),
}


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


def clock(seconds: float) -> str:
    """Seconds as people read them: 1:02:03."""
    return str(timedelta(seconds=round(seconds)))


def thinned(values: Sequence[float], most: int) -> list[float]:
    """At most so many values: means of equal parts, those of them that are finite."""
    count = min(most, len(values))
    edges = [len(values) * n // count for n in range(count + 1)] if count else [0]
    parts = [[value for value in values[low:high] if math.isfinite(value)] for low, high in itertools.pairwise(edges)]
    return [sum(part) / len(part) for part in parts if part]


def spark(values: Sequence[float], most: int = 24) -> str:
    """A curve in one line, from the least value to the most; "" if there are fewer than two, or none differs."""
    parts = thinned(values, most)
    low, high = (min(parts), max(parts)) if parts else (0.0, 0.0)
    if len(parts) < 2 or not 0.0 < high - low < math.inf:
        return ""
    return "".join(BLOCKS[min(7, int(8.0 * (value - low) / (high - low)))] for value in parts)


def _key(row: dict[str, Any]) -> str:
    """What a row is scored by."""
    return next((key for key in SCORES if row.get(key) is not None), "")


class Progress:
    """What is known of a run or a study under way: which it is, where it is kept, how far it is, and its score so far."""

    def __init__(self) -> None:
        self.title, self.place, self.text = "", "", ""  # `text`: of a study, how its runs are
        self.last: dict[str, Any] = {}  # row of progress
        self.scores: list[float] = []
        self.done = 0.0
        self._began = time.monotonic()
        self._seen: deque[tuple[float, float, int]] = deque()  # (when, share, decisions)

    def begin(self, title: str, place: Path | str) -> None:
        """What begins, and where it is kept."""
        self.title, self.place = title, str(place)

    def row(self, row: dict[str, Any]) -> None:
        """A row of progress of a run."""
        key = _key(row)
        scores = self.scores if key == _key(self.last) else []  # or the first episode has ended
        scores.append(float(row[key]))
        self.scores, self.last = scores, row  # in this order: another thread may be looking
        self._reached(row["done"], row["decisions"])

    def study(self, done: float, words: str) -> None:
        """How far a study is."""
        self.text = words
        self._reached(done, 0)

    def _reached(self, done: float, decisions: int) -> None:
        self.done = min(1.0, done)
        now = time.monotonic()
        self._seen.append((now, done, decisions))
        while len(self._seen) > 2 and now - self._seen[0][0] > LATELY:
            self._seen.popleft()

    def _rates(self) -> tuple[float, float]:
        """Share and decisions a second, lately; 0 where they are not known yet."""
        if len(self._seen) < 2:
            return 0.0, 0.0
        (then, share, decisions), (now, here, there) = self._seen[0], self._seen[-1]
        return ((here - share) / (now - then), (there - decisions) / (now - then)) if now > then else (0.0, 0.0)

    def pairs(self, *, curve: bool = True) -> list[tuple[str, str]]:
        """All of it as names and values; `curve`: with a small curve of the score."""
        share, speed = self._rates()
        left = f", about {clock((1.0 - self.done) / share)} left" if share > 0.0 and self.done < 1.0 and not self.text else ""
        out = [("run" if not self.text else "study", self.title)] if self.title else []
        out.append(("time", f"{clock(time.monotonic() - self._began)}{left}"))
        if self.text:
            out.append(("runs", self.text))
        elif self.last:
            name, form = SCORES[_key(self.last)]
            out.append(("decisions", f"{self.last['decisions']:,}" + (f", {speed:,.0f} a second" if speed > 0.0 else "")))
            if self.last.get("rollout/episodes") is not None:
                out.append(("episodes", f"{self.last['rollout/episodes']:,}"))
            drawn = spark(self.scores) if curve else ""
            out.append((name, form.format(self.scores[-1]) + (f"  {drawn}" if drawn else "")))
            out.append(("on time", f"{self.last['world/on_time']:.0%}"))
        else:
            out.append(("", "starting"))
        return [*out, ("kept in", self.place)] if self.place else out


class Plain:
    """A line now and then, for logs."""

    def __init__(self) -> None:
        self._last = 0.0
        self._began = time.monotonic()

    def begin(self, title: str, place: Path | str) -> None:
        self.note(f"{title}, in {place}")

    def note(self, text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)

    def row(self, row: dict[str, Any]) -> None:
        self._line(row["done"], line(row))

    def study(self, done: float, text: str) -> None:
        self._line(done, printable(text))

    def _line(self, done: float, words: str) -> None:
        now = time.monotonic()
        if now - self._last >= EVERY or done >= 1.0:
            self._last = now
            print(f"{now - self._began:6.1f} s {done:5.0%} {words}", file=sys.stderr, flush=True)

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to tidy."""
