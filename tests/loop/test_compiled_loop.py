"""The compiled loop is held to the readable one: same events, same order, same bits. Everything either holds is compared, not a summary of it."""

import os
import re
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings

from asyncnet.loop import underway
from asyncnet.loop.compiled import compiled_loop
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.ledger import IN_FLIGHT, account, by_channel, unexplained
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import REWARD, TICK, TURN
from asyncnet.loop.timekeeper import Virtual
from asyncnet.nodes import node as nodes
from asyncnet.scenario.reading import overlay
from asyncnet.scenario.schema import ScenarioError, check
from support.teams import brief, learners, runnable
from support.thinkable import scenarios

MULTIPLEXER = {
    "name": "small",
    "seed": 5,
    "tick": 1000,
    "task": {"name": "multiplexer", "k": 2, "decisions": 400, "world": {"waits": True, "interval": 1.0}},
    "network": {"hidden": [6, 3], "output": "bernoulli"},
    "rule": {"name": "weight-max", "learning_rate": [0.03, 0.01, 0.003]},
}
RATES = {"learning_rate": [0.02, 0.002, 0.001]}
CARTPOLE = {
    "name": "small",
    "seed": 2,
    "tick": 1000,
    "task": {"name": "gymnasium", "id": "CartPole-v1", "episodes": 12, "gamma": 0.98, "world": {"waits": True, "interval": 1.0}},
    "network": {"hidden": [8, 4]},
    "rule": {"name": "weight-max", **RATES},
    "critic": {"hidden": [8, 4], "lambda": 0.8, **RATES},
}
AT_ONCE = {"clocks": {"default": {"kind": "periodic", "phase": 0.0, "jitter": 0.0}}, "links": {"activity": []}}  # all tick, and hear, in one instant
FREE = {"task": {"world": {"waits": False, "interval": 8.0}}, "clocks": {"default": {"kind": "periodic", "jitter": 0.2}}, "links": {"activity": {"delay": 0.5}}}
REINFORCE = {"rule": {"name": "reinforce"}}
PHASES = {"network": {"units": "softplus", "output": "softmax"}, "rule": {"name": "map-propagation", "rounds": 4}}
SETTLING = {"network": {"units": "softplus", "output": "softmax"}, "rule": {"name": "map-propagation-async"}}
VALUES = {"hidden": [5, 3], "rounds": 3, "lambda": 0.8, "variance": 0.1, **RATES}


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_beside_the_outbox():
    """In the loop to read every call finds NaN there: what a node keeps in scratch fields is worth nothing between two calls, or the loops would differ."""
    kept = nodes._outbox

    def spoilt(rows, numbers):
        out, box = kept(rows, numbers)
        box[:] = np.nan
        return out, box

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nodes, "_outbox", spoilt)
        yield


def clocks(**by_name):
    return {"clocks": by_name}


def links(**by_channel):
    return {"links": by_channel}


def laid(base, *changes):
    for change in changes:
        base = overlay(base, change)
    return check(base, "test")


