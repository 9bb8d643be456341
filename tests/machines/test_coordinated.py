"""Coordinated exploration: its updates are the gradient, its nodes on their own clocks do what the reference does, and both ends of a pair agree."""

import numpy as np
import pytest

from asyncnet.kernels.chance import RESAMPLE, SAMPLE, identity, uniform_of
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import ACTIVITY, REWARD, TICK
from asyncnet.loop.timekeeper import Virtual
from asyncnet.rules.coordinated import MOST_DRAWS
from asyncnet.scenario.schema import ScenarioError
from asyncnet.team.build import build
from asyncnet.team.draw import plan
from support.reference_coordinated import Coordinated, check
from support.teams import TICKING, multiplexer, run

RULE, SWEEPS, UNITS = "coordinated-exploration", 4, 5
CRITIC = {"hidden": [4], "learning_rate": 0.01}
# Hidden units tick one after another within a tick, then the output; a decision takes six ticks.
PHASES = {"default": {"kind": "periodic", "phase": 0.5}, "actor.2": {"kind": "periodic", "phase": 0.9}}
PHASES |= {f"actor.1.{unit}": {"kind": "periodic", "phase": 0.1 + 0.1 * ((3 * unit) % UNITS)} for unit in range(UNITS)}
POISSON = {"default": {"kind": "poisson", "period": 1.0}}


def scenario(changes=None, /, **more):
    base = {
        "network.hidden": [UNITS],
        "network.split": "unit",
        "network.output": "softmax",
        "rule.sweeps": SWEEPS,
        "task.world": {"waits": False, "interval": 6.0},
        "task.gamma": 0.0,
        "task.decisions": 300,
        "critic": CRITIC,
        "clocks": PHASES,
    }
    return multiplexer(RULE, base | (changes or {}), **more)


class Watched(Loop):
    """A loop that writes down in their order: observations shown, ticks of the actor's nodes, TD errors."""

    def __init__(self, what):
        super().__init__(what, Virtual())
        self.story = []

    def _note(self, now, kind, dst, src, seq):
        name = self.plan.nodes[dst].name
        if kind == TICK and name.startswith("actor"):
            self.story.append(("tick", dst))

    def _write_tape(self):
        """Nothing is kept but the story."""

    def _send(self, src, message, now):
        if src == 0 and message.channel == ACTIVITY:
            self.story.append(("shown", message.stamp, message.payload[1:].copy()))
        if message.channel == REWARD and message.link < 0:
            self.story.append(("error", message.stamp, message.payload[0]))
        super()._send(src, message, now)


def pairs(loop):
    """The lateral weights of all units, (H, H)."""
    return np.concatenate([loop.nodes[i].view.lateral for i in sorted(loop.nodes) if "lateral" in loop.nodes[i].places])


@pytest.mark.parametrize("start", ["silent", "hold"])
def test_units_on_clocks_have_the_samples_actions_and_weights_of_the_reference(start):
    what = scenario({"rule.start": start, "rule.learning_rate": 0.05})
    loop = Watched(what)
    loop.tape = lambda rows: None
    hidden, output = [loop.nodes[1 + unit].view for unit in range(UNITS)], loop.nodes[1 + UNITS].view
    W, b = np.stack([view.weight[:, 0] for view in hidden], axis=1).copy(), np.array([view.bias[0] for view in hidden])
    team = Coordinated(W, b, output.weight.copy(), output.bias.copy(), what.rule.coupling, 0.05, start=start)
    first = [W.copy(), output.weight.copy()]
    loop.run()
    stamp, drawn, acted, learned = -1, [0] * UNITS, 0, 0
    for kind, *about in loop.story:
        if kind == "shown":
            if stamp >= 0:
                team.archive(stamp)
            stamp, drawn = about[0], [0] * UNITS
            team.observe(about[1])
        elif kind == "error":
            team.learn(*about)
            learned += 1
        elif about[0] == 1 + UNITS:
            if stamp >= 0 and sum(drawn):
                team.act(uniform_of(what.seed, SAMPLE, identity(2, 0), 0, stamp))
                acted += 1
        elif stamp >= 0 and drawn[unit := about[0] - 1] < SWEEPS:
            team.update(unit, uniform_of(what.seed, RESAMPLE, identity(1, unit), 0, stamp * MOST_DRAWS + drawn[unit]))
            drawn[unit] += 1
    assert learned > 290
    assert acted > 1500
    found = np.stack([view.weight[:, 0] for view in hidden], axis=1), output.weight
    for before, after, wanted in zip(first, found, (team.weights["W"], team.weights["V"]), strict=True):
        assert np.abs(after - before).min() > 1e-3
        assert after == pytest.approx(wanted, abs=1e-9)
    assert [view.bias[0] for view in hidden] == pytest.approx(team.weights["b"], abs=1e-9)
    assert np.abs(team.weights["L"]).max() > 0.1
    assert pairs(loop) == pytest.approx(team.weights["L"], abs=1e-9)


