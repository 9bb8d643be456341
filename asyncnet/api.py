"""The Python surface: every verb of the command line is one function here."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from asyncnet import scenario as scenarios_module
from asyncnet.record import Record, Reporter
from asyncnet.rundir import RunDirectory, arguments
from asyncnet.scenario import Scenario

# Engines are named by strings, so that naming one does not import it.
ENGINES = {"embedded": "asyncnet.embedded:run", "ray": "asyncnet.actors.engine:run"}


def scenarios() -> dict[str, str]:
    """The shipped scenarios: name -> the question each asks."""
    return {name: str(scenarios_module.read_toml(path).get("question", "")) for name, path in scenarios_module.shipped().items()}


def tasks_of_scenarios() -> dict[str, str]:
    """The task of each shipped scenario: an environment's id, or the task's name."""
    tasks = {name: scenarios_module.read_toml(path)["task"] for name, path in scenarios_module.shipped().items()}
    return {name: task.get("id", task["name"]) for name, task in tasks.items()}


def conditions() -> dict[str, str]:
    """The shipped conditions: name -> what each does."""
    return {name: str(scenarios_module.read_toml(path).get("line", "")) for name, path in scenarios_module.shipped("conditions").items()}


def load(name: str | Path, under: Iterable[str] = (), settings: Iterable[str] = ()) -> Scenario:
    """A scenario by shipped name or path of a TOML file, under conditions, with `key=value` settings; raises ScenarioError."""
    return scenarios_module.read(scenarios_module.find(str(name)), under, [scenarios_module.setting(text) for text in settings])


def validate(path: str | Path) -> Scenario:
    """The scenario in a file, if it is sound; raises ScenarioError with file, key and reason."""
    return scenarios_module.read(scenarios_module.find(str(path)))


class Result:
    """One finished run: the scenario, the engine's record, and where it was written (None if nowhere)."""

    def __init__(self, scenario: Scenario, engine: str, record: Record, run_dir: Path | None) -> None:
        self.scenario, self.engine, self.record, self.run_dir = scenario, engine, record, run_dir

    def verdict(self) -> tuple[str, list[str]]:
        """("pass" | "unknown" | "fail", reasons): fail if something broke, unknown if what was asked for did not take place."""
        record = self.record
        fails, unknown = [], []
        if record.stopped == "interrupted":
            unknown.append("interrupted before its end")
        elif record.stopped != "finished":
            fails.append(record.stopped)
        for name, arrays in record.weights.items():
            if not all(np.isfinite(array).all() for array in arrays.values()):
                fails.append(f"{name}: weights are not finite")
        for name, why in record.measured.get("off_clock", {}).items():
            unknown.append(f"{name} {why}")
        for channel, row in record.links.items():
            worst = max((condition.loss or 0.0 for condition in self.scenario.links.of(channel)), default=0.0)
            # With an expectation of 10 the chance of no loss at all is 1 in 20,000.
            if worst * row["sent"] >= 10 and not row["lost"] and not self.scenario.links.reliable(channel):
                unknown.append(f"loss on {channel} never struck in {row['sent']} messages")
        return ("fail" if fails else "unknown" if unknown else "pass"), fails + unknown

    def summary(self) -> dict[str, Any]:
        """The dict that --json prints and summary.json holds."""
        record = self.record
        verdict, reasons = self.verdict()
        return {
            "scenario": self.scenario.name,
            "under": list(self.scenario.under),
            "engine": self.engine,
            "seed": self.scenario.seed,
            **record.score,
            "decisions_per_second": record.score["decisions"] / record.seconds if record.seconds else None,
            "seconds": record.seconds,
            "digest": record.digest,
            "verdict": verdict,
            "reasons": reasons,
            "stopped": record.stopped,
            "run_dir": str(self.run_dir) if self.run_dir else None,
            "links": record.links,
            "nodes": record.nodes,
            **({"measured": record.measured} if record.measured else {}),
        }


class Quiet:
    """A reporter that says nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def row(self, row: dict[str, Any]) -> None:
        """Say nothing."""


class _Both:
    """A reporter that also keeps the rows in the run's directory."""

    def __init__(self, shown: Reporter, kept: RunDirectory | None) -> None:
        self.note, self._shown, self._kept = shown.note, shown, kept

    def row(self, row: dict[str, Any]) -> None:
        if self._kept:
            self._kept.row(row)
        self._shown.row(row)


def run(
    scenario: Scenario | str | Path,
    engine: str = "embedded",
    *,
    seed: int | None = None,
    under: Iterable[str] = (),
    out: str | Path | None = "runs",
    reporter: Reporter | None = None,
    **options: Any,
) -> Result:
    """Run a scenario and return what came of it.

    `engine` is "embedded" or "ray"; `options` are the engine's own (time, loop; for ray also pack, wire, address). `out` is the folder in which
    the run's directory is made, None for none. Raises ScenarioError for a bad scenario, before anything starts. KeyboardInterrupt ends the run
    early and still returns its result (record.stopped is "interrupted").
    """
    made = scenario if isinstance(scenario, Scenario) else load(scenario, under)
    if isinstance(scenario, Scenario) and under:
        for name in under:
            made = scenarios_module.check(scenarios_module.overlay(made.data(), scenarios_module.condition(name), compose=True), name)
    if seed is not None:
        made = made.replace(seed=seed)
    if engine not in ENGINES:
        raise ValueError(f"no engine {engine!r}; there are {', '.join(ENGINES)}")
    module, _, name = ENGINES[engine].partition(":")
    start = getattr(importlib.import_module(module), name)
    if out is None:
        return Result(made, engine, start(made, _Both(reporter or Quiet(), None), **options), None)
    with RunDirectory(Path(out), made, engine, arguments()) as kept:
        result = Result(made, engine, start(made, _Both(reporter or Quiet(), kept), **options), kept.path)
        kept.finish(result.summary(), result.record.returns)
        return result