SCENARIOS = {
    "multiplexer in lock-step": laid(MULTIPLEXER),
    "cartpole in lock-step": laid(CARTPOLE),
    "multiplexer on free clocks": laid(MULTIPLEXER, FREE),
    "cartpole on free clocks": laid(CARTPOLE, FREE),
    "no jitter, one phase": laid(MULTIPLEXER, FREE, clocks(default={"kind": "periodic", "phase": 0.0})),
    "drift": laid(MULTIPLEXER, FREE, clocks(default={"kind": "periodic", "drift": 0.3})),
    "poisson": laid(MULTIPLEXER, FREE, clocks(default={"kind": "poisson"})),
    "straggler": laid(MULTIPLEXER, FREE, clocks(**{"actor.2": {"kind": "straggler", "slow": 9.0, "start": 100.0, "stop": 900.0}})),
    "a clock for each": laid(CARTPOLE, FREE, clocks(**{"actor.1": {"kind": "periodic", "period": 3.0}, "critic": {"kind": "on-arrival"}})),
    "waiting for all": laid(MULTIPLEXER, FREE, {"network": {"ready": "all", "split": "unit"}}),
    "constant delay": laid(MULTIPLEXER, FREE, links(default={"delay": 0.7})),
    "uniform delay": laid(CARTPOLE, FREE, links(default={"delay": {"kind": "uniform", "low": 0.1, "high": 3.0}})),
    "exponential delay": laid(MULTIPLEXER, FREE, links(default={"delay": {"kind": "exponential", "mean": 1.5}})),
    "lognormal delay": laid(MULTIPLEXER, FREE, links(default={"delay": {"kind": "lognormal", "mean": 2.0, "sigma": 0.7}})),
    "delays in lock-step": laid(MULTIPLEXER, links(default={"delay": {"kind": "exponential", "mean": 1.5}})),
    "two hardships": laid(MULTIPLEXER, FREE, links(default={"delay": 0.4}, feedback=[{"delay": {"kind": "exponential", "mean": 1.0}}, {"loss": 0.2}])),
    "loss": laid(MULTIPLEXER, FREE, links(activity={"loss": 0.2}, reward={"loss": 0.2, "reliable": False})),
    "loss on reliable links": laid(CARTPOLE, FREE, links(activity={"loss": 0.3, "reliable": True}, transition={"loss": 0.3}, reward={"loss": 0.3})),
    "loss of activity in lock-step": laid(MULTIPLEXER, {"task": {"world": {"timeout": 20.0}}}, links(activity={"loss": 0.1})),
    "stale reward": laid(MULTIPLEXER, FREE, links(reward={"stale": 5})),
    "stale reward of a critic's team": laid(CARTPOLE, FREE, links(reward={"stale": 3})),
    "everything stale": laid(MULTIPLEXER, FREE, links(default={"stale": 2, "delay": 0.3})),
    "units": laid(MULTIPLEXER, {"network": {"split": "unit"}}),
    "units on free clocks": laid(MULTIPLEXER, FREE, {"network": {"split": "unit"}}),
    "units that tick and hear in one instant": laid(MULTIPLEXER, FREE, AT_ONCE, {"network": {"split": "unit"}}),
    "of two periods": laid(
        MULTIPLEXER, FREE, AT_ONCE, {"network": {"split": "unit"}}, clocks(**{"actor.2": {"kind": "periodic", "phase": 0.0, "period": 2.0}})
    ),
    "of three inputs, with loss": laid(
        MULTIPLEXER,
        FREE,
        AT_ONCE,
        {"network": {"inputs": {"actor.3": ("observation", "actor.1", "actor.2")}, "split": "unit"}},
        links(activity={"loss": 0.2, "delay": {"kind": "uniform", "low": 0.0, "high": 0.000_01}}),
    ),
    "with one among them that has no clock": laid(MULTIPLEXER, FREE, AT_ONCE, clocks(**{"actor.2": {"kind": "on-arrival"}})),
    "peers that tick and hear in one instant": laid(
        MULTIPLEXER,
        FREE,
        AT_ONCE,
        {"network": {"hidden": [6], "split": "unit", "output": "softmax"}, "rule": {"name": "coordinated-exploration", "sweeps": 5, "learning_rate": 0.01}},
    ),
    "settling in one instant": laid(MULTIPLEXER, FREE, SETTLING, AT_ONCE, {"network": {"split": "unit"}}),
    "groups of two": laid(CARTPOLE, FREE, {"network": {"split": 2}}),
    "trace credit": laid(MULTIPLEXER, FREE, {"rule": {"credit": "trace", "lambda": 0.5}}),
    "trace credit and a critic": laid(CARTPOLE, FREE, {"rule": {"credit": "trace", "lambda": 0.7}, "critic": {"credit": "trace"}}),
    "stamped credit with a trace": laid(CARTPOLE, {"rule": {"lambda": 0.7}}),
    "three streams": laid(CARTPOLE, FREE, {"task": {"streams": 3}}),
    "three streams of questions, in units": laid(MULTIPLEXER, FREE, {"task": {"streams": 3}, "network": {"split": "unit"}}),
    "graded by stamp": laid(MULTIPLEXER, FREE, {"task": {"world": {"interval": 3.0, "late": "grade-by-stamp"}}}, links(activity={"delay": 1.5})),
    "a dozen grades at once": laid(
        MULTIPLEXER,
        {"task": {"world": {"waits": False, "interval": 1.0, "late": "grade-by-stamp"}}},
        links(activity={"delay": {"kind": "exponential", "mean": 20.0}}),
    ),
    "late actions withheld": laid(
        CARTPOLE, FREE, {"task": {"world": {"interval": 6.0, "late": "withhold"}}}, links(activity={"delay": {"kind": "exponential", "mean": 1.0}})
    ),
    "late actions used": laid(CARTPOLE, FREE, {"task": {"world": {"interval": 2.0}}}, links(activity={"delay": 1.5})),
    "a skip connection": laid(MULTIPLEXER, {"network": {"inputs": {"actor.2": ("actor.1", "observation"), "actor.3": ("observation", "actor.2")}}}),
    "a skip connection in units": laid(MULTIPLEXER, FREE, {"network": {"inputs": {"actor.3": ("observation", "actor.1", "actor.2")}, "split": 2}}),
    "reinforce": laid(MULTIPLEXER, REINFORCE),
    "reinforce in units": laid(CARTPOLE, FREE, REINFORCE, {"network": {"split": "unit"}}),
    "sign units": laid(MULTIPLEXER, FREE, {"network": {"units": "sign", "output": "sign"}}),
    "phases": laid(MULTIPLEXER, PHASES, {"task": {"streams": 3}}),
    "phases, drawn anew, ReLU": laid(MULTIPLEXER, PHASES, {"rule": {"start": "zero", "decide": 3}, "network": {"units": "relu"}}),
    "phases in units": laid(MULTIPLEXER, PHASES, {"network": {"split": "unit"}}),
    "phases with a skip connection": laid(
        MULTIPLEXER, PHASES, {"network": {"inputs": {"actor.2": ("observation", "actor.1"), "actor.3": ("actor.1", "actor.2")}}}
    ),
    "phases with a critic of their kind": laid(CARTPOLE, PHASES, {"critic": VALUES | {"name": "map-propagation"}}),
    "a sampled actor with a critic in phases": laid(CARTPOLE, {"critic": VALUES | {"name": "map-propagation"}}),
    "settling": laid(MULTIPLEXER, FREE, SETTLING, {"task": {"streams": 2}}),
    "settling in units": laid(MULTIPLEXER, FREE, SETTLING, {"network": {"split": "unit"}}),
    "settling, motion-gated trace": laid(MULTIPLEXER, FREE, SETTLING, {"rule": {"credit": "motion", "lambda": 0.9, "decide": 3, "start": "zero"}}),
    "settling, trace over time": laid(MULTIPLEXER, FREE, SETTLING, {"rule": {"credit": "time"}}),
    "settling with a critic of its kind": laid(
        CARTPOLE, FREE, SETTLING, {"critic": {key: value for key, value in VALUES.items() if key != "rounds"} | {"name": "map-propagation-async"}}
    ),
    "late actions with a critic of several nodes": laid(
        CARTPOLE,
        FREE,
        SETTLING,
        {"critic": {"name": "map-propagation-async", "hidden": [5, 3], "gate": "difference", "variance": 0.1, **RATES}, "task": {"world": {"interval": 6.0}}},
        links(activity={"delay": 1.5}),
    ),
    "real-valued answers": check(
        {
            "name": "real",
            "seed": 5,
            "tick": 1000,
            "task": {"name": "regression", "streams": 2, "decisions": 200, "reward": "error", "world": {"waits": True, "interval": 1.0}},
            "network": {"hidden": [6, 3], "units": "linear", "output": "linear"},
            "rule": {"name": "map-propagation", "rounds": 4, "gate": "inverse", "variance": 0.1, **RATES},
        },
        "test",
    ),
    "a linear unit that hears its error": check(
        {
            "name": "linear",
            "seed": 5,
            "tick": 1000,
            "task": {"name": "tracking", "streams": 2, "decisions": 400, "world": {"waits": False, "interval": 6.0}},
            "network": {"hidden": [], "output": "linear"},
            "rule": {"name": "lms", "learning_rate": 0.02, "lambda": 0.3, "optimizer": {"name": "idbd"}},
            "clocks": {"default": {"kind": "periodic", "jitter": 0.2}},
            "links": {"reward": {"stale": 2}, "activity": {"delay": 0.5}},
        },
        "test",
    ),
    "learned step sizes of a team and its critic": laid(CARTPOLE, FREE, {"rule": {"optimizer": {"name": "idbd"}}, "critic": {"optimizer": {"name": "idbd"}}}),
    "faults of every kind": laid(
        MULTIPLEXER,
        FREE,
        {"network": {"split": "unit"}},
        {
            "faults": [
                {"kind": "loss", "share": 0.2, "burst": 5.0, "channel": "activity", "from": "actor.1.0"},
                {"kind": "corrupt", "share": 0.1, "channel": "reward", "poisson": 40.0, "lasting": 20.0},
                {"kind": "delay", "delay": {"kind": "normal", "mean": 1.0, "sigma": 1.0}, "alike": 0.7, "to": "actor.2"},
                {"kind": "reorder", "share": 0.3, "by": 4.0, "channel": "feedback"},
                {"kind": "cut", "nodes": "actor.1", "count": 1, "decisions": [50, 90]},
                {"kind": "hold", "nodes": "actor.2", "way": "in", "every": 60.0, "lasting": 15.0},
            ]
        },
    ),
    "another norm": laid(MULTIPLEXER, {"rule": {"power": 1.0, "feedback_weights": "before"}}),
}


