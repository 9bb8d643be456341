"""Promises of equal bits: what a run may depend on, and what it must not."""

import os
import subprocess
import sys

import numpy as np
import pytest

from asyncnet.loop.loop import Loop
from asyncnet.loop.message import REWARD
from asyncnet.loop.timekeeper import Virtual
from asyncnet.scenario.reading import condition
from support.places import ROOT
from support.teams import learners, multiplexer, run

RULES = pytest.mark.parametrize("rule", ["reinforce", "weight-max"])


@pytest.fixture(params=["readable", "compiled"])
def loop(request):
    """The class of every loop there is."""
    if request.param == "readable":
        return Loop
    return pytest.importorskip("asyncnet.loop.compiled.compiled_loop").CompiledLoop


def layers(finished):
    """The learned arrays of each layer, the columns of its nodes side by side, and the number of updates of every node."""
    found = {}
    for node in learners(finished):
        v = node.view
        assert v.updates[0] == finished.score.decisions - 1, "all but the last credit, which comes when the run is over"
        rows = found.setdefault(".".join(node.name.split(".")[:2]), {})
        for key in ("weight", "slots_weight", "bias", "slots_bias"):
            rows.setdefault(key, []).append(getattr(v, key))
    return {name: {key: np.concatenate(parts, axis=-1) for key, parts in rows.items()} for name, rows in found.items()}


def assert_same_bits(found, wanted):
    assert list(found) == list(wanted)
    for name, rows in wanted.items():
        for key, array in rows.items():
            assert found[name][key].shape == array.shape
            assert found[name][key].tobytes() == array.tobytes(), f"{name} {key}: off by {np.abs(found[name][key] - array).max()}"


def assert_learned(finished):
    """The run did something: every node's weights are not those it began with."""
    fresh = Loop(finished.scenario, Virtual())
    for old, new in zip(learners(fresh), learners(finished), strict=True):
        assert not np.array_equal(old.view.weight, new.view.weight)


# A team may be cut into nodes in any way. With periodic clocks, which node learns from s before it answers s + 1 depends on the clocks; so where
# phases differ, credit gets home before the next observation: either at once (REINFORCE) or because activity takes longer on its way.
SLOW = {"kind": "periodic", "period": 1.0}
SETTINGS = {
    "lock-step": {},
    "delay": {"links.default": {"delay": 0.5}},
    "phase-0-revise": {
        "clocks.default": {**SLOW, "phase": 0.0},
        "links.default": {"delay": 0.5},
        "task.world": {"waits": False, "interval": 6.0},
        "task.decisions": 300,
    },
    "random-phases-revise": {
        "clocks.default": SLOW,
        "links": {"reward": ({"delay": 0.5},), "feedback": ({"delay": 0.5},), "activity": ({"delay": 5.0},)},
        "task.world": {"waits": False, "interval": 28.0},
        "task.decisions": 150,
    },
}
SETTINGS["phase-0-all"] = SETTINGS["phase-0-revise"] | {"network.ready": "all"}
SETTINGS["random-phases-all"] = SETTINGS["random-phases-revise"] | {"network.ready": "all", "network.timeout": 50}


@RULES
@pytest.mark.parametrize("setting", list(SETTINGS))
def test_units_groups_and_layers_as_nodes_end_with_the_same_bits(setting, rule, loop):
    scenario = multiplexer(rule, SETTINGS[setting])
    whole = run(scenario, loop)
    assert_learned(whole)
    assert whole.score.on_time == whole.score.decisions
    wanted = layers(whole)
    for split, nodes in (("unit", 13), (3, 6)):
        cut = run(scenario.replace({"network.split": split}), loop)
        assert len(learners(cut)) == nodes
        assert cut.score.rewards.latest.tolist() == whole.score.rewards.latest.tolist()
        assert_same_bits(layers(cut), wanted)


@RULES
def test_a_softmax_output_stays_whole_when_the_layers_below_are_cut(rule, loop):
    scenario = multiplexer(rule, {"network.output": "softmax", "task.decisions": 500, "task.streams": 2})
    whole, cut = run(scenario, loop), run(scenario.replace({"network.split": "unit"}), loop)
    assert_learned(whole)
    assert len(learners(cut)) == 13
    assert_same_bits(layers(cut), layers(whole))


# Stamped credit does not mind delay.


class Heard(Loop):
    """A loop that writes down what the world heard for each decision, and what it paid."""

    def __init__(self, scenario, keeper):
        super().__init__(scenario, keeper)
        self.log, world = [], self.nodes[0]
        act = world.act

        def noted(*event):
            messages = act(*event)
            self.log += [(message.stamp, world.view.action.tolist(), message.payload.tolist()) for message in messages if message.channel == REWARD]
            return messages

        world.act = noted


