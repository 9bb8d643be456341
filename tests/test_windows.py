"""Simulated time that many loops share ends in the bits of one loop, wherever its nodes are."""

import os
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from teams import learners, multiplexer
from thinkable import scenarios
from together import Together

import asyncnet
from asyncnet import snapshot
from asyncnet.actors import windows
from asyncnet.actors.windows import CHECKPOINT, FAR, STOP
from asyncnet.compiled_loop import CompiledLoop
from asyncnet.ledger import account, unexplained
from asyncnet.loop import Way
from asyncnet.message import CHANNELS
from asyncnet.network import plan
from asyncnet.scenario import ScenarioError, check
from asyncnet.timekeeper import Virtual

EXAMPLES = int(os.environ.get("ASYNCNET_EXAMPLES", "40"))
EVERYONE = 10**6
DELAYED = {
    "task.world": {"waits": False, "interval": 8.0},
    "task.decisions": 300,
    "clocks": {"default": {"kind": "periodic", "jitter": 0.2}},
    "links": {"default": {"delay": 0.5}, "activity": {"loss": 0.1}, "reward": {"stale": 2}},
}


def embedded(scenario, until=None):
    """A finished run in one loop, or one that has come to a moment."""
    loop = CompiledLoop(scenario, Virtual())
    before = loop.digest()
    loop.run(**({} if until is None else {"until": until}))
    assert loop.digest() != before
    return loop


def under_way(state):
    """What is on the agendas, with what it says, in order."""
    ends = np.cumsum(np.maximum(state.arrays["agenda"][:, 7], 0))
    said = [values.tobytes() for values in np.split(state.arrays["agenda/values"], ends[:-1])]
    return sorted((*row, values) for row, values in zip(state.arrays["agenda"].tolist(), said, strict=True))


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(scenarios(delayed=True, decisions=12))
def test_any_team_ends_in_the_same_bits_in_one_loop_and_in_many(data):
    try:
        scenario = check(data, "test")
    except ScenarioError:
        return
    one = embedded(scenario)
    for pack in (1, 2, EVERYONE):
        many = Together(scenario, pack, reverse=pack == 2).start().end()
        assert many.digest == one.digest()
        assert many.ledger.tolist() == account(one).tolist()
        assert not unexplained(many.ledger).any()
        for result in many.results:
            assert all(row["ticks"] == one.ticks[node.index] for node in one.plan.nodes if (row := result["nodes"].get(node.name)))


@pytest.mark.parametrize("name", ["cartpole-map-async", "cartpole-weight-max", "multiplexer3-map-async"])
def test_shipped_scenarios_end_in_the_same_bits(name):
    changes = {"links.default": {"delay": 0.5}, "tick": 1000}
    whole = asyncnet.load(name)
    scenario = whole.replace(changes | ({"task.episodes": 6} if whole.task.episodes else {"task.decisions": 100}))
    one = embedded(scenario)
    assert all(node.counts()["learned"] > 0 for node in learners(one))
    assert Together(scenario, 2).start().end().digest == one.digest()


def test_frames_over_zeromq_change_nothing():
    scenario = multiplexer("weight-max", DELAYED)
    assert Together(scenario, wire="zmq").start().end().digest == embedded(scenario).digest()


def test_a_link_without_delay_between_two_loops_is_refused_by_name_and_one_within_a_loop_is_not():
    with pytest.raises(ScenarioError, match=r"--time virtual: links.feedback: actor.2 -> actor.1 joins two actors and may take less than a microsecond"):
        Together(multiplexer("weight-max", DELAYED, links={"activity": {"delay": 0.5}, "reward": {"delay": 0.5}}))
    scenario = multiplexer("weight-max", DELAYED, links={"activity": {"delay": 0.5}, "reward": {"delay": 0.5}})
    assert Together(scenario, EVERYONE).start().end().digest == embedded(scenario).digest()


@pytest.mark.parametrize("delay", [{"kind": "exponential", "mean": 5.0}, {"kind": "uniform", "low": 0.0, "high": 2.0}, 0.0004])
def test_a_delay_that_may_be_next_to_nothing_is_no_look_ahead(delay):
    with pytest.raises(ScenarioError, match=r"links\.reward"):
        Together(multiplexer("weight-max", DELAYED, links={"default": {"delay": 1.0}, "reward": []}).replace({"links.default": {"delay": delay}}))


