"""What is said of a run before it is certain, and of what ships nothing is said."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import asyncnet
from asyncnet.scenario.reading import condition, shipped
from asyncnet.scenario.schema import check
from asyncnet.studies import explain
from asyncnet.team.draw import plan
from asyncnet.team.prospects import prospects
from support.interrupted import Stopping
from support.small import small


def said(scenario):
    return prospects(scenario, plan(scenario))


def of(clock="periodic", **changes):
    return check(small(**changes), "small").replace({"clocks.default": {"kind": clock}})


@pytest.mark.parametrize("name", shipped())
def test_nothing_is_said_of_what_ships_under_any_condition_that_ships(name):
    scenario = asyncnet.load(name)
    assert said(scenario) == []
    for laid in itertools.chain(asyncnet.list_conditions(), [tuple(asyncnet.list_conditions())]):
        under = [laid] if isinstance(laid, str) else laid
        try:
            lines = said(scenario.under_layers(map(condition, under)))
        except asyncnet.ScenarioError:  # a rule in synchronous phases has no clocks to jitter
            assert scenario.rule.name == "map-propagation"
            continue
        # one linear unit that is told its error has no reward to be late: the condition cannot matter there, and that is said
        assert [line for line in lines if "nobody says anything" not in line] == [], (name, under)
        assert not lines or scenario.rule.name == "lms", (name, under, lines)


@pytest.mark.parametrize(("interval", "late"), [(1.9, True), (2.0, True), (2.1, False)])
def test_it_is_said_that_no_action_can_come_in_time_where_none_does(interval, late):
    """Three layers answer at once on messages of half a tick: the action comes two ticks after its observation, and counts before the world's turn only."""
    scenario = of(task={"world": {"interval": interval}}, clock="on-arrival")
    assert plan(scenario).learning[-1].name == "actor.3"
    watched = explain.watch(scenario, 60)
    assert watched.world()["on_time"] == (0.0 if late else pytest.approx(1.0, abs=0.05))
    lines = said(scenario)
    assert len(lines) == late
    assert all(line.startswith("task.world.interval: no action can come in time: from an observation to its action 4 messages take 2 ticks") for line in lines)


def test_a_late_action_is_hopeless_only_where_it_is_worth_nothing():
    slow = {"links": {"default": {"delay": 3.0}}}
    (line,) = said(of(task={"world": {"late": "withhold"}}, **slow))
    assert "an action for an earlier one earns nothing" in line
    assert explain.watch(of(task={"world": {"late": "withhold"}}, **slow), 60).times()[-1]["learned"] == 0
    assert said(asyncnet.load("cartpole-free", "slow-links")) == []  # it acts on what it saw one decision ago, and that is worth something
    (line,) = said(of(**slow))
    assert "an answer to an earlier question is chance" in line
    assert said(of(task={"world": {"late": "grade-by-stamp"}}, **slow)) == []
    assert explain.watch(of(task={"world": {"late": "grade-by-stamp"}}, **slow), 60).times()[-1]["learned"] > 0


@settings(max_examples=25)
@given(interval=st.floats(0.5, 8.0), delay=st.floats(0.0, 3.0), spread=st.floats(0.0, 2.0), clock=st.sampled_from(["on-arrival", "periodic", "poisson"]))
def test_no_run_does_what_was_said_to_be_impossible(interval, delay, spread, clock):
    scenario = of(clock, task={"world": {"interval": interval}}, links={"default": {"delay": {"kind": "uniform", "low": delay, "high": delay + spread}}})
    if any("no action can come in time" in line for line in said(scenario)):
        assert explain.watch(scenario, 40).world()["on_time"] == 0.0


@pytest.mark.parametrize(
    ("changes", "starts", "silent"),
    [
        ({"links": {"reward": {"loss": 1.0}}}, "links.reward.loss: is 1", [1, 2, 3]),
        ({"links": {"feedback": {"loss": 1.0, "reliable": False}}}, "links.feedback.loss: is 1", [1, 2]),
        ({"links": {"reward": {"stale": 60}}}, "links.reward.stale: 60 are held back of 60", [1, 2, 3]),
        ({"links": {"feedback": {"delay": 360.0}}}, "links.feedback.delay: 360.5 ticks at least, and the run takes 360", [1, 2]),
    ],
)
def test_where_no_credit_can_come_none_is_learned_from(changes, starts, silent):
    scenario = of(task={"decisions": 60}, **changes)
    (line,) = said(scenario)
    assert line.startswith(starts)
    learned = {row["layer"]: row["learned"] for row in explain.watch(scenario, 60).times()}
    assert {layer for layer, count in learned.items() if not count} == {f"actor.{n}" for n in silent}
    assert said(of(task={"decisions": 60})) == []
    assert min(row["learned"] for row in explain.watch(of(task={"decisions": 60}), 60).times()) > 0


def test_a_step_size_of_nothing_is_said_and_moves_no_weight():
    still = of(rule={"learning_rate": 0.0})
    (line,) = said(still)
    assert line.startswith("rule.learning_rate: is 0")
    short, long = (asyncnet.run(still.replace({"task.decisions": count}), out=None, loop="readable").record.weights for count in (1, 30))
    moved = asyncnet.run(of(), out=None, loop="readable").record.weights
    for node, arrays in long.items():
        assert np.array_equal(arrays["weight"], short[node]["weight"])
        assert not np.array_equal(arrays["weight"], moved[node]["weight"])
    assert said(of(rule={"learning_rate": 0.0, "learning_rate_end": 0.1})) == []


def test_a_run_begins_with_it_and_replicas_say_it_once():
    scenario = of(rule={"learning_rate": 0.0})
    reporter = Stopping(2.0)
    asyncnet.run(scenario, out=None, loop="readable", reporter=reporter)
    assert reporter.notes[0].startswith("rule.learning_rate: is 0")
    both = Stopping(2.0)
    asyncnet.replicate(scenario, (1, 2, 3), out=None, loop="readable", reporter=both)
    assert [note.partition(":")[0] for note in both.notes].count("rule.learning_rate") == 1
    assert "rule.learning_rate: is 0, and stays so: no weight of the rule can change" in explain.explained(scenario, 20)["warnings"]
