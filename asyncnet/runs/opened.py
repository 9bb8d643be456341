"""A finished run looked into: its scenario, summary, weights, returns and progress."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from asyncnet.runs import checkpoint, columns, stored, weights
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.schema import Scenario


class Kept:
    """A state that a run has kept: `at` is its time in seconds of the run, simulated or real, `decisions` how many had been taken."""

    def __init__(self, path: Path, at: float, decisions: int) -> None:
        self.path, self.at, self.decisions = path, at, decisions

    def __repr__(self) -> str:
        return f"<checkpoint after {self.decisions:,} decisions, {self.path}>"

    @functools.cached_property
    def weights(self) -> dict[str, np.ndarray]:
        """What had been learned then, as Opened.weights; raises ScenarioError where it is not there or cannot be read."""
        return weights.read(self.path / weights.FILE)


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
        name, column = ("returns.csv", "return") if (self.path / "returns.csv").is_file() else ("rewards.csv", "mean_reward")
        return columns.read(self.path / name, column)[column].tolist()

    @functools.cached_property
    def summary(self) -> dict[str, Any]:
        """What --json prints."""
        return stored.summary(self.path)

    @functools.cached_property
    def weights(self) -> dict[str, np.ndarray]:
        """What was learned: "actor.1/weight" (inputs, units), "actor.1/bias" (units,), ..."""
        return weights.read(self.path / weights.FILE)

    @property
    def checkpoints(self) -> list[Kept]:
        """The states that the run has kept, the oldest first; also those of a run that was killed."""
        found = checkpoint.listed(self.path / "checkpoints")
        return [Kept(path, int(path.name) / 1e6, stored.marks(checkpoint.Checkpoint(about, {}), path).decisions) for path, about in found]

    @functools.cached_property
    def returns(self) -> Any:
        """Every episode's return, as a pandas series by episode; of a task without episodes mean rewards, by decision."""
        if (self.path / "returns.csv").is_file():
            return self.episodes["return"]
        return self._frame("rewards.csv", "decisions", "mean_reward").set_index("decisions")["mean_reward"]

    @functools.cached_property
    def episodes(self) -> Any:
        """Every episode as a pandas frame: its return, its length in decisions, and `decisions`, after how many of the run it ended."""
        return self._frame("returns.csv", "episode", "return").set_index("episode")

    @functools.cached_property
    def probes(self) -> Any:
        """What was probed, a row each time, as a pandas frame by decision."""
        return self._frame("probes.csv", "decisions").set_index("decisions")

    @functools.cached_property
    def progress(self) -> Any:
        """The rows of progress as a pandas frame."""
        return self._frame("progress.csv", "decisions")

    def _frame(self, name: str, *needed: str) -> Any:
        import pandas

        return pandas.DataFrame(columns.read(self.path / name, *needed))


def open(run_dir: str | Path, *, trust: bool = False) -> Opened:
    """Open a run's directory; `trust` as in resume. Raises ScenarioError if it is none, or was edited."""
    path = stored.find(run_dir)
    return Opened(path, stored.scenario_of(path, stored.about(path), trust))
