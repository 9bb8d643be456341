"""Decisions per second of the embedded engine against the synchronous NumPy reference of the tests, in turns, in one process.

    python benchmarks/embedded.py [--seconds 5] [--rounds 3] [--json]

The yardstick (tests/support/reference.py) is plain NumPy, vectorised over units, as a careful researcher would write it. Each round times one after the other
on the same core; the ratio is the median over rounds of the paired ratios, so a machine that slows down slows both. Kernels are compiled before.
"""

from __future__ import annotations

import os
import statistics
import sys
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import tyro  # noqa: E402  (the threads are set before NumPy is loaded)

import asyncnet  # noqa: E402
from asyncnet.benchmarks import Row, show, whole  # noqa: E402
from asyncnet.scenario.schema import check  # noqa: E402

TESTS = Path(__file__).resolve().parent.parent / "tests"
REINFORCE = {"rule": {"name": "reinforce", "learning_rate": 0.01}}
TASKS = {  # what is timed: scenario, changes; the reference's task and settings
    "Weight Max, multiplexer k=4": ("multiplexer-weight-max", {}, "multiplexer", {}),
    "REINFORCE, multiplexer k=4": ("multiplexer-weight-max", REINFORCE, "multiplexer", {"weight_max": 0}),
    "Weight Max, CartPole with critic": ("cartpole-weight-max", {}, "cartpole", {}),
    "MAP in phases, CartPole with MAP critic": ("cartpole-map", {}, "cartpole", {"map": True}),
    "MAP in phases, multiplexer k=5, 128 streams": ("multiplexer5-map", {}, "multiplexer", {"map": True}),
}


def engine(task: str, seconds: float, loop: str) -> float:
    """Decisions per second of a lock-step scenario, over about so many seconds."""
    name, changes, _, _ = TASKS[task]
    data = asyncnet.load(name).data()
    if changes:
        data["rule"] = changes["rule"]
    data["task"].pop("episodes", None)
    amount = 20
    while True:
        data["task"]["decisions"] = amount
        record = whole(asyncnet.run(check(data, "benchmark"), loop=loop, out=None).record)
        if record.seconds >= 0.5 * seconds:
            return record.score["decisions"] / record.seconds
        amount = int(amount * min(10.0, max(1.5, 0.8 * seconds / max(record.seconds, 1e-3))))


def measure(seconds: float = 2.0, rounds: int = 3) -> list[Row]:
    """A row for each task and loop."""
    if not TESTS.is_dir():
        print("left out: its yardstick, the synchronous reference, is in the tests of a checkout (pip install -e .)", file=sys.stderr, flush=True)
        return []
    sys.path.insert(0, str(TESTS))
    from support import reference, reference_map

    rows = []
    for task, (_, _, theirs, settings) in TASKS.items():
        print(f"timing {task}", file=sys.stderr, flush=True)
        pairs = []
        for loop in ("compiled", "readable"):
            engine(task, 0.2, loop)  # compiles
        for _ in range(rounds):
            peer = reference_map if settings.get("map") else reference
            yardstick = peer.decisions_per_second(theirs, seconds, **{key: value for key, value in settings.items() if key != "map"})
            pairs.append((yardstick, engine(task, seconds, "compiled"), engine(task, seconds, "readable")))
        there = statistics.median(pair[0] for pair in pairs)
        for place, loop in ((1, "compiled loop"), (2, "readable loop")):
            ours = statistics.median(pair[place] for pair in pairs)
            ratio = statistics.median(pair[place] / pair[0] for pair in pairs)
            rows.append(Row(f"{task}, {loop}", ours, "decisions/s", "synchronous NumPy", there, ratio))
    return rows


def main(seconds: float = 5.0, rounds: int = 3, json: bool = False) -> None:
    """Time both, in turns.

    Args:
        seconds: about how long one measurement takes.
        rounds: how many pairs of measurements.
        json: print one JSON object.
    """
    show(measure(seconds, rounds), json)


if __name__ == "__main__":
    tyro.cli(main)
