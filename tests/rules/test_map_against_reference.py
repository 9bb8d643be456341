"""In phases asyncnet is synchronous MAP Propagation: whole trainings, beside the NumPy reference with the same initial weights and the same draws."""

import numpy as np
import pytest

from asyncnet.kernels.chance import SAMPLE, identity, uniform_of, words_of
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.loop import Loop
from asyncnet.loop.timekeeper import Virtual
from asyncnet.scenario.schema import check
from support.reference_map import MapNet
from support.teams import Listening, Probe, learners, multiplexer, run

TOLERANCE = 1e-9
RULE = "map-propagation"


class KeyedDraws:
    """Stands where a net of the reference has its random generator: the draws of asyncnet's units, layer after layer."""

    def __init__(self, seed, below):
        self.seed, self.below, self.stamp, self.layer = seed, below, -1, below

    def next_decision(self):
        self.stamp, self.layer = self.stamp + 1, self.below

    def random(self, shape):
        self.layer += 1
        return np.array([[uniform_of(self.seed, SAMPLE, identity(self.layer, 0), b, self.stamp)] for b in range(shape[0])])

    def standard_normal(self, shape):
        """Box-Muller over the four words of each draw."""
        self.layer += 1
        out = np.zeros(shape)
        for b, j in np.ndindex(*shape):
            w = [int(word) for word in words_of(identity(self.layer, j), b, self.stamp, SAMPLE << 24, self.seed, 0)]
            u, v = (((w[k] >> 5 << 26 | w[k + 1] >> 6) + 0.5 * (k == 0)) / 2.0**53 for k in (0, 2))
            out[b, j] = np.sqrt(-2.0 * np.log(u)) * np.cos(2.0 * np.pi * v)
        return out


def net_of(scenario, loop, learner, team, out):
    """The reference's net with the weights that asyncnet's nodes begin with; and the nodes."""
    layers = [layer for layer in loop.plan.layers if layer.team == team]
    nodes = [loop.nodes[loop.plan.nodes[[node.name for node in loop.plan.nodes].index(layer.name)].index] for layer in layers]
    sizes = [loop.plan.inputs, *(layer.columns for layer in layers)]
    net = MapNet(
        sizes,
        out,
        variance=learner.variance,
        temperature=learner.temperature[0],
        rounds=learner.rounds,
        step=learner.step,
        lr=learner.learning_rate,
        lr_end=learner.learning_rate_end,
        anneal=learner.anneal,
        lam=scenario.task.gamma * learner.lambda_,
        eps=learner.EPSILON,
    )
    for level, node in enumerate(nodes):
        net.W[level][:], net.b[level][:] = node.view.weight, node.view.bias
    net.rng = KeyedDraws(scenario.seed, layers[0].number - 1)
    return net, [node.index for node in nodes]


def assert_same(loop, scenario, pairs):
    fresh = Loop(scenario, Virtual())
    for net, indices in pairs:
        for level, index in enumerate(indices):
            view = loop.nodes[index].view
            assert np.abs(view.weight - net.W[level]).max() <= TOLERANCE
            assert np.abs(view.bias - net.b[level]).max() <= TOLERANCE
            assert np.abs(view.weight - fresh.nodes[index].view.weight).max() > 1e-3, "it learned"


@pytest.mark.parametrize("streams", [1, 3])
def test_a_team_in_phases_ends_with_the_weights_of_the_synchronous_reference(streams):
    scenario = multiplexer(RULE, {"network.output": "softmax", "task.streams": streams, "task.decisions": 400, "rule.rounds": 7})
    loop, fresh = run(scenario, Listening), Loop(scenario, Virtual())
    net, indices = net_of(scenario, fresh, scenario.rule, "actor", "softmax")
    task, rewards = Probe(streams, scenario.seed, name="multiplexer", k=2), []
    for n in range(400):
        net.rng.next_decision()
        action = net.forward(task.observation).argmax(1)
        net.relax()
        net.record()
        reward = task.step(action)[0]
        rewards.append(reward.mean())
        if n < 399:  # asyncnet's world has finished when its last reward goes out
            net.learn(reward)
    assert loop.score.rewards.latest.tolist() == rewards
    assert_same(loop, scenario, [(net, indices)])


