"""What a scenario comes to is said before it is run: conditions that add up, actions that come too late, values that make no difference."""

import json

import numpy as np
import pytest

import asyncnet
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.timekeeper import Virtual
from asyncnet.studies import explain
from asyncnet.studies.study import checked


def of(name="multiplexer3-weight-max", under=(), *settings):
    return explain.explained(asyncnet.load(name, under, settings), 200)


def test_links_have_all_their_conditions_each_with_its_table():
    found = of("cartpole-free", ["lossy"], "links.reward.delay=2")
    rows = {(row["channel"], row["from"], row["to"]): row for row in found["links"]}
    assert rows["reward", "dopamine", "actor.3"]["conditions"] == ["delay 0.5 (links.default)", "loss 0.1, for good (links.default)", "delay 2 (links.reward)"]
    assert rows["activity", "world", "actor.1"]["numbers"] == 1 + 4
    assert any(line.startswith("links.reward: its delay adds to that of links.default: 0.5 + 2 ticks") for line in found["warnings"])


def test_times_are_those_of_the_run():
    """With clocks that tick together and links of half a tick, a layer answers a tick after the one below, and learns a tick after the one above."""
    found = of("multiplexer3-weight-max", (), 'clocks.default={kind="periodic", phase=0.0}')
    times = {row["layer"]: row for row in found["times"]}
    assert [times[f"actor.{n}"]["samples_after"] for n in (1, 2, 3)] == [[1.0] * 3, [2.0] * 3, [3.0] * 3]
    assert [times[f"actor.{n}"]["learns_after"] for n in (3, 2, 1)] == [[17.0] * 3, [18.0] * 3, [19.0] * 3]
    assert found["world"]["action_after"] == [3.5] * 3
    assert found["world"]["on_time"] == 1.0
    assert times["actor.1"]["between"] == [1, 1]
    assert times["actor.3"]["between"] == [0, 0]


def test_a_brief_run_that_is_watched_is_the_run():
    scenario = asyncnet.load("cartpole-free", ["lossy"]).replace({"task.decisions": 150})
    watched, loop = explain.watch(scenario, 150), CompiledLoop(scenario, Virtual())
    loop.run()
    assert watched.loop.digest() == loop.digest()
    learned = {node.name: int(node.view.counts[explain.LEARNED]) for node in loop.nodes.values() if hasattr(node.view, "pending_state")}
    assert {name: len(rows) for name, rows in watched.learned.items()} == learned
    assert min(learned.values()) > 20


def test_actions_that_come_too_late_are_a_warning():
    assert not any("in time" in line for line in of()["warnings"])
    found = of("multiplexer3-weight-max", (), "task.world.interval=3")
    assert found["world"]["on_time"] < 0.1
    assert any(line.startswith("task.world.interval: only ") and "closes a decision every 3" in line for line in found["warnings"])


def test_a_layer_that_learns_nothing_is_a_warning():
    found = of("multiplexer3-weight-max", (), "links.feedback.delay=100000")
    assert [line for line in found["warnings"] if "learned nothing" in line] == [
        "actor.1 learned nothing in 200 decisions",
        "actor.2 learned nothing in 200 decisions",
    ]


def test_conditions_of_a_channel_that_nobody_uses_are_a_warning():
    assert (
        "links.transition: nobody says anything on it (rule weight-max, no critic), so it cannot matter"
        in of("multiplexer3-weight-max", (), "links.transition.delay=3")["warnings"]
    )


@pytest.mark.parametrize(("under", "regular"), [((), True), (("jittery-clocks",), False)])
def test_where_nothing_is_random_it_says_that_delays_are_rounded(under, regular):
    assert any("come to the same bits" in line for line in of("multiplexer3-weight-max", under)["warnings"]) == regular


def test_values_that_end_in_the_same_bits_are_one_point():
    study = checked({"name": "s", "scenario": "multiplexer3-weight-max", "vary": {"links.feedback.delay": [0, 0.5, 1, 2, 5, 10]}}, "test")
    found = explain.points(study)
    assert found == [["0", "0.5"], ["1", "2", "5"], ["10"]]
    jittery = checked(study.data() | {"under": ["jittery-clocks"]}, "test")
    assert len(explain.points(jittery)) == 6


def test_the_command_prints_it(command):
    code, out, err = command("explain", "multiplexer3-weight-max", "--under", "lossy", "--vary", "links.feedback.delay=0,1,2", "--decisions", 150)
    assert code == 0, err
    assert "delay 0.5 (links.default); loss 0.1, for good (links.default)" in out
    assert "actions in time" in out
    assert "3 distinct points in 150 decisions: 0 | 1 | 2\n" in out, "losses tell them apart"
    _, out, _ = command("explain", "multiplexer3-weight-max", "--vary", "links.feedback.delay=0,0.5,1", "--decisions", 150)
    assert "2 distinct points in 150 decisions: 0, 0.5 | 1; what stands together ended in the same bits, for clocks without jitter" in out
    _, out, _ = command("explain", "multiplexer3-weight-max", "--set", "rule.name=reinforce", "--vary", "links.feedback.delay=0,5", "--decisions", 50)
    assert "1 distinct point in 50 decisions: 0, 5; what stands together ended in the same bits: this team has no feedback links\n" in out
    code, out, _ = command("explain", "cartpole-map-async", "--json", "--decisions", 50)
    assert code == 0
    assert [row["layer"] for row in json.loads(out)["layers"]][:2] == ["world", "actor.1"]


@pytest.mark.parametrize("name", ["cartpole-map", "multiplexer3-coordinated", "multiplexer2-units", "tracking-idbd", "acrobot-weight-max"])
def test_every_kind_of_team_can_be_explained(name):
    found = explain.explained(asyncnet.load(name), 30)
    assert all(np.isfinite(row["learns_after"]).all() for row in found["times"] if row["learns_after"])
    assert found["world"]["decisions"] >= 30
