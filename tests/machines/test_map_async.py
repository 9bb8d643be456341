"""Asynchronous MAP Propagation against its equations, written out here in NumPy."""

import numpy as np
import pytest

from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import ACTIVITY, FEEDBACK, REWARD
from asyncnet.loop.timekeeper import Virtual
from asyncnet.scenario.schema import ScenarioError, check
from asyncnet.team.build import build
from asyncnet.team.draw import plan
from support.teams import TICKING, learners, multiplexer, run

RULE = "map-propagation-async"
STREAMS = 2


def team(changes=None, /, **more):
    return multiplexer(RULE, {"network.output": "softmax", "task.streams": STREAMS, "rule.variance": [0.3, 1.0], **(changes or {})}, **more)


def node_of(scenario, name):
    drawn = plan(scenario)
    return build(scenario, drawn, next(node for node in drawn.nodes if node.name == name))


def softplus(x):
    return np.logaddexp(0.0, x)


def tell(node, now, stamp, x, seq=1):
    return node.hear(now, ACTIVITY, 0, seq, stamp, np.concatenate((np.zeros(STREAMS), np.ravel(x))))


def messages_of(node, now):
    return {message.channel: message for message in node.act(now)}


def with_gate(told):
    """Feedback as a node without a gate sends it: the pieces of all streams, then a 1 for each."""
    return np.concatenate((np.ravel(told), np.ones(STREAMS)))


def parted(message):
    """(gate, pieces) of feedback."""
    return message.payload[-STREAMS:], message.payload[:-STREAMS].reshape(STREAMS, -1)


def density(h, x, w, b, variance, above):
    """log Pr(h | x) + log Pr(above | h) up to a constant, for the units of one stream; `above` holds (weights, bias, variance, values)."""
    upper, bias, spread, values = above
    below = -0.5 * np.sum((h - softplus(x @ w + b)) ** 2) / variance
    return below - 0.5 * np.sum((values - softplus(h @ upper + bias)) ** 2) / spread


@pytest.mark.parametrize("start", ["zero", "sample", "mean"])
def test_a_new_observation_starts_the_units_as_said(start):
    node = node_of(team({"rule.start": start}), "actor.1")
    x = np.random.default_rng(1).normal(size=(STREAMS, 6))
    tell(node, 1, 0, x)
    message = messages_of(node, 2)[ACTIVITY]
    mean = softplus(x @ node.view.weight + node.view.bias)
    h = message.payload[STREAMS:].reshape(STREAMS, -1)
    assert np.array_equal(h, node.view.y)
    if start == "zero":
        assert (h == 0.0).all()
    elif start == "mean":
        assert np.allclose(h, mean, rtol=1e-12)
    else:
        assert 0.05 < np.std(h - mean) < 2.0 * np.sqrt(0.3)


def test_each_tick_goes_up_the_slope_of_the_joint_density_by_half_its_variance():
    rng = np.random.default_rng(2)
    node = node_of(team({"task.streams": STREAMS}), "actor.1")
    x, upper, bias, values = rng.normal(size=(STREAMS, 6)), rng.normal(size=(8, 4)), rng.normal(size=4), rng.normal(size=(STREAMS, 4))
    tell(node, 1, 0, x)
    node.act(2)
    for tick in range(3, 6):
        h = node.view.y.copy()
        pot = h @ upper + bias
        told = ((values - softplus(pot)) / (1.0 + np.exp(-pot)) / 1.0) @ upper.T
        node.hear(tick, FEEDBACK, 0, tick, 0, with_gate(told))
        node.act(tick)
        slope = np.zeros_like(h)
        for b, j in np.ndindex(*h.shape):
            step = np.zeros(8)
            step[j] = 1e-6
            at = (x[b], node.view.weight, node.view.bias, 0.3, (upper, bias, 1.0, values[b]))
            slope[b, j] = (density(h[b] + step, *at) - density(h[b] - step, *at)) / 2e-6
        assert np.abs(slope).min() > 0.0
        assert np.allclose(node.view.y - h, 0.5 * 0.3 * slope, rtol=1e-5, atol=1e-8)


