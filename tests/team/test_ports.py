"""Ports: the links of a team are those that its nodes' ports ask for, and every message has the size that is declared."""

import pytest

from asyncnet.loop.loop import Loop
from asyncnet.loop.message import ACTIVITY, FEEDBACK, REWARD
from asyncnet.machines.gibbs import PEERS
from asyncnet.rules import weight_max
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.team.draw import plan
from asyncnet.team.network import CHANNEL, DST, SRC, payload_size
from asyncnet.team.ports import CREDIT, DRIVE, TRANSITIONS
from support.teams import brief, multiplexer, run, runnable

SMALL = {"network.hidden": [4, 2], "network.split": 2, "task.decisions": 20}


def links(scenario):
    """(channel, sender, receiver) of each link, by name."""
    drawn = plan(scenario)
    return {(channel, drawn.nodes[src].name, drawn.nodes[dst].name) for channel, src, dst in drawn.links[:, [CHANNEL, SRC, DST]].tolist()}


def test_the_size_of_a_message_is_a_sum_of_products():
    messages = {"B": 2, "U": 3, "M": 5}
    assert (CREDIT.numbers(messages), DRIVE.numbers(messages), TRANSITIONS.numbers(messages)) == (30, 32, 7)


def test_feedback_leads_back_along_activity_where_a_rule_says_some_and_hears_it():
    up = {(ACTIVITY, src, dst) for src in ("actor.1.0", "actor.1.2") for dst in ["actor.2"]}
    told, alike = links(multiplexer("weight-max", SMALL)), links(multiplexer("reinforce", SMALL))
    assert up <= told & alike
    assert told - alike == {(FEEDBACK, dst, src) for _, src, dst in up} | {(FEEDBACK, "actor.3", "actor.2")}
    assert alike - told == {(REWARD, "world", name) for name in ("actor.1.0", "actor.1.2", "actor.2")}


def test_the_critic_hears_errors_of_every_decision_and_the_actor_those_of_actions_used():
    scenario = multiplexer("reinforce", SMALL | {"critic": {"learning_rate": 0.01, "hidden": [2]}})
    drawn, found = plan(scenario), links(scenario)
    assert {(REWARD, "dopamine", layer.name) for layer in drawn.learning if len(layer.parts) == 1} <= found
    assert not any(channel == REWARD and src == "world" for channel, src, _ in found)
    dopamine = drawn.nodes[-1].index
    first = drawn.leaving(dopamine)[0]
    assert drawn.nodes[first[DST]].name == "critic", "its errors come first"


@pytest.mark.parametrize("name", [name for name in runnable() if "lunarlander" not in name.values[0]])
def test_every_message_has_the_size_that_its_port_declares(name):
    class Weighed(Loop):
        sizes = {}

        def _carry(self, model, link, src, dst, port, seq, message, now):
            self.sizes.setdefault(link, set()).add(message.payload.size)
            super()._carry(model, link, src, dst, port, seq, message, now)

    whole = brief(name)
    short = {"task.decisions": 5} if whole.task.decisions else {"task.episodes": 1}
    loop = run(whole.replace(short), Weighed)
    assert len(Weighed.sizes) > 0.5 * len(loop.plan.links)
    assert all(sizes == {payload_size(loop.plan, whole.task.streams, link)} for link, sizes in Weighed.sizes.items())


def test_nodes_of_a_layer_that_hear_each_other_within_a_step_are_refused(monkeypatch):
    kind = weight_max.HIDDEN
    monkeypatch.setattr(weight_max, "HIDDEN", kind._replace(hears=(*kind.hears, PEERS._replace(age=0))))
    with pytest.raises(ScenarioError, match=r"actor\.1: its nodes hear each other \(peers\) within one step"):
        plan(multiplexer("weight-max", SMALL))
