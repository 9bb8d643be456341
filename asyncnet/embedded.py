"""The embedded engine: one process, one loop, simulated time (or, to look at a team in slow motion, real time)."""

from __future__ import annotations

import importlib
import time as clock_time
from typing import Any

import numpy as np

from asyncnet.record import Record, Reporter
from asyncnet.scenario import Scenario

LOOPS = {"compiled": "asyncnet.compiled_loop:CompiledLoop", "readable": "asyncnet.loop:Loop"}


def run(scenario: Scenario, reporter: Reporter, *, time: str = "virtual", loop: str = "compiled") -> Record:
    """Run a scenario to its end or to KeyboardInterrupt; time is "virtual" or "wall", loop "compiled" or "readable"."""
    from asyncnet.kernel import cache_folder
    from asyncnet.timekeeper import Virtual, Wall

    if not any(cache_folder().rglob("*.nbi")):
        reporter.note("compiling kernels (this machine's first run only, about a minute)")
    module, _, name = LOOPS[loop].partition(":")
    made = getattr(importlib.import_module(module), name)(scenario, Virtual() if time == "virtual" else None)
    made.prepare()
    began = clock_time.perf_counter()
    if time == "wall":
        made.keeper = Wall(clock_time.monotonic_ns())
    try:
        made.run(lambda running: reporter.row(running.score.rows[-1]))
    except KeyboardInterrupt:
        made.stop("interrupted")
    seconds = clock_time.perf_counter() - began
    made.nodes[0].close()
    return Record(
        stopped=made.stopped or "interrupted",
        score=made.score.summary(),
        returns=made.score.returns,
        digest=made.digest(),
        seconds=seconds,
        weights={node.name: weights(node) for i, node in made.nodes.items() if i},
        nodes={node.name: {"ticks": made.ticks[i], **node.counts()} for i, node in made.nodes.items() if i},
        links=made.ledger(),
        measured={},
    )


def weights(node: Any) -> dict[str, np.ndarray]:
    """Copies of a node's learned arrays, by name."""
    return {name: getattr(node.view, name).copy() for name in ("weight", "bias") if hasattr(node.view, name)}