def test_an_actor_and_a_critic_in_phases_have_the_td_errors_and_weights_of_the_synchronous_reference():
    common = {"name": RULE, "rounds": 5, "lambda": 0.9, "anneal": 300}
    data = multiplexer(RULE).data() | {
        "task": {"name": "gymnasium", "id": "CartPole-v1", "episodes": 12, "gamma": 0.98, "world": {"waits": True, "interval": 1.0}},
        "network": {"hidden": (12, 6), "units": "softplus", "output": "softmax"},
        "rule": common | {"learning_rate": (1e-2, 1e-3, 1e-3), "learning_rate_end": (1e-3, 1e-4, 1e-4), "temperature": 2.0, "variance": (0.03, 0.1)},
        "critic": common | {"hidden": (10, 5), "learning_rate": (2e-2, 2e-3, 2e-3), "variance": (0.03, 0.1, 0.1)},
    }
    scenario = check(data, "test")
    loop, fresh = run(scenario, Listening), Loop(scenario, Virtual())
    actor, critic = net_of(scenario, fresh, scenario.rule, "actor", "softmax"), net_of(scenario, fresh, scenario.critic, "critic", "linear")
    task, told = Probe(1, scenario.seed, name="gymnasium", id="CartPole-v1"), []
    before, value, episode = None, 0.0, task.episode.copy()
    for _ in range(loop.score.decisions):
        for net, _ in (actor, critic):
            net.rng.next_decision()
        action, v = actor[0].forward(task.observation).argmax(1), critic[0].forward(task.observation).copy()
        if before is not None:
            reward, bootstrap, valid = before
            error = valid * (reward + scenario.task.gamma * bootstrap * v - value)
            told.append(error.tolist())
        for net, _ in (actor, critic):
            if before is not None:
                net.learn(error)
            net.clear((task.episode == episode).astype(float))
            net.relax()
            net.record()
        value, episode = v, task.episode.copy()
        before = task.step(action)[:3]
    # One message to all of them carries a TD error where action and decision have the same stamp, as here.
    assert len(loop.rewards) == loop.score.decisions - 1 > 150
    assert np.abs(np.array(told) - np.array(loop.rewards)).max() <= TOLERANCE
    assert_same(loop, scenario, [actor, critic])


CRITIC = {"name": RULE, "hidden": (6, 4), "rounds": 4, "learning_rate": 0.01, "variance": 0.1}
TASK = {"name": "gymnasium", "id": "CartPole-v1", "episodes": 6, "gamma": 0.98}


def with_critic(delay=0.0, **more):
    network = {"hidden": (8, 4), "units": "softplus", "output": "softmax"}
    data = multiplexer(RULE).data() | {"task": TASK | {"world": {"waits": True, "interval": 1.0}}, "network": network, "critic": CRITIC}
    data["rule"] |= {"rounds": 4, "lambda": 0.9}
    return check(data, "test").replace({"links.default": {"delay": delay}, **more})


def learned(loop):
    """The learned arrays of each layer, the columns of its nodes side by side."""
    found = {}
    for node in learners(loop):
        for key in ("weight", "slots_weight", "bias"):
            found.setdefault((".".join(node.name.split(".")[:2]), key), []).append(getattr(node.view, key))
    return {name: np.concatenate(parts, axis=-1).tobytes() for name, parts in found.items()}


def test_phases_are_waves_of_messages_so_the_time_they_take_changes_no_bit():
    calm = run(with_critic())
    slow = run(with_critic(0.3, **{"task.world": {"waits": True, "interval": 50.0}}))
    assert slow.now > calm.now
    assert learned(calm) != learned(Loop(with_critic(), Virtual()))
    assert learned(slow) == learned(calm)


def test_layers_units_and_groups_in_phases_end_in_the_same_bits_in_both_loops():
    whole = run(with_critic(), CompiledLoop)
    assert learned(whole) != learned(Loop(with_critic(), Virtual()))
    for split in ("unit", 3):
        for loop in (Loop, CompiledLoop):
            cut = run(with_critic(**{"network.split": split}), loop)
            assert len(learners(cut)) > 10
            assert learned(cut) == learned(whole)
