"""Step sizes on Sutton's tracking task: the error of LMS and others by step size, of IDBD by meta step size, and the step sizes that IDBD finds.

    python benchmarks/tracking.py [--seeds 20]

A line each: mean +- standard error over seeds 1, 2, ... The error is the mean squared error of examples 20,001 to 30,000; step sizes are those after 250,000.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import tyro

import asyncnet
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.timekeeper import Virtual
from asyncnet.scenario.schema import Scenario

BURN_IN, MEASURED, LONG = 20_000, 10_000, 250_000
RATES = {
    "sgd": (0.01, 0.02, 0.03, 0.035, 0.04, 0.045, 0.05, 0.06, 0.08),
    "rmsprop": (0.03, 0.05, 0.07, 0.1),
    "adam": (0.02, 0.04, 0.06, 0.1),
}
THETAS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02)


def ended(scenario: Scenario, seed: int) -> CompiledLoop:
    """A run of so many examples, finished."""
    made = CompiledLoop(scenario.replace(seed=seed), Virtual())
    made.run()
    assert made.stopped == "finished"
    return made


def squared_error(scenario: Scenario, seed: int) -> float:
    """The mean over what comes after the burn-in."""
    return -ended(scenario.replace({"task.decisions": BURN_IN + MEASURED}), seed).score.rewards.mean(MEASURED)


def step_sizes(scenario: Scenario, seed: int) -> np.ndarray:
    """alpha of each input at the end."""
    return scenario.rule.learning_rate[0] * np.exp(ended(scenario, seed).nodes[1].view.slots_weight[0, :, 0])


def line(text: str, values: Iterable[float]) -> None:
    found = np.array(list(values))
    print(f"| {text} | {found.mean():.4g} +- {found.std(ddof=1) / math.sqrt(found.size):.2g} ({found.size}) |", flush=True)


def main(seeds: int = 20) -> None:
    """Run and print them.

    Args:
        seeds: so many runs for each line, at least 2.
    """
    scenario, all_seeds = asyncnet.load("tracking-idbd"), range(1, seeds + 1)
    for name, rates in RATES.items():
        for rate in rates:
            fixed = scenario.replace({"rule.optimizer": {"name": name}, "rule.learning_rate": rate})
            line(f"{name}, step size {rate}", (squared_error(fixed, seed) for seed in all_seeds))
    for theta in THETAS:
        line(f"idbd, theta {theta}", (squared_error(scenario.replace({"rule.optimizer.theta": theta}), seed) for seed in all_seeds))
    found = np.array([step_sizes(scenario.replace({"task.decisions": LONG}), seed) for seed in all_seeds])
    relevant, others = found[:, : scenario.task.relevant], found[:, scenario.task.relevant :]
    line("relevant step sizes, mean", relevant.mean(axis=1))
    line("smallest of them", relevant.min(axis=1))
    line("irrelevant step sizes, mean", others.mean(axis=1))
    line("largest of them", others.max(axis=1))


if __name__ == "__main__":
    tyro.cli(main)
