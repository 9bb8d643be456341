"""A finished run looked into: its scenario, summary, weights, returns and progress."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from asyncnet.runs import durable, stored
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.schema import Scenario
from asyncnet.text import in_a_line

LARGEST = 4 << 30  # bytes of weights


class Opened:
    """A run's directory; each part is read when it is first asked for, and raises ScenarioError where it is not there or cannot be read."""

    def __init__(self, path: Path, scenario: Scenario) -> None:
        self.path, self.scenario = path, scenario

    def __repr__(self) -> str:
        return f"<run {self.scenario.name}, {self.path}>"

    def _repr_html_(self) -> str:
        """A small table and a curve, for notebooks; of a run without a summary how it stands."""
        from asyncnet.console.html import of_summary, table

        try:
            return of_summary(self.summary, self._values())
        except ScenarioError as error:
            return table([("run", str(self.path)), ("", error.why)], self.scenario.name)

    def _values(self) -> list[float]:
        """Returns, or binned rewards, without pandas."""
        name = "returns.csv" if (self.path / "returns.csv").is_file() else "rewards.csv"
        try:
            lines = durable.read(self.path / name, LARGEST).decode().splitlines()[1:]
            return [float(line.rpartition(",")[2]) for line in lines]
        except (OSError, ValueError) as error:
            raise ScenarioError(str(self.path / name), "", in_a_line(error)) from None

    @functools.cached_property
    def summary(self) -> dict[str, Any]:
        """What --json prints."""
        return stored.summary(self.path)

    @functools.cached_property
    def weights(self) -> dict[str, np.ndarray]:
        """What was learned: "actor.1/weight" (inputs, units), "actor.1/bias" (units,), ..."""
        file = self.path / "weights.safetensors"
        try:
            return safetensors.numpy.load(durable.read(file, LARGEST))
        except (OSError, ValueError, SafetensorError) as error:
            raise ScenarioError(str(file), "", in_a_line(error)) from None

    @functools.cached_property
    def returns(self) -> Any:
        """Every episode's return, as a pandas series by episode; of a task without episodes mean rewards, by decision."""
        name, index = ("returns.csv", "episode") if (self.path / "returns.csv").is_file() else ("rewards.csv", "decisions")
        return self._frame(name).set_index(index).iloc[:, 0]

    @functools.cached_property
    def progress(self) -> Any:
        """The rows of progress as a pandas frame."""
        return self._frame("progress.csv")

    def _frame(self, name: str) -> Any:
        import pandas

        try:
            return pandas.read_csv(self.path / name)
        except (OSError, ValueError) as error:
            raise ScenarioError(str(self.path / name), "", in_a_line(error)) from None


def open(run_dir: str | Path, *, trust: bool = False) -> Opened:
    """Open a run's directory; `trust` as in resume. Raises ScenarioError if it is none, or was edited."""
    path = stored.find(run_dir)
    return Opened(path, stored.scenario_of(path, stored.about(path), trust))