def test_feedback_about_another_observation_does_not_count_and_older_feedback_never_replaces_newer():
    first, second = (node_of(team(), "actor.1") for _ in range(2))
    x, told = np.ones((STREAMS, 6)), with_gate(np.full((STREAMS, 8), 0.7))
    for node in (first, second):
        tell(node, 1, 3, x)
        node.act(2)
    first.hear(3, FEEDBACK, 0, 9, 2, told)  # about observation 2
    for node in (first, second):
        node.act(4)
    assert np.array_equal(first.view.y, second.view.y)
    first.hear(5, FEEDBACK, 0, 12, 3, told)
    first.hear(5, FEEDBACK, 0, 11, 3, -told)
    second.hear(5, FEEDBACK, 0, 11, 3, told)
    for node in (first, second):
        node.act(6)
    assert np.array_equal(first.view.y, second.view.y)
    second.act(7)
    assert not np.array_equal(first.view.y, second.view.y), "it goes on settling"


def test_what_a_node_tells_its_inputs_is_its_error_times_its_weights_at_every_tick():
    node = node_of(team(), "actor.2")
    x = np.random.default_rng(3).normal(size=(STREAMS, 8))
    tell(node, 1, 0, x)
    for now in (2, 3):
        told = messages_of(node, now)[FEEDBACK]
        v, w, pot = node.view, node.view.weight, x @ node.view.weight + node.view.bias
        error = (v.y - softplus(pot)) / (1.0 + np.exp(-pot)) / 1.0
        assert np.allclose(parted(told)[1], error @ w.T, rtol=1e-10, atol=1e-12)
        assert np.abs(error).min() > 0.0
        assert told.stamp == 0


def test_the_output_samples_once_and_holds_while_its_error_follows_its_inputs():
    node = node_of(team(), "actor.3")
    tell(node, 1, 0, np.zeros((STREAMS, 4)))
    first = messages_of(node, 2)
    action = node.view.y.copy()
    tell(node, 3, 0, np.full((STREAMS, 4), 2.0), seq=2)
    second = messages_of(node, 4)
    assert np.array_equal(first[ACTIVITY].payload, second[ACTIVITY].payload)
    assert np.array_equal(node.view.y, action)
    assert not np.array_equal(first[FEEDBACK].payload, second[FEEDBACK].payload)
    logits = np.full((STREAMS, 4), 2.0) @ node.view.weight + node.view.bias
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(node.view.archive_e[0], action - p, rtol=1e-12)


def test_reward_moves_weights_by_reward_times_input_times_error_of_the_sample_it_names():
    node = node_of(team({"rule.learning_rate": 0.01}), "actor.1")
    x = np.random.default_rng(4).normal(size=(STREAMS, 6))
    for stamp, sight in enumerate((x, -x)):
        tell(node, 10 * stamp + 1, stamp, sight, seq=stamp)
        node.act(10 * stamp + 2)
    reward, error = np.array([1.0, -0.5]), node.view.archive_e[0].copy()
    before = node.view.weight.copy()
    node.hear(20, REWARD, 0, 1, 0, reward)
    node.act(21)
    gradient = np.einsum("b,bi,bj->ij", reward, x, error) / STREAMS
    assert np.abs(gradient).min() > 0.0
    assert np.allclose(node.view.weight - before, 0.01 * gradient / (np.abs(gradient) + 1e-9), rtol=1e-8)


@pytest.mark.parametrize("delay", [0.0, 0.5])
def test_a_layer_and_its_units_end_in_the_same_bits(delay):
    changes = {"task.decisions": 300, "task.world": {"waits": False, "interval": 12.0}, "links": {"default": ({"delay": delay},)}}
    whole, cut = (run(team(changes | {"network.split": split}), CompiledLoop) for split in ("layer", "unit"))
    for layer in ("actor.1", "actor.2"):
        together = next(node for node in learners(whole) if node.name == layer).view.weight
        apart = np.column_stack([node.view.weight for node in learners(cut) if node.name.startswith(layer)])
        assert np.array_equal(together, apart)
        fresh = node_of(team(changes), layer).view.weight
        assert not np.array_equal(together, fresh)


