"""What a team has learned, measured with learning off: its final weights, held still, on other draws than those it learned from."""

from __future__ import annotations

from pathlib import Path

from asyncnet.api import Quiet
from asyncnet.loop.loop import Loop
from asyncnet.loop.timekeeper import Virtual
from asyncnet.runs import embedded, opened, snapshot
from asyncnet.runs.record import Reporter
from asyncnet.runs.result import Result
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.schema import Scenario
from asyncnet.tasks import TASKS

SEEDS = 1 << 53  # a scenario may have
OTHER_DRAWS = 1 << 40  # is added to the seed: initial weights do not matter, and task and samples are drawn anew


def evaluate(
    run_dir: str | Path,
    *,
    episodes: int | None = None,
    decisions: int | None = None,
    seed: int | None = None,
    trust: bool = False,
    reporter: Reporter | None = None,
) -> Result:
    """Run a finished run's team with the weights that it ended with, all step sizes 0, and return the result; nothing is written.

    So many `episodes` (default: 100, if the task has some) or `decisions` (10,000), in simulated time. `seed` is of the draws (None: derived from the run's).
    `trust` as in resume. Raises ScenarioError for a run whose weights are not there.
    """
    run = opened.open(run_dir, trust=trust)
    made = still(run.scenario, episodes, decisions, seed)
    loop = Loop(made, Virtual())
    for node in loop.nodes.values():
        for name in node.learned():
            key, array = f"{node.name}/{name}", getattr(node.view, name)
            found = run.weights.get(key)
            if found is None or found.shape != array.shape:
                raise ScenarioError(str(run.path / "weights.safetensors"), key, "is not there" if found is None else f"has the shape {found.shape}")
            array[:] = found
    begin = snapshot.take(loop)
    loop.nodes[0].close()
    return Result(made, "embedded", embedded.run(made, reporter or Quiet(), begin=begin))


def still(scenario: Scenario, episodes: int | None, decisions: int | None, seed: int | None) -> Scenario:
    """The scenario with learning off, of another length, on other draws."""
    if episodes is not None and decisions is not None:
        raise ScenarioError("episodes", "", "or decisions, not both")
    independent = TASKS[scenario.task.name].INDEPENDENT
    if decisions is not None or (episodes is None and independent):
        length = {"task.decisions": 10_000 if decisions is None else decisions}
    else:
        length = {"task.episodes": 100 if episodes is None else episodes}
    changes: dict[str, object] = {**length, "seed": (scenario.seed + OTHER_DRAWS) % SEEDS if seed is None else seed}
    for table in ("rule", "critic"):
        learner = getattr(scenario, table)
        if learner is not None:
            changes |= {f"{table}.learning_rate": 0.0, f"{table}.optimizer": {"name": "sgd"}, f"{table}.anneal": 0}
            if learner.learning_rate_end is not None:
                changes[f"{table}.learning_rate_end"] = 0.0
    return scenario.replace(changes)