def agenda(loop):
    """What is to come, what waits in mailboxes with it."""
    return [(*event[:6], None if event[6] is None else event[6].tobytes(), event[7]) for event in underway.events(loop.under_way())]


def held(loop):
    return {n: [(seq, message.channel, message.stamp, message.payload.tobytes()) for seq, message in messages] for n, messages in loop.held.items() if messages}


def finished(scenario, loop=Loop):
    made = loop(scenario, Virtual())
    before = [np.concatenate([node.view.weight.ravel(), [0.0]]) for node in learners(made)]
    seen = []
    made.run(lambda running: seen.append((running.score.rows[-1], running.now, running.digest(), running.books.table().tolist())))
    changed = [not np.array_equal(old[:-1], node.view.weight.ravel()) for old, node in zip(before, learners(made), strict=True)]
    return made, seen, changed


def assert_same(compiled, readable):
    assert compiled.stopped == readable.stopped
    assert compiled.now == readable.now == compiled.keeper.now
    assert account(compiled).tolist() == account(readable).tolist()
    assert not unexplained(account(readable)).any()
    assert (compiled.ticks.tolist(), compiled.sequence.tolist()) == (readable.ticks.tolist(), readable.sequence.tolist())
    for i, node in readable.nodes.items():
        assert compiled.nodes[i].state.tobytes() == node.state.tobytes(), node
        if i:
            assert compiled.nodes[i].counts() == node.counts()
    assert compiled.digest() == readable.digest()
    assert compiled.score.summary() == readable.score.summary()
    assert compiled.score.rows == readable.score.rows
    assert (compiled.struck.tolist(), compiled.clears.tolist()) == (readable.struck.tolist(), readable.clears.tolist())
    assert agenda(compiled) == agenda(readable)
    assert held(compiled) == held(readable)


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_loops_end_in_the_same_bits(name):
    readable, rows, changed = finished(SCENARIOS[name])
    compiled, same_rows, _ = finished(SCENARIOS[name], CompiledLoop)
    assert readable.stopped == "finished"
    assert all(changed), "every node has learned"
    assert rows
    assert rows == same_rows
    assert_same(compiled, readable)