def test_both_loops_end_in_the_same_bits_under_hardship():
    scenario = team(
        {"task.decisions": 120, "task.world": {"waits": False, "interval": 12.0}, "clocks.default": {"kind": "periodic", "period": 1.0, "jitter": 0.3}},
        links={"default": ({"delay": {"kind": "lognormal", "mean": 0.8, "sigma": 0.5}, "loss": 0.1},)},
    )
    assert run(scenario, Loop).digest() == run(scenario, CompiledLoop).digest()


# What credit is multiplied with, where no stamp says it


def ticks(node, inputs, told, first=2, stamp=0):
    """Let a node hear an observation and feedback about it, and tick; gives (h, error, dh, gate) of every tick."""
    tell(node, first - 1, stamp, inputs, seq=first)
    before, seen = node.view.y.copy(), []
    for now in range(first, first + 5):
        if now > first:
            node.hear(now, FEEDBACK, 0, now, stamp, with_gate(told))
        node.act(now)
        h = node.view.y.copy()
        pot = inputs @ node.view.weight + node.view.bias
        error = (h - softplus(pot)) / (1.0 + np.exp(-pot)) / 0.3
        seen.append((error, h - before))
        before = h
    return seen


@pytest.mark.parametrize("gamma_per", ["tick", "decision"])
def test_the_motion_gated_trace_grows_while_a_unit_is_still_and_fades_from_tick_to_tick(gamma_per):
    beta, kappa, floor, lam, gamma = 0.6, 50.0, 1e-3, 0.9, 0.8
    settings = {"credit": "motion", "beta": beta, "kappa": kappa, "floor": floor, "lambda": lam, "gamma_per": gamma_per}
    node = node_of(team({**{f"rule.{key}": value for key, value in settings.items()}, "task.gamma": gamma}), "actor.1")
    rng = np.random.default_rng(5)
    g, z = np.zeros((STREAMS, 8)), np.zeros((STREAMS, 6, 8))
    for stamp in range(2):
        x, told = rng.normal(size=(STREAMS, 6)), rng.normal(size=(STREAMS, 8))
        for n, (error, moved) in enumerate(ticks(node, x, told, 2 + 10 * stamp, stamp)):
            g = beta * g + (1.0 - beta) * moved
            fades = 0.0 if stamp == n == 0 else lam * (gamma if gamma_per == "tick" or n == 0 else 1.0)
            z = fades * z + x[:, :, None] * (error / (floor + kappa * g**2))[:, None, :]
    assert np.abs(z).min() > 0.0
    assert np.allclose(node.view.z_weight, z, rtol=1e-9)
    before, reward = node.view.weight.copy(), np.array([1.0, -2.0])
    node.hear(40, REWARD, 0, 1, 7, reward)  # no stamp is asked for
    node.act(41)
    gradient = np.einsum("b,bij->ij", reward, z) / STREAMS
    assert np.allclose(node.view.weight - before, 0.01 * gradient / (np.abs(gradient) + 1e-9), rtol=1e-8)


def test_the_trace_per_unit_of_time_fades_with_the_time_between_ticks():
    node = node_of(team({"rule.credit": "time", "rule.tau": 0.004}), "actor.1")  # 4 microseconds
    x, told = np.random.default_rng(6).normal(size=(STREAMS, 6)), np.random.default_rng(7).normal(size=(STREAMS, 8))
    z = np.zeros((STREAMS, 6, 8))
    for n, (error, _) in enumerate(ticks(node, x, told)):
        share = (1.0 if n else 2.0) / 4.0
        z = np.exp(-share) * z * (n > 0) + share * x[:, :, None] * error[:, None, :]
    assert np.abs(z).min() > 0.0
    assert np.allclose(node.view.z_weight, z, rtol=1e-9)