DELAYS = {
    "reinforce": [{"default": ({"delay": delay},)} for delay in (0.0, 0.5, 1.0)],
    # Feedback climbs down while the next observation climbs up: credit is home first if it is the faster.
    "weight-max": [{"activity": ({"delay": a},), "feedback": ({"delay": c},), "reward": ({"delay": c},)} for a, c in ((0.0, 0.0), (0.5, 0.1), (1.0, 0.3))],
}
for each in DELAYS.values():
    each.append({"activity": ({"delay": {"kind": "uniform", "low": 0.4, "high": 1.8}},), "reward": ({"delay": 0.1},), "feedback": ({"delay": 0.1},)})


@RULES
@pytest.mark.parametrize("decay", [0.0, 0.8])
def test_stamped_credit_gives_the_same_samples_and_the_same_bits_under_any_delay_that_keeps_actions_on_time(rule, decay):
    base = multiplexer(rule, {"task.world": {"waits": False, "interval": 8.0}, "task.gamma": 0.9, "rule.lambda": decay, "task.streams": 2})
    runs = [run(base.replace({"links": links}), Heard) for links in DELAYS[rule]]
    assert_learned(runs[0])
    assert [stamp for stamp, _, _ in runs[0].log] == list(range(2000))
    assert len({str(actions) for _, actions, _ in runs[0].log}) == 4
    for late in runs[1:]:
        assert late.now > 0
        assert late.score.on_time == late.score.decisions == 2000
        assert late.log == runs[0].log
        assert late.digest() != runs[0].digest(), "times differ: it is not the same run"
        assert_same_bits(layers(late), layers(runs[0]))


def test_the_same_delays_with_trace_credit_change_the_weights():
    base = multiplexer("weight-max", {"task.world": {"waits": False, "interval": 8.0}, "rule.credit": "trace"})
    first, late = (run(base.replace({"links": {"default": ({"delay": delay},)}})) for delay in (0.0, 1.0))
    assert late.score.on_time == late.score.decisions
    assert not np.array_equal(learners(first)[0].view.weight, learners(late)[0].view.weight)


# A run depends on its scenario and its seed.

HARD = {
    "task.world": {"waits": False, "interval": 10.0},
    "task.decisions": 150,
    "network.split": "unit",
    "clocks.default": {"kind": "periodic", "period": 1.0, "jitter": 0.2, "drift": 0.05},
    "links.default": ({"delay": {"kind": "lognormal", "mean": 0.8, "sigma": 0.5}, "loss": 0.05},),
}


def test_the_same_seed_gives_the_same_digest_and_another_seed_another(loop):
    scenario = multiplexer("weight-max", HARD)
    digests = [run(each, loop).digest() for each in (scenario, scenario, scenario.replace(seed=4))]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("rule", ["reinforce", "weight-max"])
def test_the_order_in_which_nodes_are_built_changes_nothing(rule, loop):
    scenario = multiplexer(rule, HARD)
    forth, back = run(scenario, loop), run(scenario, loop, reverse=True)
    assert list(forth.nodes) == list(back.nodes)[::-1]
    assert forth.digest() == back.digest()
    assert forth.books.table().any()
    assert forth.books.table().tolist() == back.books.table().tolist()
    assert forth.score.rewards.latest.tolist() == back.score.rewards.latest.tolist()


def test_a_fault_laid_over_a_scenario_changes_no_initial_state():
    calm = multiplexer("weight-max")
    lossy = calm.under_layers([condition("lossy")])
    assert lossy.links.default[-1].loss > 0.0
    assert lossy.under == ("lossy",)
    first, second = Loop(calm, Virtual()), Loop(lossy, Virtual())
    assert all(np.abs(node.view.weight).max() > 0.0 for node in learners(first))
    assert first.digest() == second.digest()
    for made in first, second:
        made.run()
    assert first.digest() != second.digest()


SKIPS = HARD | {"network.inputs": {"actor.2": ["observation", "actor.1"], "actor.3": ["observation", "actor.1", "actor.2"]}}


@pytest.mark.parametrize("name", ["HARD", "SKIPS"])
def test_the_seed_of_hashes_changes_nothing(name):
    code = (
        "import sys; sys.path[:0] = ['tests', 'tests/team']\n"
        "from support.teams import multiplexer, run\n"
        f"from test_identity import {name}\n"
        f"print(run(multiplexer('weight-max', {name})).digest(), hash('asyncnet'))\n"
    )
    wanted, found = run(multiplexer("weight-max", globals()[name])).digest(), []
    for seed in "012":
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr
        found.append(done.stdout.split())
    assert {digest for digest, _ in found} == {wanted}
    assert len({number for _, number in found}) == 3
