"""log.csv in the run's directory: a line for each row of progress, there as soon as it is known."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncnet.runs import durable

if TYPE_CHECKING:
    from asyncnet.scenario.schema import Scenario

NAME = "log.csv"
LARGEST = 64 << 20  # bytes of one that is gone on with
COLUMNS = (  # in this order, those that a run has
    "time/total_timesteps",
    "time/time_elapsed",
    "time/fps",
    "time/simulated_s",
    "rollout/episodes",
    "rollout/ep_rew_mean",
    "rollout/ep_len_mean",
    "rollout/mean_reward",
    "rollout/mean_squared_error",
    "world/on_time",
)


def missing() -> str:
    """The library that is needed and not there: none."""
    return ""


class Logger:
    """Writes log.csv."""

    def begin(self, scenario: Scenario, folder: Path | None, begun: int) -> None:
        assert folder is not None
        kept = _lines(folder / NAME, begun) if begun else []
        self._lines = durable.Lines(folder / NAME)
        self._lines.add(_line(COLUMNS) + "".join(map(_line, kept)))

    def row(self, step: int, row: Mapping[str, float]) -> None:
        known = row | {"time/total_timesteps": step}
        self._lines.add(_line([known.get(column, "") for column in COLUMNS]))

    def end(self, summary: Mapping[str, Any]) -> None:
        """All is written."""

    def close(self) -> None:
        if hasattr(self, "_lines"):
            self._lines.close()


def _line(values: Any) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _lines(path: Path, begun: int) -> list[list[str]]:
    """The lines of an earlier part up to so many decisions; what is no such line is left out."""
    try:
        read = list(csv.reader(io.StringIO(durable.read(path, LARGEST).decode())))
    except (OSError, ValueError, csv.Error):
        return []
    return [line for line in read[1:] if len(line) == len(COLUMNS) and line[0].isascii() and line[0].isdigit() and float(line[0]) <= begun]
