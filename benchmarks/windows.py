"""Simulated time shared by Ray actors against one loop in one process: the same scenario, the same digest, ticks per second.

    python benchmarks/windows.py [--seconds 5] [--rounds 1] [--json]

team         the 4-bit multiplexer, three hidden layers of 64, 256, 512 or 2,048 units, so that the two that cost anything cost the same and two actors could be
             twice as fast; a tick is a millisecond of simulated time, every layer has a phase of its own, credit is stamped
near         links take half a tick, a decision every 8: windows are short, and while one layer works the others mostly wait for what it will say
far          links take 4 ticks: larger windows for the same work
every tick   links take 4 ticks and there is a decision at each: every layer has work in every window (answers are some twenty decisions late, and judged
             against the question they were meant for)
pack         nodes an actor: 1 (five actors, the world's included), 2 (three), all (two: the world, and the team)

Ticks are counted over the time from the first event of the world's loop to its last; start-up, weights and digests are not in it.
Runs on Ray stand between two embedded ones, whose mean is the yardstick. A ratio of 2 would be two cores used well. Windows are the exchanges of all
with all.
"""

from __future__ import annotations

import os
import statistics

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import tyro  # noqa: E402  (the threads are set before NumPy is loaded)

from asyncnet.actors.session import session  # noqa: E402
from asyncnet.actors.team import Team  # noqa: E402
from asyncnet.api import Quiet  # noqa: E402
from asyncnet.benchmarks import Row, faster, show, whole  # noqa: E402
from asyncnet.loop.compiled.compiled_loop import CompiledLoop  # noqa: E402
from asyncnet.runs import embedded  # noqa: E402
from asyncnet.runs.record import Record  # noqa: E402
from asyncnet.scenario.schema import Scenario, check  # noqa: E402

LOADS = {"near": (0.5, 8), "far": (4.0, 8), "every tick": (4.0, 1)}  # ticks that links take, ticks between decisions
UNITS = {64: (2500, 8000, 8000), 256: (600, 1200, 2500), 512: (200, 350, 600), 2048: (20, 20, 50)}  # decisions for a second, under each load
PACKS = {"1": 1, "2": 2, "all": 1000}
ARCHIVE = 64  # samples, of inputs and units only: memory is three numbers a weight


def team(units: int, load: str, decisions: int) -> Scenario:
    """A team of four layers, the last a single unit."""
    delay, interval = LOADS[load]
    data = {
        "name": "shared",
        "seed": 1,
        "tick": 1000,
        "task": {"name": "multiplexer", "k": 4, "decisions": decisions, "world": {"waits": False, "interval": interval, "late": "grade-by-stamp"}},
        "network": {"hidden": [units] * 3, "output": "bernoulli"},
        "rule": {"name": "weight-max", "credit": "stamped", "learning_rate": 0.001, "archive": ARCHIVE},
        "clocks": {"default": {"kind": "periodic"}},
        "links": {"default": {"delay": delay}},
    }
    return check(data, "benchmark")


def rate(record: Record) -> float:
    """Ticks per second."""
    return sum(node["ticks"] for node in record.nodes.values()) / record.seconds


def alone(scenario: Scenario) -> Record:
    return whole(embedded.run(scenario, Quiet()))


def shared(scenario: Scenario, pack: int) -> tuple[Record, float]:
    """The run on Ray, and its windows per second."""
    import ray

    running = Team(scenario, Quiet(), private=True, time="virtual", pack=pack)
    try:
        record = whole(running.run())
        windows = ray.get(running.hosts["0"].status.remote())["window"]
    finally:
        running.end()
    return record, windows / record.seconds


def compare(scenario: Scenario, pack: int, rounds: int) -> tuple[float, float, float, float]:
    """Medians of so many rounds: ticks per second on Ray and in one process, their ratio, windows per second."""
    out, before = [], alone(scenario)
    for _ in range(rounds):
        record, windows = shared(scenario, pack)
        after = alone(scenario)
        if not record.digest == before.digest == after.digest:
            raise RuntimeError(f"{scenario.network.hidden}, pack {pack}: Ray ended in other bits")
        yardstick = (rate(before) + rate(after)) / 2
        out.append((rate(record), yardstick, rate(record) / yardstick, windows))
        before = after
    return tuple(statistics.median(column) for column in zip(*out, strict=True))


def measure(seconds: float = 2.0, rounds: int = 1) -> list[Row]:
    """Every size under every load with every pack."""
    rows = []
    with session():
        for units, counts in UNITS.items():
            for load, count in zip(LOADS, counts, strict=True):
                scenario = team(units, load, 20 + int(count * seconds))
                CompiledLoop(scenario, None).prepare(wired=True)  # compiles
                for name, pack in PACKS.items():
                    ours, theirs, ratio, windows = compare(scenario, pack, rounds)
                    what = f"{units:,} units, {load}, pack {name}"
                    rows.append(faster(what, ours, "ticks/s", "embedded", theirs)._replace(ratio=ratio))
                    if units == min(UNITS):
                        rows.append(Row(what, windows, "windows/s"))
    return rows


def main(seconds: float = 5.0, rounds: int = 1, json: bool = False) -> None:
    """Measure shared simulated time.

    Args:
        seconds: about how long a run on Ray takes.
        rounds: runs on Ray of each kind.
        json: print one JSON object.
    """
    show(measure(seconds, rounds), json)


if __name__ == "__main__":
    tyro.cli(main)
