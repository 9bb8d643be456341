"""Clocks tick at the rate they declare, always onwards, and only when they should."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from asyncnet.loop import clock
from asyncnet.loop.loop import Loop
from asyncnet.loop.timekeeper import Virtual
from asyncnet.scenario.schema import check
from asyncnet.team.build import clock_of
from support.small import GONE, small

PERIOD = 1000.0  # microseconds


def row(kind: str, period: float = PERIOD, *, jitter: float = 0.0, drift: float = 0.0, phase: float = 0.0, slow: float = 1.0, within=(0.0, 1e9)) -> np.ndarray:
    return clock.row(kind, period, jitter, drift, phase, slow, *within)


def ticks(clock_row: np.ndarray, n: int, who: int = 7, seed: int = 1) -> np.ndarray:
    """The times of the first n ticks."""
    out = [int(clock.first_tick(clock_row, seed, who))]
    for k in range(1, n):
        out.append(int(clock.next_tick(clock_row, seed, who, k, out[-1])))
    return np.array(out)


@given(
    kind=st.sampled_from(["periodic", "poisson", "straggler"]),
    period=st.floats(1e-3, 1e14),
    jitter=st.floats(0.0, 1.0),
    drift=st.floats(0.0, 0.999),
    slow=st.floats(1.0, 1e3),
    who=st.integers(0, 2**32 - 1),
    k=st.integers(1, 2**40),
    now=st.integers(0, 2**60),
)
def test_a_tick_always_comes_after_the_one_before(kind, period, jitter, drift, slow, who, k, now):
    made = row(kind, period, jitter=jitter, drift=drift, slow=slow, within=(0.0, 2.0**62))
    after = int(clock.next_tick(made, 1, who, k, now))
    assert 0 < after - now < 100 * period * slow + 2  # the difference first: a double does not hold every time near 2^60
    assert after == int(clock.next_tick(made, 1, who, k, now))


DECLARED = {  # clock, standard deviation of a step in periods
    "periodic": (row("periodic"), 0.0),
    "jitter-0.2": (row("periodic", jitter=0.2), 0.2 / math.sqrt(3)),
    "jitter-1": (row("periodic", jitter=1.0), 1.0 / math.sqrt(3)),
    "poisson": (row("poisson"), 1.0),
    "straggler-outside": (row("straggler", jitter=0.5, slow=5.0, within=(0.0, 0.0)), 0.5 / math.sqrt(3)),
    "fast": (row("periodic", 20.0, jitter=0.5), 0.5 / math.sqrt(3)),
}


@pytest.mark.parametrize(("made", "spread"), DECLARED.values(), ids=DECLARED)
def test_the_mean_rate_is_the_declared_one(made, spread):
    n = 20_000
    steps = np.diff(ticks(made, n + 1))
    period = clock.mean_period(made)
    rounding = 1.0 / math.sqrt(12)
    assert abs(steps.mean() - period) <= 2.576 * math.hypot(spread * period, rounding if spread else 0.0) / math.sqrt(n)
    assert abs(steps.std() - spread * period) <= 0.03 * spread * period


def test_the_steps_of_a_poisson_clock_have_no_memory():
    steps = np.diff(ticks(row("poisson"), 20_001))
    for edge in (0.5, 1.0, 3.0):
        p = math.exp(-edge)
        assert abs((steps > edge * PERIOD).mean() - p) < 2.576 * math.sqrt(p * (1 - p) / len(steps)) + 1e-3
    assert abs(np.corrcoef(steps[:-1], steps[1:])[0, 1]) < 2.576 / math.sqrt(len(steps))


def test_jitter_keeps_each_step_within_its_share_of_the_period():
    steps = np.diff(ticks(row("periodic", jitter=0.2), 5000))
    assert 0.8 * PERIOD <= steps.min() < 0.81 * PERIOD
    assert 1.19 * PERIOD < steps.max() <= 1.2 * PERIOD


def test_a_straggler_is_slow_in_its_interval_and_nowhere_else():
    at = ticks(row("straggler", slow=5.0, within=(10_000.0, 30_000.0)), 40)
    steps = np.diff(at)
    inside = (at[:-1] >= 10_000) & (at[:-1] < 30_000)
    assert inside.sum() == 4  # 20 periods, 5 times slower
    assert np.all(steps[inside] == 5 * PERIOD)
    assert np.all(steps[~inside] == PERIOD)


def test_the_first_tick_comes_after_the_phase():
    assert [ticks(row("periodic", phase=phase), 1)[0] for phase in (0.0, 0.25, 1.0)] == [0, 250, 1000]


def test_a_drawn_phase_is_spread_over_the_period_and_belongs_to_the_node():
    firsts = np.array([ticks(row("periodic", phase=-1.0), 1, who)[0] for who in range(2000)])
    assert np.array_equal(firsts, [ticks(row("periodic", phase=-1.0), 1, who)[0] for who in range(2000)])
    assert 0 <= firsts.min() < 10
    assert 990 < firsts.max() <= 1000
    assert abs(firsts.mean() - 500) < 2.576 * 1000 / math.sqrt(12 * 2000)


def test_drift_is_drawn_once_for_a_node():
    paces = []
    for who in range(2000):
        steps = np.diff(ticks(row("periodic", drift=0.2, phase=0.0), 5, who))
        assert len(set(steps)) == 1
        paces.append(steps[0])
    assert 0.8 * PERIOD <= min(paces) < 0.81 * PERIOD
    assert 1.19 * PERIOD < max(paces) <= 1.2 * PERIOD
    assert abs(np.mean(paces) - PERIOD) < 2.576 * 0.2 * PERIOD / math.sqrt(3 * 2000)


def test_another_seed_is_another_clock():
    assert not np.array_equal(ticks(row("periodic", jitter=0.2), 50, seed=1), ticks(row("periodic", jitter=0.2), 50, seed=2))


def test_an_on_arrival_clock_never_ticks():
    assert clock.first_tick(row("on-arrival"), 1, 7) == clock.NEVER
    assert clock.mean_period(row("on-arrival")) == math.inf


def run(**changes: object) -> Loop:
    loop = Loop(check(small(**changes), "small"), Virtual())
    loop.run()
    assert loop.stopped == "finished"
    return loop


def by_name(loop: Loop, numbers: np.ndarray) -> dict[str, int]:
    return {loop.plan.nodes[i].name: value for i, value in enumerate(numbers.tolist()) if i}


def test_in_a_run_each_node_ticks_as_often_as_its_own_clock_says():
    loop = run(
        clocks={
            "default": {"kind": "periodic", "period": 1.0, "phase": 0.0},
            "actor.1": {"kind": "periodic", "period": 5.0, "phase": 0.0},
            "actor.3": {"kind": "straggler", "period": 1.0, "phase": 0.0, "slow": 4.0, "start": 20.0, "stop": 60.0},
        }
    )
    assert loop.now == 30 * 6 * 1000
    last = 180  # the world closes its last decision at tick 180, before the nodes of that instant have ticked
    assert by_name(loop, loop.ticks) == {"actor.1": last // 5, "actor.2": last, "actor.3": last - 40 + 10}


def test_in_a_run_a_node_on_arrival_acts_without_a_tick():
    loop = run(clocks={"default": {"kind": "on-arrival", "period": GONE}, "actor.2": {"kind": "poisson", "period": 0.5}})
    counted = by_name(loop, loop.ticks)
    assert counted["actor.1"] == counted["actor.3"] == 0 < counted["actor.2"]
    assert all(node.counts()["sampled"] > 0 for i, node in loop.nodes.items() if i)


def test_a_clock_named_for_a_node_beats_that_of_its_layer_and_that_the_default():
    periods = {"default": 1.0, "actor.1": 2.0, "actor.1.1": 3.0}
    scenario = check(small(network={"split": "unit"}, clocks={name: {"kind": "periodic", "period": period} for name, period in periods.items()}), "small")
    loop = Loop(scenario, Virtual())
    found = {node.name: float(clock_of(scenario, node)[1]) / scenario.tick for node in loop.plan.nodes[1:]}
    assert found == {"actor.1.0": 2.0, "actor.1.1": 3.0, "actor.1.2": 2.0, "actor.2.0": 1.0, "actor.2.1": 1.0, "actor.3": 1.0}