@pytest.mark.parametrize("name", runnable())
def test_both_loops_end_every_shipped_scenario_in_the_same_bits(name):
    readable, rows, changed = finished(brief(name))
    compiled, same_rows, _ = finished(brief(name), CompiledLoop)
    assert all(changed)
    assert rows == same_rows
    assert_same(compiled, readable)


def test_the_scenarios_do_what_their_names_say():
    ledgers = {name: finished(SCENARIOS[name], CompiledLoop)[0] for name in SCENARIOS if "loss" in name or "stale" in name or "late" in name or "grade" in name}
    for name, loop in ledgers.items():
        ledger = by_channel(loop.plan, account(loop))
        if name in ("loss", "loss of activity in lock-step"):
            assert ledger["activity"]["lost"] > 0
        if name == "loss":
            assert ledger["reward"]["lost"] > 0
        if name == "loss on reliable links":
            assert all(row["lost"] == 0 for row in ledger.values())
        if "stale" in name:
            assert any(loop.held.values())
        if "late actions" in name or "grade" in name:
            assert loop.score.late > 10
    assert by_channel(ledgers["late actions used"].plan, account(ledgers["late actions used"]))["transition"]["delivered"] > 0


@settings(max_examples=int(os.environ.get("ASYNCNET_EXAMPLES", "60")), suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(scenarios())
def test_both_loops_agree_on_whatever_hypothesis_thinks_of(data):
    try:
        scenario = check(data, "test")
    except ScenarioError:
        reject()
    readable, _, changed = finished(scenario)
    compiled, _, _ = finished(scenario, CompiledLoop)
    learned = sum(node.counts()["learned"] for node in learners(readable))
    assert any(changed) or not learned
    assert_same(compiled, readable)


@pytest.mark.parametrize("first", [Loop, CompiledLoop])
def test_a_run_that_is_stopped_goes_on_in_either_loop_as_if_it_had_not_been(first):
    scenario = laid(MULTIPLEXER, FREE, {"network": {"split": 2}}, links(default={"delay": 1.3}, reward={"stale": 4}))
    whole, _, _ = finished(scenario)
    second = CompiledLoop if first is Loop else Loop
    loop = first(scenario, Virtual())
    loop.run(lambda running: running.score.decisions >= 150 and running.stop("for a moment"))
    assert loop.stopped == "for a moment"
    assert agenda(loop)
    assert 150 <= loop.score.decisions < 200
    loop.stopped = None
    other = second(scenario, Virtual())
    other.__dict__.update(loop.__dict__)
    other.run()
    assert_same(other, whole)


def test_tables_grow_when_a_delay_fills_the_agenda():
    scenario = laid(MULTIPLEXER, FREE, {"network": {"split": "unit"}}, links(default={"delay": {"kind": "uniform", "low": 99.0, "high": 101.0}}))
    readable, compiled = finished(scenario)[0], finished(scenario, CompiledLoop)[0]
    assert len(readable.agenda) > 2000, "more than the tables hold at first"
    assert_same(compiled, readable)


def test_a_network_with_nothing_left_to_do_says_so_in_the_same_words():
    said = []
    for loop in (Loop, CompiledLoop):
        made = loop(laid(MULTIPLEXER), Virtual())
        made.run(lambda running: running.score.decisions >= 20 and running.stop("for a moment"))
        made.agenda.clear()
        made.stopped = None
        made.run()
        said.append(made.stopped)
    assert said[0] == said[1]
    assert re.fullmatch(r"stalled: nobody had anything to do after 0\.02\d s; the world waited for decision 2\d", said[0])


def test_stop_from_another_thread_is_heard_though_the_world_sleeps():
    loop = CompiledLoop(laid(MULTIPLEXER, FREE, {"task": {"world": {"interval": 1e8}}}), Virtual())
    loop.prepare()
    thread = threading.Thread(target=loop.run)
    thread.start()
    while loop.nodes[1].view.stamp[0] < 0:  # it samples at a tick
        time.sleep(0.001)
    loop.stop("enough")
    thread.join(timeout=10.0)
    assert not thread.is_alive()
    assert loop.stopped == "enough"
    assert loop.ticks.max() > 0


@pytest.mark.parametrize("where", ["progress", "task"])
def test_an_exception_leaves_a_loop_whose_books_are_in_order(where):
    far = links(default={"delay": 20.0})
    acrobot = {"task": {"id": "Acrobot-v1"}, "network": {"output": "softmax"}}
    loop = CompiledLoop(laid(CARTPOLE, FREE, acrobot, far) if where == "task" else laid(MULTIPLEXER, FREE, far), Virtual())

    def interrupt(_):
        if loop.nodes[0].view.stamp[0] >= 50:
            raise KeyboardInterrupt

    if where == "task":
        loop.nodes[0].outside.step = interrupt
    with pytest.raises(KeyboardInterrupt):
        loop.run(interrupt)
    ledger = account(loop)
    assert ledger[IN_FLIGHT].sum() == sum(event[1] not in (TICK, TURN) for event in loop.agenda) > 0
    assert not unexplained(ledger).any()
    assert loop.score.decisions == 50
    assert len(loop.score.rewards) == 50


def test_an_environment_of_gymnasium_is_stepped_in_python_with_the_same_bits_in_both_loops():
    scenario = laid(CARTPOLE, FREE, {"task": {"id": "MountainCar-v0", "episodes": 3, "streams": 2}})
    readable, _, _ = finished(scenario)
    compiled, _, _ = finished(scenario, CompiledLoop)
    assert readable.nodes[0].outside is not None
    assert readable.score.returns[0] == -200.0
    assert_same(compiled, readable)


def test_faults_of_every_kind_strike_a_team_whose_world_is_stepped_in_python_the_same_in_both_loops():
    faults = [
        {"kind": "rate", "per_tick": 0.6, "room": 6, "every": 90.0, "lasting": 30.0},
        {"kind": "delay", "delay": {"kind": "measured", "quantiles": [[0.0, 0.2], [1.0, 3.0]]}, "channel": "activity", "poisson": 90.0, "lasting": 30.0},
        {"kind": "crash", "poisson": 400.0, "lasting": 10.0, "snapshot": 50.0},
        {"kind": "pause", "nodes": "actor.1", "decisions": [50, 60]},
        {"kind": "slow", "by": 2.0, "nodes": "actor.2", "start": 50.0, "stop": 120.0},
        {"kind": "mailbox", "nodes": "actor.1", "policy": "newest-wins", "poisson": 80.0, "lasting": 20.0},
        {"kind": "mailbox", "nodes": "actor.2", "policy": "drop-oldest", "room": 1, "every": 120.0, "lasting": 60.0},
    ]
    scenario = laid(CARTPOLE, FREE, {"task": {"id": "MountainCar-v0", "episodes": 3, "streams": 2, "world": {"interval": 6.0}}, "faults": faults})
    readable, _, _ = finished(scenario)
    compiled, _, _ = finished(scenario, CompiledLoop)
    assert readable.nodes[0].outside is not None
    assert (readable.struck > 0).all(), readable.struck
    assert_same(compiled, readable)


@pytest.mark.parametrize("task", [MULTIPLEXER, CARTPOLE])
def test_a_compiled_task_never_comes_back_to_python_but_for_the_score(task, monkeypatch):
    loop = CompiledLoop(laid(task, FREE), Virtual())
    reasons = []
    monkeypatch.setattr(compiled_loop, "go", lambda *arguments, go=compiled_loop.go: reasons.append(go(*arguments)) or reasons[-1])
    loop.run()
    assert {why for why, _ in reasons} <= {compiled_loop.LOOKS, compiled_loop.FULL, compiled_loop.PAUSED}
    assert len(reasons) < 0.6 * loop.score.decisions


def test_an_answer_counts_once_however_often_it_is_repeated():
    repeats = {"task": {"world": {"late": "grade-by-stamp"}}, "links": {"activity": [{"delay": 0.5}, {"loss": 0.1}]}}
    loop = Loop(laid(MULTIPLEXER, FREE, repeats), Virtual())
    heard, told, world = [], [], loop.nodes[0]
    hear, act = world.hear, world.act
    world.hear = lambda *event: (heard.append(event), hear(*event))[1]
    world.act = lambda *event: [told.append(message) or message for message in act(*event)]
    loop.run()
    stamps = [message.stamp for message in told if message.channel == REWARD]
    assert len(heard) > 5 * loop.score.decisions, "answers were repeated"
    assert len(set(stamps)) == len(stamps) > 0.9 * loop.score.decisions
    assert sum(loop.score.rewards.latest) == sum(message.payload.mean() for message in told if message.channel == REWARD)
