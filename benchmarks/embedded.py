"""Decisions per second of the embedded engine against the synchronous NumPy reference of the tests, in turns, in one process.

    python benchmarks/embedded.py [--seconds 5] [--rounds 3] [--json]

The yardstick (tests/reference.py) is plain NumPy, vectorised over units, as a careful researcher would write it. Each round times one after the other
on the same core; the ratio is the median over rounds of the paired ratios, so a machine that slows down slows both. Kernels are compiled before.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import reference  # noqa: E402  (the threads are set before NumPy is loaded)
import tyro  # noqa: E402

import asyncnet  # noqa: E402

TASKS = {"multiplexer": ("multiplexer-weight-max", "task.decisions"), "cartpole": ("cartpole-weight-max", "task.episodes")}


def engine(task: str, seconds: float, loop: str) -> float:
    """Decisions per second of a lock-step scenario, over about so many seconds."""
    name, length = TASKS[task]
    amount = 200
    while True:
        scenario = asyncnet.load(name).replace({length: amount})
        result = asyncnet.run(scenario, loop=loop, out=None)
        if result.record.seconds >= 0.5 * seconds:
            return result.record.score["decisions"] / result.record.seconds
        amount = int(amount * min(10.0, max(1.5, 0.8 * seconds / max(result.record.seconds, 1e-3))))


def main(seconds: float = 5.0, rounds: int = 3, json_: bool = False) -> None:
    """Time both, in turns.

    Args:
        seconds: about how long one measurement takes.
        rounds: how many pairs of measurements.
        json_: print one JSON object.
    """
    rows = {}
    for task in TASKS:
        for loop in ("compiled", "readable"):
            engine(task, 0.2, loop)  # compiles
        pairs = []
        for _ in range(rounds):
            yardstick = reference.decisions_per_second(task, seconds)
            pairs.append((yardstick, engine(task, seconds, "compiled"), engine(task, seconds, "readable")))
        rows[task] = {
            "reference": statistics.median(pair[0] for pair in pairs),
            "compiled": statistics.median(pair[1] for pair in pairs),
            "readable": statistics.median(pair[2] for pair in pairs),
            "compiled/reference": statistics.median(pair[1] / pair[0] for pair in pairs),
            "readable/reference": statistics.median(pair[2] / pair[0] for pair in pairs),
        }
    if json_:
        print(json.dumps(rows))
        return
    print(f"{'task':12} {'reference/s':>12} {'compiled/s':>12} {'ratio':>7} {'readable/s':>12} {'ratio':>7}    ({time.strftime('%Y-%m-%d')}, one core)")
    for task, row in rows.items():
        print(
            f"{task:12} {row['reference']:12,.0f} {row['compiled']:12,.0f} {row['compiled/reference']:7.1f} "
            f"{row['readable']:12,.0f} {row['readable/reference']:7.1f}"
        )


if __name__ == "__main__":
    tyro.cli(main)
