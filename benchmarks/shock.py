"""How far each rule falls when half of its hidden units are cut off, and how fast it comes back: the runs of the study `shock`, by stretches.

    python benchmarks/shock.py [--seeds 5]

before      mean reward of the 2,000 decisions before the cut
cut         of its first 1,000, and of its last 2,000
healed      of the first 1,000 afterwards, and of the run's last 2,000
back        decisions from the heal to the end of the first thousand whose mean is within 0.02 of `before`; "-": none is

Each with the standard error over seeds. Two processes, most of an hour for five seeds; simulated time, so anybody gets the same figures.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from concurrent.futures import ProcessPoolExecutor  # noqa: E402  (the threads are set before NumPy is loaded)

import numpy as np  # noqa: E402
import tyro  # noqa: E402

import asyncnet  # noqa: E402
from asyncnet.scenario.schema import Scenario, check  # noqa: E402
from asyncnet.studies.study import cells, read_study, studies  # noqa: E402

NEAR = 0.02


def stretches(data: dict) -> list[float]:
    """The six figures of one run; the last is NaN if it does not come back."""
    scenario: Scenario = check(data, "shock")
    cut, healed = scenario.faults[0].decisions
    found = asyncnet.run(scenario, out=None).record
    ends, rewards = (np.array(column) for column in zip(*found.rewards, strict=True))

    def mean(first: int, last: int) -> float:
        return float(rewards[(ends > first) & (ends <= last)].mean())

    before, length = mean(cut - 2000, cut), int(ends[-1])
    back = next((last - healed for last in range(healed + 1000, length + 1, 100) if mean(last - 1000, last) >= before - NEAR), float("nan"))
    return [before, mean(cut, cut + 1000), mean(healed - 2000, healed), mean(healed, healed + 1000), mean(length - 2000, length), back]


def main(seeds: int = 5) -> None:
    """Measure how rules fall and come back.

    Args:
        seeds: so many of each rule.
    """
    study = read_study(studies()["shock"]).model_copy(update={"seeds": seeds})
    made = cells(study)
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(stretches, [cell.scenario.data() for cell in made]))
    print("| | before | cut: first 1,000 | cut: last 2,000 | healed: first 1,000 | end | back after |\n| --- | --- | --- | --- | --- | --- | --- |")
    for variant in dict.fromkeys(cell.labels["variant"] for cell in made):
        rows = np.array([row for cell, row in zip(made, found, strict=True) if cell.labels["variant"] == variant])
        shown = [f"{column.mean():.3f} +- {column.std(ddof=1) / len(column) ** 0.5:.3f}" for column in rows[:, :5].T]
        back = rows[:, 5][~np.isnan(rows[:, 5])]
        came = f"{np.median(back):,.0f} ({len(back)} of {len(rows)})" if len(back) else "-"
        print(f"| {variant} | {' | '.join(shown)} | {came} |", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
