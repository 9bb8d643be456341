"""Many unit agents in one process: ticks and events per second, time per event as the team grows, memory for each agent.

    python benchmarks/units.py [--seconds 2] [--largest 100000] [--json]

ticks       a team of 117 unit agents (20-64-32-1), every unit on a clock of its own, against SimPy doing empty events (its processes only wait)
events      teams of 100, 1,000 and 10,000 units of eight inputs each; an event is a tick or a message delivered; time of a longer run beyond a shorter one's
largest     a team of so many units that hear 8 others each learns the 6-bit multiplexer: seconds to build it, an event's time, memory of the whole process
memory      what is allocated to hold and run 3,000 units, for each, without 8 bytes for a weight and each of its two moments
"""

from __future__ import annotations

import gc
import os
import time
import tracemalloc

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import psutil  # noqa: E402
import tyro  # noqa: E402  (the threads are set before NumPy is loaded)

import asyncnet  # noqa: E402
from asyncnet.benchmarks import Row, faster, show  # noqa: E402
from asyncnet.loop.compiled.compiled_loop import CompiledLoop  # noqa: E402
from asyncnet.loop.timekeeper import Virtual  # noqa: E402
from asyncnet.scenario.schema import check  # noqa: E402

FREE = {"default": {"kind": "periodic", "jitter": 0.1}}
REACH = 8


def team(units: int, decisions: int, k: int = 3) -> asyncnet.Scenario:
    """Two hidden layers of units that hear eight others each, and one output unit."""
    half = (units - 1) // 2
    data = {
        "name": "many",
        "seed": 1,
        "tick": 1000,
        "task": {"name": "multiplexer", "k": k, "decisions": decisions, "world": {"waits": False, "interval": 12}},
        "network": {"hidden": [half, units - 1 - half], "output": "bernoulli", "split": "unit", "reach": REACH},
        "rule": {"name": "weight-max", "learning_rate": 0.01, "archive": 4},
        "clocks": FREE,
        "links": {"default": {"delay": 0.5}},
    }
    return check(data, "benchmark")


def published(decisions: int) -> asyncnet.Scenario:
    """The published multiplexer network, cut into 117 units on free clocks."""
    changes = {"network.split": "unit", "task.decisions": decisions, "task.world": {"waits": False, "interval": 16.0}, "tick": 1000}
    return asyncnet.load("multiplexer-weight-max").replace({**changes, "clocks": FREE, "links": {"default": [{"delay": 0.5}]}})


def timed(scenario: asyncnet.Scenario) -> tuple[CompiledLoop, float]:
    loop = CompiledLoop(scenario, Virtual())
    loop.prepare()
    began = time.perf_counter()
    loop.run()
    return loop, time.perf_counter() - began


def events(loop: CompiledLoop) -> int:
    """Ticks and messages delivered."""
    return int(loop.books.came.sum()) + int(loop.ticks.sum())


def empty_events(seconds: float, processes: int = 117) -> float:
    """SimPy's events per second: so many processes, each of which waits for the next tick of its own and does nothing."""
    import simpy

    env = simpy.Environment()

    def ticking(phase: float):
        yield env.timeout(phase)
        while True:
            yield env.timeout(1.0)

    for i in range(processes):
        env.process(ticking(i / processes))
    began, until = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        until += 100
        env.run(until=until)
    return processes * until / (time.perf_counter() - began)


def memory(units: int = 3_000) -> float:
    """Bytes for each agent beyond its weights: everything that Python and NumPy hold for a team while it runs, at its tenth decision."""
    gc.collect()
    tracemalloc.start()
    held = []
    loop = CompiledLoop(team(units, 10), Virtual())
    loop.run(lambda _: held.append(tracemalloc.get_traced_memory()[0]))
    tracemalloc.stop()
    weights = 3 * 8 * sum(node.view.weight.size + node.view.bias.size for i, node in loop.nodes.items() if i)
    return (held[-1] - weights) / units


def large(units: int, decisions: int = 10) -> list[Row]:
    """The figures of one large team."""
    began = time.perf_counter()
    loop = CompiledLoop(team(units, decisions, k=6), Virtual())
    loop.prepare()
    built = time.perf_counter() - began
    before = [node.view.weight.copy() for node in loop.nodes.values() if node.index]
    began = time.perf_counter()
    loop.run()
    took = time.perf_counter() - began
    moved = sum((node.view.weight != old).any() for node, old in zip((node for node in loop.nodes.values() if node.index), before, strict=True))
    whole = f"{units:,} unit agents"
    return [
        Row(f"{whole}: built", built, "s"),
        Row(whole, took / events(loop) * 1e9, "ns/event"),
        Row(f"{whole}: that have learned in {decisions} decisions", int(moved), "units"),
        Row(f"{whole}: the whole process", psutil.Process().memory_info().rss / 1e6, "MB"),
    ]


def measure(seconds: float = 2.0) -> list[Row]:
    """The three figures."""
    timed(team(21, 10))  # compiles
    timed(published(10))
    loop, took = timed(published(int(600 * seconds)))
    rate = int(loop.ticks.sum()) / took
    try:
        rows = [faster("117 unit agents", rate, "ticks/s", "SimPy, empty events/s", empty_events(seconds))]
    except ModuleNotFoundError:
        rows = [Row("117 unit agents (pip install simpy for the yardstick)", rate, "ticks/s")]
    first = None
    for units in (100, 1_000, 10_000):
        (short, began), (long, took) = (timed(team(units, max(least, int(share * seconds / units)))) for least, share in ((10, 20_000), (60, 120_000)))
        each = (took - began) / (events(long) - events(short)) * 1e9
        first = first or each
        rows.append(Row(f"{units:,} unit agents", each, "ns/event", "100 agents", first, first / each))
    rows.append(Row("memory of a unit agent beyond its weights", memory(), "bytes"))
    return rows


def main(seconds: float = 2.0, largest: int = 0, json: bool = False) -> None:
    """Measure many units.

    Args:
        seconds: about how long each measurement takes.
        largest: also measure a team of so many units (100000 take a minute to build).
        json: print one JSON object.
    """
    show([*measure(seconds), *(large(largest) if largest else ())], json)


if __name__ == "__main__":
    tyro.cli(main)