# Value networks


def value_team(gate):
    critic = {"name": RULE, "hidden": (8, 4), "gate": gate, "variance": (0.3, 1.0, 0.5), "learning_rate": 0.01}
    data = team().data() | {"critic": critic, "task": {"name": "gymnasium", "id": "Acrobot-v1", "streams": STREAMS, "episodes": 3}}
    data["task"]["world"] = {"waits": False, "interval": 8.0}
    return check(data, "test")


@pytest.mark.parametrize("gate", ["inverse", "difference"])
def test_a_value_network_says_its_mean_and_its_gate_comes_down_with_the_feedback(gate):
    rng, scenario = np.random.default_rng(8), value_team(gate)
    nodes = [node_of(scenario, f"critic.{number}") for number in (1, 2, 3)]
    h = rng.normal(size=(STREAMS, 4))
    tell(nodes[2], 1, 0, h)
    first = messages_of(nodes[2], 2)
    mean = (h @ nodes[2].view.weight + nodes[2].view.bias)[:, 0]
    drawn = nodes[2].view.drawn[:, 0]
    assert np.allclose(first[ACTIVITY].payload[STREAMS:], mean, rtol=1e-12)
    assert (np.abs(drawn - mean) > 1e-3).all()
    tell(nodes[2], 3, 0, h + 0.1, seq=2)
    later = messages_of(nodes[2], 4)
    now = ((h + 0.1) @ nodes[2].view.weight + nodes[2].view.bias)[:, 0]
    assert np.array_equal(later[ACTIVITY].payload, first[ACTIVITY].payload), "the value is that of the decision"
    wanted = 1.0 / (drawn - now) if gate == "inverse" else drawn - mean
    told, pieces = parted(later[FEEDBACK])
    assert np.allclose(told, wanted, rtol=1e-9)
    assert np.allclose(pieces, ((drawn - now) / 0.5)[:, None] * nodes[2].view.weight[:, 0], rtol=1e-9)
    below = rng.normal(size=(STREAMS, 8))
    tell(nodes[1], 1, 0, below)
    nodes[1].act(2)
    assert (nodes[1].view.archive_e[0] == 0.0).all(), "no credit before the gate is known"
    nodes[1].hear(3, FEEDBACK, 0, 1, 0, later[FEEDBACK].payload)
    passed, _ = parted(messages_of(nodes[1], 4)[FEEDBACK])
    assert np.array_equal(passed, told)
    assert np.abs(nodes[1].view.archive_e[0]).min() > 0.0
    assert np.allclose(nodes[1].view.archive_e[0], wanted[:, None] * nodes[1].view.error, rtol=1e-12)


def test_a_team_with_a_critic_of_its_own_kind_runs_without_backprop_and_the_same_in_both_loops():
    scenario = value_team("inverse").replace({"task.streams": 1, "links.default": {"delay": 0.5}, "task.id": "CartPole-v1"})
    both = [run(scenario, loop) for loop in (Loop, CompiledLoop)]
    assert {layer.team for layer in both[0].plan.layers} == {"world", "actor", "critic", "dopamine"}
    assert both[0].digest() == both[1].digest()
    fresh = Loop(scenario, Virtual())
    for node in learners(both[0]):
        assert not np.array_equal(node.view.weight, fresh.nodes[node.index].view.weight), f"{node.name} learned"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"rule.gate": "inverse"}, "rule.gate"),
        ({"clocks": {"default": {"kind": "on-arrival"}}}, "clocks"),
        ({"clocks": TICKING | {"actor.1": {"kind": "on-arrival"}}}, "clocks"),
        ({"network.units": "bernoulli"}, "network.units"),
        ({"network.ready": "revise"}, "network.ready"),
        ({"rule.variance": [0.1, 0.2, 0.3]}, "rule.variance"),
        ({"rule.variance": 0.0}, "rule.variance"),
    ],
)
def test_a_team_that_cannot_settle_is_refused(changes, key):
    with pytest.raises(ScenarioError, match=key):
        team(changes)
