"""A machine from outside the package whose nodes ask for turns of their own between the ticks of their clocks: as good as the shipped ones in every respect."""

import pytest

import asyncnet
from asyncnet.scenario import outside
from asyncnet.scenario.schema import ScenarioError, check
from support.interrupted import interrupted
from support.outside import afterwards_as_before

TURNER = '''
"""Weight Maximization whose nodes ask, at some of their ticks, for a turn in which they act again."""
from typing import Literal
from asyncnet.kernels.kernel import kernel
from asyncnet.kernels.layout import Field
from asyncnet.loop.message import ACTIVITY, REWARD, TICK
from asyncnet.machines import sampled
from asyncnet.machines.archive import clear
from asyncnet.machines.hearing import hear_activity, hear_feedback, hear_reward
from asyncnet.machines.sampled import turn
from asyncnet.nodes.entries import bound
from asyncnet.nodes.outbox import call_me
from asyncnet.rules.settings import CoagentSettings
from asyncnet.team.ports import ACTIVITIES, CREDIT, FEEDBACK_AS_CREDIT, INPUTS, REWARD_AS_CREDIT, Kind

NAME, LINE = "turner", "weight-max with turns of its own"
UNITS, OUTPUTS, FREE_LOGITS = ("bernoulli", "sign"), ("softmax", "bernoulli", "sign"), False
HIDDEN = Kind(__name__, "asyncnet.rules.coagent", hears=(INPUTS, FEEDBACK_AS_CREDIT), says=(ACTIVITIES, CREDIT))
OUTPUT = HIDDEN.replace("credit", REWARD_AS_CREDIT)
COUNT_NAMES, PARTS, TURNS = sampled.COUNT_NAMES, sampled.PARTS, 1
FIELDS = (*sampled.FIELDS, Field("next_turn", "1", "0.."))
SETTINGS = (*sampled.SETTINGS, ("tick", int))


class Settings(CoagentSettings):
    name: Literal["turner"]


def values(it, layer=None):
    return sampled.values(it) if layer is None else {"power": 2.0, "after": 1}


@bound
def begin(v, c):
    clear(v)
    c.rule.initialise(v, c)


@bound
def handle(v, c, now, kind, port, seq, stamp, payload, out, numbers):
    ticked = 0
    if kind == TICK:
        ticked = port
        if port == 1 and now >= v.next_turn[0]:
            v.next_turn[0] = now + c.tick
            call_me(out, now + c.tick)
    elif kind == ACTIVITY:
        hear_activity(v, c, port, seq, stamp, payload)
    elif kind == REWARD:
        hear_reward(v, c, port, stamp, payload)
    else:
        hear_feedback(v, c, port, stamp, payload)
    if kind == TICK or c.on_arrival == 1:
        return turn(v, c, now, ticked, out, numbers)
    return 0
'''
SCENARIO = {
    "name": "turns",
    "seed": 1,
    "tick": 1000,
    "task": {"name": "multiplexer", "k": 2, "decisions": 2000, "world": {"waits": False, "interval": 1.0}},
    "network": {"hidden": [4, 3], "output": "bernoulli"},
    "rule": {"name": "turner", "learning_rate": 0.01},
    "clocks": {"default": {"kind": "periodic", "phase": 0.0}},
}


@pytest.fixture(scope="module", autouse=True)
def rule(tmp_path_factory):
    with afterwards_as_before():
        path = tmp_path_factory.mktemp("rule") / "turner.py"
        path.write_text(TURNER)
        outside.register(str(path), "rule")
        yield


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_said_in_a_turn_of_ones_own_is_heard_alike_in_both_loops(seed):
    made = check(SCENARIO, "test").replace(seed=seed)
    compiled, readable = (asyncnet.run(made, out=None, loop=loop).record for loop in ("compiled", "readable"))
    assert compiled.nodes["actor.1"]["ticks"] < compiled.nodes["actor.1"]["learned"] + compiled.nodes["actor.1"]["sampled"]
    assert compiled.digest == readable.digest


def test_such_a_run_is_resumed_from_a_state_in_which_turns_are_to_come(tmp_path):
    made = check(SCENARIO, "test").replace({"task.decisions": 20_000})
    whole = asyncnet.run(made, out=None)
    half = interrupted(made, tmp_path)
    again = asyncnet.resume(half.run_dir)
    assert half.record.digest != whole.record.digest
    assert again.record.digest == whole.record.digest


def test_such_a_run_on_real_clocks_is_replayed(tmp_path):
    result = asyncnet.run(check(SCENARIO, "test").replace({"task.decisions": 100, "task.world.interval": 4.0}), out=tmp_path, time="wall")
    assert asyncnet.replay(result.run_dir)[0]


def test_turns_of_a_machine_that_asks_for_none_are_refused(tmp_path, monkeypatch):
    half = interrupted(check(SCENARIO, "test").replace({"task.decisions": 20_000}), tmp_path)
    monkeypatch.setattr("asyncnet.nodes.node.Node.turns", property(lambda node: 2 * (node.index == 0)))
    with pytest.raises(ScenarioError, match=r"turns of actor\.1, which asks for none"):
        asyncnet.resume(half.run_dir)
