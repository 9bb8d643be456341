"""The embedded engine: one process, one loop, simulated time (or, to look at a team in slow motion, real time)."""

from __future__ import annotations

import importlib
import time as clock_time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from asyncnet import interrupts
from asyncnet.kernels.kernel import tell
from asyncnet.kernels.plain import PLAIN, SLOWLY
from asyncnet.loop import ledger
from asyncnet.loop.loop import Loop
from asyncnet.record.recorder import Recorder, digest_of
from asyncnet.runs import snapshot
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.runs.record import Keeper, Record, Reporter
from asyncnet.runs.traffic_log import noted
from asyncnet.scenario.schema import Scenario, ScenarioError
from asyncnet.team.draw import plan

if TYPE_CHECKING:
    from asyncnet.runs.live import Watch

LOOPS = {"compiled": "asyncnet.loop.compiled.compiled_loop:CompiledLoop", "readable": "asyncnet.loop.loop:Loop"}


def loop_of(loop: str | None) -> str:
    """The loop that runs unless another is asked for: the compiled one, or in plain Python the one to read."""
    return loop or ("readable" if PLAIN else "compiled")


def check(scenario: Scenario, *, time: str = "virtual", loop: str | None = None) -> None:
    """Refuse, with a ScenarioError, what cannot be run."""
    if time not in ("virtual", "wall"):
        raise ScenarioError("--time", "", f"virtual or wall, got {time!r}")
    if loop_of(loop) not in LOOPS:
        raise ScenarioError("--loop", "", f"no loop {loop!r}; there are {', '.join(LOOPS)}")
    plan(scenario)


def run(
    scenario: Scenario,
    reporter: Reporter,
    *,
    time: str = "virtual",
    loop: str | None = None,
    kept: Keeper | None = None,
    begin: Checkpoint | None = None,
    watch: Watch | None = None,
) -> Record:
    """Run a scenario to its end or to KeyboardInterrupt; time is "virtual" or "wall", loop "compiled" or "readable".

    `kept` takes checkpoints now and then and, in wall time, the recording; `begin` is the state to go on from; `watch` looks into the run (live.py).
    """
    from asyncnet.loop.timekeeper import Virtual, Wall

    loop = loop_of(loop)
    if PLAIN:
        tell(f"{SLOWLY}; the compiled loop, asked for, too" if loop == "compiled" else SLOWLY)
    elif loop == "compiled":
        from asyncnet.loop.compiled.ahead import compile_ahead

        compile_ahead(scenario)
    module, _, name = LOOPS[loop].partition(":")
    made = getattr(importlib.import_module(module), name)(scenario, Virtual() if time == "virtual" else None)
    if begin is not None:
        snapshot.put(made, begin)
    if watch is not None:
        from asyncnet.runs.live import Live

        live = Live(made)
        made.score.watch(made.nodes[0].view, watch.every)
    recorder = None
    if time == "wall" and kept is not None and kept.recording:
        recorder = Recorder("0", lambda segment: kept.segment("0", segment))
        recorder.watch(made)
    made.prepare()
    rows = len(made.score.rows)
    began = saved = clock_time.perf_counter()
    if time == "wall":
        made.keeper = Wall(clock_time.monotonic_ns() - 1000 * made.now)

    def save() -> None:
        kept.checkpoint(snapshot.take(made))

    def progress(running: Loop) -> None:
        nonlocal saved, rows
        try:
            if len(running.score.rows) > rows:
                rows = len(running.score.rows)
                reporter.row(running.score.rows[-1])
            if watch is not None and running.score.called:
                watch.call(live)
                if running.stopped == "interrupted":
                    interrupted()
        except KeyboardInterrupt:
            interrupted()
        if kept is not None and kept.every and clock_time.perf_counter() - saved > kept.every:
            saved = clock_time.perf_counter()
            made.ask(save)

    def interrupted() -> None:
        if kept is not None and kept.every:
            made.ask(save)
        made.stop("interrupted")

    try:
        with interrupts.instead(interrupted), nullcontext() if kept is None else noted(made, kept.traffic):
            made.run(progress)
            if recorder is not None:
                recorder.finish()
            if made.stopped == "finished" and kept is not None and kept.every:
                save()  # it may be given another length
    except KeyboardInterrupt:  # a second one, which may have come in the middle of an event: nothing more is kept of it
        made.stop("interrupted")
    seconds = clock_time.perf_counter() - began
    made.nodes[0].close()
    table = ledger.account(made)
    return Record(
        stopped=made.stopped or "interrupted",
        score=made.score.summary(),
        returns=made.score.returns,
        lengths=made.score.lengths,
        ends=made.score.ends,
        rewards=made.score.rewards.binned(),
        digest=made.digest(),
        seconds=seconds,
        weights={node.name: node.learned() for i, node in made.nodes.items() if i},
        nodes={node.name: {"ticks": int(made.ticks[i]), **made.missed(i), **node.counts()} for i, node in made.nodes.items() if i},
        links=ledger.by_channel(made.plan, table),
        ledger=table,
        struck=made.struck.tolist(),
        fields={node.name: digest_of(node).hex() for node in made.nodes.values()},
        measured={},
        elapsed=made.now,
    )
