"""Both loops write down the same: what each node heard, in order, and what was lost on leaving."""

import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings

from asyncnet.kernels.plain import as_python
from asyncnet.loop.compiled.agenda import of_who, who
from asyncnet.loop.message import CHANNEL_NAMES, TICK
from asyncnet.loop.timekeeper import Virtual, Wall
from asyncnet.scenario.schema import ScenarioError, check
from support.teams import FREE, LOOPS, multiplexer
from support.thinkable import scenarios

TAPED = {
    "lock-step": {"task.decisions": 100},
    "free clocks, losses": FREE | {"task.decisions": 100},
    "stale links": FREE | {"task.decisions": 100, "links": {"default": {"stale": 2, "delay": 0.3}, "reward": {"stale": 4, "loss": 0.2, "reliable": False}}},
    "units, overtaking": FREE | {"task.decisions": 60, "network.split": "unit", "links": {"default": {"delay": {"kind": "exponential", "mean": 1.5}}}},
    "no time between": FREE | {"task.decisions": 100, "clocks": {"default": {"kind": "periodic", "phase": 0.0}}, "links": {"activity": {"loss": 0.1}}},
}


def taped(kind, scenario):
    """A finished run, what each node heard, and what it lost on sending."""
    taken = []
    made = kind(scenario, Virtual(), tape=taken.append)
    made.run()
    assert made.stopped == "finished"
    rows = np.concatenate(taken)
    _, dst, src = as_python(of_who)(rows[:, 1])
    lost = rows[:, 2] < 0
    return made, *({i: rows[which & (end == i)].tolist() for i in made.nodes} for which, end in ((~lost, dst), (lost, src)))


@pytest.mark.parametrize("name", TAPED)
def test_both_loops_write_down_the_same_for_every_node(name):
    scenario = multiplexer("weight-max", TAPED[name])
    (readable, *one), (_, *other) = (taped(kind, scenario) for kind in LOOPS.values())
    assert one == other
    heard, gone = one
    assert all(len(rows) > 50 for rows in heard.values())
    assert any(gone.values()) == ("loss" in str(TAPED[name]))
    rows = [(now, as_python(who)(kind, dst, src), seq) for i in heard for now, code, seq in heard[i] for kind, dst, src in [as_python(of_who)(code)]]
    assert sum(len(rows) for rows in gone.values()) == readable.books.lost.sum()
    kinds = [as_python(of_who)(code)[0] for _, code, _ in rows]
    assert kinds.count(TICK) == readable.ticks.sum()
    assert sum(kind in CHANNEL_NAMES for kind in kinds) == readable.books.came.sum()


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(scenarios(decisions=40))
def test_both_loops_write_down_the_same_whatever_hypothesis_thinks_of(data):
    try:
        scenario = check(data, "test")
    except ScenarioError:
        reject()
    (readable, *one), (_, *other) = (taped(kind, scenario) for kind in LOOPS.values())
    assert sum(len(rows) for rows in one[0].values()) > readable.score.decisions == 40
    assert one == other


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_on_real_clocks_hands_its_tape_over_before_it_sleeps(loop):
    taken = []
    made = LOOPS[loop](multiplexer("weight-max", FREE | {"task.decisions": 10}), Wall(time.monotonic_ns()), tape=taken.append)
    made.prepare()
    made.keeper.start = time.monotonic_ns()
    made.run()
    assert made.stopped == "finished"
    assert sum(map(len, taken)) < 1000, "it is never full"
    assert len(taken) > 20