def test_the_references_expected_update_is_the_exact_gradient_if_the_baseline_depends_on_the_observation():
    for seed in range(3):
        errors, biased, moved = check(seed)
        assert max(errors.values()) < 1e-9
        assert min(biased[name] for name in ("W", "b", "L")) > 0.01, "without it the hidden weights' updates are another thing"
        assert moved < 1e-12, "the units' updates leave the Boltzmann law as it is"


@pytest.mark.parametrize("split", ["unit", 2, "layer"])
def test_both_ends_of_a_pair_learn_the_same_and_no_unit_hears_itself(split):
    loop = run(scenario({"network.split": split, "clocks": POISSON, "task.world.interval": 40.0, "links": {"default": {"delay": 0.3}}}), CompiledLoop)
    found = pairs(loop)
    assert found.shape == (UNITS, UNITS)
    assert np.array_equal(found, found.T)
    assert not np.diag(found).any()
    assert np.abs(found[~np.eye(UNITS, dtype=bool)]).min() > 1e-3


def test_a_pair_learns_from_what_was_said_about_that_observation_and_from_nothing_else():
    what = scenario()
    team = plan(what)
    node = build(what, team, team.nodes[1])
    node.view.bias[:] = 50.0  # it says 1, whatever it hears
    question, one = np.zeros(1 + team.inputs), np.array([0.0, 1.0])
    node.hear(0, ACTIVITY, 0, 1, 0, question)
    assert node.act(1)
    node.hear(2, ACTIVITY, 1, 1, 0, one)  # unit 1 says 1 about it, unit 2 about the next one, unit 3 is late, unit 4 says nothing
    node.hear(3, ACTIVITY, 2, 1, 1, one)
    node.hear(4, ACTIVITY, 0, 2, 1, question)
    node.act(5)
    node.hear(6, ACTIVITY, 3, 1, 0, one)
    node.hear(7, REWARD, 0, 1, 0, np.ones(1))
    node.act(8)
    moved = node.view.lateral[0].copy()
    assert (moved != 0.0).tolist() == [False, True, False, True, False], "late is not too late: its stamp says what it is about"
    node.hear(9, REWARD, 0, 2, 1, np.ones(1))
    node.act(10)
    assert node.view.lateral[0, 2] > 0.0


def test_a_unit_samples_so_often_for_an_observation_and_then_holds_its_value():
    loop = run(scenario({"task.world.interval": 30.0}), CompiledLoop)
    assert {int(loop.nodes[1 + unit].view.drawn[0]) for unit in range(UNITS)} == {SWEEPS}
    sent = run(scenario({"task.world.interval": 60.0}), CompiledLoop).books.sent.sum()
    assert sent == loop.books.sent.sum(), "who holds has nothing to say"


@pytest.mark.parametrize("sweeps", [1, 3])
def test_a_layer_that_is_silent_as_a_whole_says_so_and_no_decision_is_left_without_an_answer(sweeps):
    world = {"waits": True, "interval": 1.0}
    small = {"network.hidden": [2], "rule.sweeps": sweeps, "task.world": world, "clocks": POISSON, "rule.learning_rate": 0.0}
    loop = Loop(scenario(small), Virtual())
    for i in (1, 2):
        loop.nodes[i].view.bias[:] = -50.0  # never 1
    loop.run(until=10**8)
    assert loop.stopped == "finished"
    free = run(scenario({"network.hidden": [2], "rule.sweeps": sweeps, "task.world.interval": 30.0, "clocks": POISSON}), CompiledLoop)
    assert free.score.summary()["repeated"] < 0.01


def test_what_is_not_made_for_it_is_refused_by_its_key():
    for changes, key in (({"network.hidden": [4, 4]}, "network.hidden"), ({"clocks": {"default": {"kind": "on-arrival"}}}, "clocks.default")):
        with pytest.raises(ScenarioError, match=key):
            scenario(changes)


def test_without_coupling_no_unit_hears_another():
    alone, together = (run(scenario({"rule.coupling": coupling, "clocks": TICKING})) for coupling in (0.0, 0.5))
    assert not pairs(alone).any()
    assert pairs(together).any()