def test_reach_is_the_shortest_way_and_for_a_loop_itself_the_shortest_way_round():
    scenario = multiplexer("weight-max", DELAYED, links={"activity": {"delay": 1.0}, "feedback": {"delay": 7.0}, "reward": {"delay": 2.5}})
    team = plan(scenario)
    ways = {code: Way(scenario.links, name, scenario.tick) for name, code in CHANNELS.items()}
    found = windows.reach(team, ways, {i: str(i) for i in range(4)}, list("0123"))
    # world -> 1 -> 2 -> 3 -> world by activity at 1 each, the world's reward at 2.5, feedback 2 -> 1 and 3 -> 2 at 7
    expected = [[3.5, 1, 2, 2.5], [3, 4, 1, 2], [2, 3, 4, 1], [1, 2, 3, 3.5]]
    assert (found / 1000).tolist() == expected
    assert (found < FAR).all()


def test_loops_meet_for_a_checkpoint_in_the_state_of_one_loop_at_that_instant():
    scenario = multiplexer("weight-max", DELAYED | {"task.decisions": 400})
    many = Together(scenario).start()
    while many.world.loop.nodes[0].view.stamp[0] < 50:
        time.sleep(0.001)
    many.world.meet(CHECKPOINT)
    while (parts := [host.state() for host in many.hosts.values()]).count(None):
        time.sleep(0.001)
    many.end()
    merged = snapshot.merge(snapshot.Checkpoint(*part) for part in parts)
    at = merged.about["now"]
    assert {part[0]["now"] for part in parts} == {at}
    assert at > 50 * 8 * scenario.tick
    one = embedded(scenario, until=at)
    assert one.paused
    expected = snapshot.take(one)
    assert sorted(merged.arrays) == sorted(expected.arrays)
    assert under_way(merged) == under_way(expected)
    assert len(under_way(expected)) > 10
    for name, array in expected.arrays.items():
        if "agenda" not in name:
            assert np.array_equal(merged.arrays[name], array), name
    assert merged.about == expected.about
    assert many.digest == embedded(scenario).digest(), "and meeting has changed nothing"


@pytest.mark.parametrize("packs", [(1, EVERYONE), (EVERYONE, 2)])
def test_a_run_that_met_to_stop_goes_on_in_other_loops_to_the_same_end(packs):
    scenario = multiplexer("weight-max", DELAYED | {"task.decisions": 400})
    many = Together(scenario, packs[0]).start()
    while many.world.loop.nodes[0].view.stamp[0] < 50:
        time.sleep(0.001)
    many.world.meet(STOP)
    for host in many.hosts.values():
        assert host.await_end(60.0)
        assert host.loop.stopped == "interrupted"
    whole = snapshot.merge(snapshot.Checkpoint(*host.state()) for host in many.hosts.values())
    many.close()
    assert 0 < whole.about["now"] < 390 * 8 * scenario.tick
    expected = embedded(scenario)
    rest = Together(scenario, packs[1], begin=tuple(whole)).start().end()
    assert rest.digest == expected.digest()
    assert rest.ledger.tolist() == account(expected).tolist()
    alone = CompiledLoop(scenario, Virtual())
    snapshot.put(alone, whole)
    alone.run()
    assert alone.digest() == expected.digest()
    assert alone.score.rows == expected.score.rows


def test_a_loop_that_waits_says_for_whom():
    many = Together(multiplexer("weight-max", DELAYED))
    at = time.time_ns()
    for name, host in many.hosts.items():
        if name != "2":
            host.start(at)
    while not all(host.status()["waited"] > 0.05 for name, host in many.hosts.items() if name != "2"):
        time.sleep(0.01)
    assert [host.status()["waits"] for name, host in many.hosts.items() if name != "2"] == [["2"]] * (len(many.hosts) - 1)
    many.hosts["2"].start(at)
    assert many.end().stopped == ["finished"] * len(many.hosts)
