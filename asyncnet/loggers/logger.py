"""What a logger is, those there are by name, and how a run's rows of progress reach them.

Names are those of Stable-Baselines3: rollout/ep_rew_mean, time/fps, time/time_elapsed, time/total_timesteps (decisions, and the step of every row).
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from asyncnet.scenario.mistakes import ScenarioError, near
from asyncnet.text import in_a_line

if TYPE_CHECKING:
    from asyncnet.scenario.schema import Scenario

LOGGERS = {"csv": "asyncnet.loggers.csv_lines", "tensorboard": "asyncnet.loggers.tensorboard", "wandb": "asyncnet.loggers.weights_and_biases"}


class Logger(Protocol):
    """Where rows of progress go. An OSError that it raises ends the logger and not the run, whose verdict says so."""

    def begin(self, scenario: Scenario, folder: Path | None, begun: int) -> None:
        """A run begins, in its directory (None: in none), or goes on after so many decisions: what was logged of later ones is done again."""

    def row(self, step: int, row: Mapping[str, float]) -> None:
        """What is known after so many decisions."""

    def end(self, summary: Mapping[str, Any]) -> None:
        """The run has ended, and this is its summary."""

    def close(self) -> None:
        """Let go of files; called once, however the run ended."""


def made_of(loggers: str | Logger | Iterable[str | Logger], *, kept: bool) -> list[Logger]:
    """Loggers, some of them by name; `kept`: whether the run has a directory. Raises ScenarioError for a name that is none and a library that is missing."""
    out: list[Logger] = []
    for each in dict.fromkeys(loggers if isinstance(loggers, Iterable) and not isinstance(loggers, str) else (loggers,)):  # twice is once: it has one file
        if not isinstance(each, str):
            out.append(each)
            continue
        if each not in LOGGERS:
            raise ScenarioError(f"--log {each}", "", f"no logger of that name; {near(each, LOGGERS)}")
        if not kept:
            raise ScenarioError(f"--log {each}", "", "writes into the run's directory, and this run has none (out=None)")
        module = importlib.import_module(LOGGERS[each])
        if missing := module.missing():
            raise ScenarioError(f"--log {each}", "", f"{missing} is not installed; pip install 'asyncnet[trackers]'")
        out.append(module.Logger())
    return out


class Logs:
    """The loggers of one run."""

    def __init__(self, loggers: Iterable[Logger], scenario: Scenario, folder: Path | None, trouble: dict[str, str], begun: int = 0) -> None:
        """What cannot be logged later is said in `trouble`; raises ScenarioError if one of them cannot begin."""
        self._trouble = trouble
        self._loggers: list[Logger] = []
        self._began = self._last = time.monotonic()
        self._decisions = begun
        try:
            for each in loggers:
                self._loggers.append(each)
                each.begin(scenario, folder, begun)
        except OSError as error:
            self.close()
            raise ScenarioError("--log", "", f"nothing can be logged: {in_a_line(error)}") from None

    def row(self, row: Mapping[str, Any]) -> None:
        """A row of progress (metrics.Score.row), with what a clock on the wall says of it."""
        if not self._loggers:
            return
        now, step = time.monotonic(), int(row["decisions"])
        logged = {name: float(value) for name, value in row.items() if "/" in name and isinstance(value, (int, float))}
        speed = (step - self._decisions) / (now - self._last) if now > self._last else 0.0  # since the row before
        logged |= {"time/fps": speed, "time/time_elapsed": now - self._began, "time/total_timesteps": float(step)}
        self._last, self._decisions = now, step
        self._each(lambda logger: logger.row(step, logged))

    def end(self, summary: Callable[[], Mapping[str, Any]]) -> None:
        """The run has ended, and what gives its summary."""
        if self._loggers:
            self._each(lambda logger: logger.end(summary()))

    def close(self) -> None:
        """Let go of all."""
        while self._loggers:
            with suppress(OSError):
                self._loggers.pop().close()

    def _each(self, do: Callable[[Logger], None]) -> None:
        for logger in list(self._loggers):
            try:
                do(logger)
            except OSError as error:
                self._loggers.remove(logger)
                with suppress(OSError):
                    logger.close()
                name = type(logger).__module__.rpartition(".")[2]
                self._trouble[f"log {name}"] = f"the {name} log ends early: {in_a_line(error)}"
