"""In lock-step asyncnet is the synchronous algorithm: whole trainings, beside the NumPy reference with the same initial weights and the same draws."""

import numpy as np
import pytest

from asyncnet.kernels.chance import SAMPLE, identity, uniform_of
from asyncnet.loop.loop import Loop
from asyncnet.loop.timekeeper import Virtual
from asyncnet.scenario.schema import check
from support.reference import IDBD, HeavyBall, Plain, RMSprop, Team, ValueNet
from support.teams import Listening, Probe, multiplexer, run

TOLERANCE = 1e-9


class KeyedDraws:
    """Stands where the reference has its random generator: the draws of asyncnet's units, layer after layer."""

    def __init__(self, seed):
        self.seed, self.stamp, self.layer = seed, -1, 0

    def next_decision(self):
        self.stamp, self.layer = self.stamp + 1, 0

    def random(self, shape):
        self.layer += 1
        return np.array([[uniform_of(self.seed, SAMPLE, identity(self.layer, j), b, self.stamp) for j in range(shape[1])] for b in range(shape[0])])


def follow(net, learner):
    """Have a reference net's weights follow their gradients as the learner's do."""
    name = learner.optimizer.name
    if name != "adam":
        kind = {"rmsprop": RMSprop, "idbd": IDBD}.get(name) or (HeavyBall if learner.optimizer.momentum else Plain)
        net.adam = [kind(adam.m.shape, adam.lr, adam.lr_end, adam.anneal) for adam in net.adam]


def reference_of(scenario):
    """The reference's team and critic (or None) with the weights that asyncnet's nodes begin with."""
    fresh, rule, critic = Loop(scenario, Virtual()), scenario.rule, None
    layers = [layer for layer in fresh.plan.layers if layer.team == "actor"]
    power = {"reinforce": 0, "weight-max": 2}[rule.name]
    common = {"lr": rule.learning_rate, "lr_end": rule.learning_rate_end, "anneal": rule.anneal, "eps": rule.EPSILON}
    sizes = [fresh.plan.inputs, *(layer.values for layer in layers)]
    team = Team(sizes, layers[-1].units, **common, temperature=rule.temperature, lam=scenario.task.gamma * rule.lambda_, weight_max=power)
    for level in range(len(layers)):
        view = fresh.nodes[level + 1].view
        team.W[level][:], team.b[level][:] = view.weight, view.bias
    team.rng = KeyedDraws(scenario.seed)
    follow(team, rule)
    if scenario.critic:
        own = scenario.critic
        common = {"lr": own.learning_rate, "lr_end": own.learning_rate_end, "anneal": own.anneal, "eps": own.EPSILON}
        critic = ValueNet([fresh.plan.inputs, *own.hidden, 1], **common, lam=scenario.task.gamma * own.lambda_)
        follow(critic, own)
        flat, at = fresh.nodes[len(layers) + 1].view.weight, 0
        for theta in critic.theta:
            theta[:] = flat[at : at + theta.size].reshape(theta.shape)
            at += theta.size
    return team, critic


def train(scenario, decisions):
    """The reference, free-running on the same task: (team, critic, rewards or TD errors, mean rewards)."""
    team, critic = reference_of(scenario)
    settings = scenario.task.model_dump(exclude={"streams", "world", "decisions", "episodes"})
    task, gamma = Probe(scenario.task.streams, scenario.seed, **settings), scenario.task.gamma
    softmax, told, rewards = scenario.network.output == "softmax", [], []
    before, value, episode = None, 0.0, task.episode.copy()
    for _ in range(decisions):
        team.rng.next_decision()
        h = team.forward(task.observation)
        actions = h.argmax(1) if softmax else h[:, 0].astype(int)
        if critic:  # the order of reinforcement learning: the TD error of a decision needs the value of the next
            v = critic.forward(task.observation).copy()
            if before is not None:
                reward, bootstrap, valid = before
                error = valid * (reward + gamma * bootstrap * v - value)
                critic.learn(error)
                team.learn(error)
                told.append(error.tolist())
            for net in (critic, team):
                net.clear((task.episode == episode).astype(float))
                net.record()
            value, episode = v, task.episode.copy()
        else:
            team.record()
        before = task.step(actions)[:3]
        rewards.append(before[0].mean())
        if not critic:
            told.append(before[0].tolist())
            if len(rewards) < decisions:  # asyncnet's world has finished when its last reward goes out
                team.learn(before[0])
    return team, critic, told, rewards


