"""Checkpoints with some of their numbers changed and their checksums made right again, and how it goes on from them: resealed.py SEED CASES SECONDS

Run as a process of its own, because what it looks for is what would end it.
"""

import faulthandler
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np

from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.loop import Loop
from asyncnet.loop.timekeeper import Virtual, Wall
from asyncnet.runs import checkpoint, snapshot
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.scenario.reading import shipped
from asyncnet.scenario.schema import ScenarioError, read
from support.teams import FREE, multiplexer

HANGS = 60.0
NASTY = (np.nan, np.inf, -np.inf, -1.0, 0.0, 1.0, 2.0, 7.0, 0.5, -2.0, 64.0, 1e3, -1e3, 2.0**31, 2.0**53, -(2.0**53), 1e300, -1e300, 2.0**62, -(2.0**62))
STALE = {"links": {"default": {"delay": 1.3}, "reward": {"stale": 3}, "activity": [{"loss": 0.1}]}}


def scenarios():
    """One of each kind, and the microsecond at which it is cut."""
    yield multiplexer("weight-max", FREE | STALE | {"task.decisions": 3000, "task.world.late": "grade-by-stamp"}), 300_000
    yield multiplexer("weight-max", {"network.split": "unit", "task.decisions": 3000, "task.streams": 2, "rule.lambda": 0.5} | STALE), 300_000
    yield multiplexer("map-propagation", {"rule.rounds": 3, "task.decisions": 3000, "task.world.interval": 8.0}), 300_000
    yield multiplexer("map-propagation-async", {"rule.credit": "motion", "task.decisions": 3000}), 300_000
    yield read(shipped()["cartpole-weight-max-traces"]).replace({"task.episodes": 500}), 300
    yield read(shipped()["cartpole-map"]).replace({"task.episodes": 500}), 300
    yield read(shipped()["regression-map-async"]).replace({"task.decisions": 3000}), 300_000
    yield read(shipped()["acrobot-weight-max"]).replace({"task.episodes": 50}), 300


def states():
    """(scenario, state) of each kind."""
    made = []
    for scenario, cut in scenarios():
        loop = CompiledLoop(scenario, Virtual())
        loop.run(until=cut)
        assert loop.paused, scenario.name
        made.append((scenario, snapshot.take(loop)))
        loop.nodes[0].close()
    return made


def changed(chance, state, places):
    """The state with something else in it, and what; `places` are the fields of each node."""
    about, arrays = json.loads(json.dumps(state.about)), {name: array.copy() for name, array in state.arrays.items()}
    name = chance.choice(list(arrays))
    array, how = arrays[name], chance.integers(12)
    if how == 0:
        arrays[name] = [array[:1], array[:-1], array.ravel()[None], array.astype(np.int64 if array.dtype == np.float64 else np.float64)][chance.integers(4)]
    elif how == 1:
        del arrays[name]
    elif how == 2:
        about["now"] = [-1, 0, 2**53, 2**62, 2**70, 1.5, None, "x", True, 10**15][chance.integers(10)]
    elif how == 3:
        about["score"] = [{}, {"rows": [1], "look_at": 1}, {"rows": [], "look_at": -5}, about["score"] | {"look_at": 10**9}, None][chance.integers(5)]
    elif how == 4 and "task" in about:
        about["task"] = [None, {}, {"before": [], "generators": []}, about["task"] | {"before": [{"bit_generator": "MT19937"}]}][chance.integers(4)]
    elif how == 5 and len(array):
        arrays[name] = np.concatenate((array, array[chance.integers(len(array)) :]))
    elif array.size:
        nasty = chance.choice(NASTY, size=chance.integers(1, 4))
        flat = array.reshape(-1)
        where = chance.integers(flat.size, size=nasty.size)
        if name in places and chance.random() < 0.9:  # a small field as often as the weights
            first, last = places[name][chance.integers(len(places[name]))]
            where = chance.integers(first, last, size=nasty.size)
        flat[where] = nasty if array.dtype == np.float64 else np.clip(np.nan_to_num(nasty), -(2.0**62), 2.0**62).astype(np.int64)
    return Checkpoint(about, arrays), f"{name}, {how}"


def go_on(scenario, whole, kind=CompiledLoop, *, real=False, seconds=0.0):
    """How it went, or "refused" and why; `real`: on real clocks."""
    loop = kind(scenario, None if real else Virtual())
    try:
        snapshot.put(loop, whole, at_once=not real)
    except ScenarioError as error:
        loop.nodes[0].close()
        return "refused", str(error)
    if real:
        loop.keeper = Wall(time.monotonic_ns() - 1000 * loop.now)
    timer = threading.Timer(seconds, loop.stop, ["long enough"])
    timer.start()
    try:
        loop.run()
    finally:
        timer.cancel()
        loop.nodes[0].close()
    return loop.stopped.split(":")[0], ""


def main(seed, cases, seconds):
    made = states()
    nodes = [Loop(scenario, Virtual()).nodes.values() for scenario, _ in made]
    places = [{f"node/{node.name}": [p[:2] for p in node.places.values() if p[1] > p[0]] for node in each} for each in nodes]
    counts, chance = Counter(), np.random.default_rng(seed)
    assert {go_on(*each)[0] for each in made} <= {"long enough", "finished"}  # as they are
    with tempfile.TemporaryDirectory() as folder:
        for case in range(cases):
            which = case % len(made)
            scenario, state = made[which]
            other, what = changed(chance, state, places[which])
            print(case, scenario.name, what, file=sys.stderr, flush=True)
            try:
                checkpoint.save(Path(folder) / str(case), 1, other)
            except ValueError:  # what no checkpoint can hold
                continue
            faulthandler.dump_traceback_later(HANGS, exit=True)
            whole, _ = checkpoint.load(Path(folder) / str(case))
            ended, why = go_on(scenario, whole, Loop if case % 5 == 4 else CompiledLoop, real=case % 3 == 0, seconds=seconds)
            assert "\n" not in why
            assert not why or str(folder) in why or "task.id: " in why, why
            counts[ended] += 1
            faulthandler.cancel_dump_traceback_later()
    print(json.dumps(counts))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