def compare(scenario):
    """A whole run and the reference's; returns the loop and how far its learned parameters moved at most, layer by layer."""
    loop = run(scenario, Listening)
    decisions = loop.score.decisions
    assert loop.score.on_time == decisions
    team, critic, told, rewards = train(scenario, decisions)
    assert loop.score.rewards.latest.tolist() == rewards
    first = Loop(scenario, Virtual())
    assert len(told) == decisions - bool(critic)
    assert np.abs(np.array(told) - np.array(loop.rewards)).max() <= TOLERANCE
    moved = []
    for level in range(team.depth):
        view = loop.nodes[level + 1].view
        assert view.updates[0] == decisions - 1
        for found, wanted in ((view.weight, team.W), (view.bias, team.b)):
            assert np.abs(found - wanted[level]).max() <= TOLERANCE
        moved.append(np.abs(view.weight - first.nodes[level + 1].view.weight).max())
    if critic:
        node = loop.nodes[team.depth + 1]
        assert node.view.updates[0] == decisions - 1
        assert np.abs(node.view.weight - np.concatenate([theta.ravel() for theta in critic.theta])).max() <= TOLERANCE
        moved.append(np.abs(node.view.weight - first.nodes[node.index].view.weight).max())
    return loop, moved


@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("output", ["bernoulli", "softmax"])
@pytest.mark.parametrize("rule", ["reinforce", "weight-max"])
def test_a_team_in_lock_step_ends_with_the_weights_of_the_synchronous_reference(rule, output, streams):
    scenario = multiplexer(rule, {"network.output": output, "task.streams": streams, "rule.temperature": (1.0, 0.8, 1.2)})
    loop, moved = compare(scenario)
    assert loop.score.decisions == 2000, "beyond the end of Adam's bias correction"
    assert min(moved) > 0.05


TASK = {"name": "gymnasium", "id": "CartPole-v1", "episodes": 30, "gamma": 0.98, "world": {"waits": True, "interval": 1.0}}
CARTPOLE = {
    "network": {"hidden": (16, 8), "output": "softmax"},
    "rule.learning_rate": (0.02, 0.0002, 0.0002),
    "rule.learning_rate_end": (0.0002, 0.00002, 0.00002),
    "rule.anneal": 400,
    "rule.lambda": 0.8,
}
CRITIC = {"hidden": (16, 8), "lambda": 0.8, "learning_rate": (0.04, 0.004, 0.004), "learning_rate_end": (0.004, 0.0004, 0.0004), "anneal": 600}


@pytest.mark.parametrize("credit", ["stamped", "trace"])
@pytest.mark.parametrize("rule", ["reinforce", "weight-max"])
def test_a_team_with_a_critic_in_lock_step_has_the_td_errors_and_weights_of_the_synchronous_reference(rule, credit):
    data = multiplexer(rule).data() | {"task": TASK, "critic": CRITIC | {"credit": credit}}
    scenario = check(data, "test").replace(CARTPOLE | {"rule.credit": credit})
    loop, moved = compare(scenario)
    assert loop.score.episodes == 30
    assert loop.score.decisions > 400
    assert min(moved) > 1e-3


OTHERS = {"rmsprop": {}, "sgd": {}, "heavy ball": {"name": "sgd", "momentum": 0.5}, "idbd": {"theta": 0.01}}


@pytest.mark.parametrize("optimizer", [{"name": name, **more} for name, more in OTHERS.items()], ids=OTHERS)
def test_weights_follow_their_gradients_as_another_optimiser_has_it(optimizer):
    first, last = {"rmsprop": (0.002, 0.0005), "idbd": (4e-4, 2e-4)}.get(optimizer["name"], (5e-5, 2e-5))
    rates = {"learning_rate": first, "learning_rate_end": last}
    data = multiplexer("weight-max").data() | {"task": TASK, "critic": CRITIC | rates | {"optimizer": optimizer}}
    changes = CARTPOLE | {f"rule.{key}": rate for key, rate in rates.items()} | {"rule.optimizer": optimizer, "task.episodes": 12}
    loop, moved = compare(check(data, "test").replace(changes))
    assert loop.score.decisions > 100
    assert min(moved) > 1e-4
    slots = [loop.nodes[i].view.slots_weight for i in loop.nodes if loop.plan.layer_of(i).learns]
    assert all(len(kept) == (2 if optimizer["name"] == "idbd" else 1) for kept in slots)
    assert all(kept.any(axis=(1, 2) if kept.ndim == 3 else 1).all() for kept in slots), "what it remembers plays a part"
    scenario = multiplexer("reinforce", {"rule.optimizer": optimizer, "rule.learning_rate": 0.01, "task.streams": 3})
    _, moved = compare(scenario)
    assert min(moved) > 1e-3
