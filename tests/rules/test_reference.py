"""The reference is right: it replays the published implementation's recordings, and its updates have the expectations that theory gives."""

import os
from pathlib import Path

import numpy as np
import pytest

from support.enumeration import exact_gradient, expectation, expected_reward
from support.places import GOLDEN as BUNDLED
from support.reference import Adam, Team, ValueNet, decisions_per_second, multiplexer, sections, train_gym, train_multiplexer

GOLDEN = Path(os.environ.get("ASYNCNET_GOLDEN", BUNDLED))
OUTPUTS = {2: None, 4: "softmax", 5: "bernoulli"}


def recordings(folder):
    """Every section of every file that a team or a critic can replay (relaxing nets, which record a variance, are not meant)."""
    return [
        pytest.param(section, id=f"{path.stem.removeprefix('golden_')}-{name}")
        for path in sorted(folder.glob("golden_*.npz"))
        for name, section in sections(path).items()
        if "weight_max" in section and "var" not in section
    ]


def adam_recordings(folder):
    """(gradients, rates, eps, steps) of every optimizer recording; the key names eps as a negative power of ten."""
    for path in sorted(folder.glob("golden_adam*.npz")):
        recorded = np.load(path)
        for key in recorded.files:
            if key.startswith("delta_e"):
                yield pytest.param(recorded["g"], recorded["lr"], 10.0 ** -int(key.removeprefix("delta_e")), recorded[key], id=f"{path.stem}-{key}")


def build(section):
    sizes, out = section["sizes"].astype(int).tolist(), OUTPUTS[int(section["out_type"])]
    beta1, beta2, eps = section["adam"]
    common = {"lr": section["lr"], "lam": float(section["lam"]), "eps": float(eps)}
    if out is None:
        net = ValueNet(sizes, **common)
    else:
        net = Team(sizes, out, temperature=section["temp"], weight_max=float(section["weight_max"]), **common)
    for level, adam in enumerate(net.adam):
        adam.beta1, adam.beta2 = beta1, beta2
        net.W[level][:], net.b[level][:] = section[f"W0_l{level}"], section[f"b0_l{level}"]
    return net


def replay(section):
    """The same keys as the recording, recomputed from its weights, inputs, rewards and draws."""
    net, steps, log = build(section), len(section["x"]), {}
    learn_first = len(section["W_l0"]) < steps

    def put(key, level, value):
        log.setdefault(f"{key}_l{level}", []).append(np.array(value))

    def learn(reward):
        net.learn(reward)
        for level in range(net.depth):
            U, adam = net.U[level], net.adam[level]
            put("unit_reward", level, np.broadcast_to(net.unit_reward[level], (len(U), U.shape[2])))
            put("wup", level, U[:, :-1])
            put("bup", level, U[:, -1])
            for kind, rows in (("w", slice(-1)), ("b", -1)):
                put("g" + kind, level, U.mean(0)[rows])
                put("d" + kind, level, adam.delta[rows])
                put("adam_m" + kind, level, adam.m[rows])
                put("adam_v" + kind, level, adam.v[rows])
            put("W", level, net.W[level])
            put("b", level, net.b[level])

    for s in range(steps):
        draws = [section[f"draw_l{level}"][s] for level in range(net.depth) if f"draw_l{level}" in section]
        net.forward(section["x"][s], *([draws] if draws else []))
        for level in range(net.depth):
            for key, value in (("h", net.h), ("mean", net.mean), ("pot", net.pot)):
                put(key, level, value[level])
            put("in", level, net.inputs[level][:, :-1])
        if learn_first and s:
            learn(section["reward"][s - 1])
        net.clear(section["keep"][s])
        net.record()
        for level in range(net.depth):
            put("wtr", level, net.z[level][:, :-1])
            put("btr", level, net.z[level][:, -1])
        if not learn_first:
            learn(section["reward"][s])
    return {key: np.array(values) for key, values in log.items()}


def error(found, wanted):
    """Largest absolute-or-relative deviation."""
    assert found.shape == wanted.shape
    return (np.abs(found - wanted) / np.maximum(1.0, np.abs(wanted))).max()


@pytest.mark.parametrize("section", recordings(GOLDEN))
def test_replay_reproduces_values_traces_unit_rewards_updates_moments_and_weights(section):
    found = replay(section)
    for level in range(len(section["sizes"]) - 1):
        for key in "W", "b":
            moved = [np.abs(weights[f"{key}_l{level}"][-1] - section[f"{key}0_l{level}"]).max() for weights in (found, section)]
            assert min(moved) > 1e-6, "a recording in which nothing is learned would show nothing"
    given = ("W0_l", "b0_l", "draw_l")
    recorded = {key for key in section if "_l" in key and not key.startswith(given)}
    assert recorded == set(found), "every recorded quantity is compared"
    worst = {key: error(found[key], section[key]) for key in recorded}
    assert max(worst.values()) <= 1e-9, sorted(worst.items(), key=lambda item: -item[1])[:5]


def test_the_bundled_recordings_hold_teams_and_critics_in_both_orders():
    found = [param.values[0] for param in recordings(BUNDLED)]
    assert {int(section["out_type"]) for section in found} == {2, 4, 5}
    assert {len(section["x"]) - len(section["W_l0"]) for section in found} == {0, 1}


@pytest.mark.parametrize(("g", "lr", "eps", "deltas"), list(adam_recordings(GOLDEN)))
def test_adam_reproduces_the_recorded_steps_across_the_end_of_its_bias_correction(g, lr, eps, deltas):
    assert len(g) > 1000
    assert np.abs(deltas).max() > 1e-3
    adam, found = Adam(g.shape[1:], 0.0, eps=eps), []
    for x, adam.lr in zip(g, lr, strict=True):
        found.append(adam.step(x) / adam.lr)
    assert error(np.array(found), deltas / lr[:, None, None]) <= 1e-9


def test_adam_rate_moves_linearly_to_its_end_and_stays_there():
    adam = Adam((1,), 0.5, 0.1, anneal=4)
    rates = [(adam.rate(), adam.step(np.ones(1)))[0] for _ in range(7)]
    assert rates == pytest.approx([0.4, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1])
    adam.lr_end, adam.anneal = 0.7, 0
    assert adam.rate() == 0.5


def test_multiplexer_target_is_the_addressed_data_bit():
    x, y = multiplexer(3, 200, np.random.default_rng(0))
    assert set(np.unique(x)) == {-1.0, 1.0}
    assert x.shape == (200, 11)
    for row, target in zip(x, y, strict=True):
        assert target == row[3 + int("".join("1" if bit > 0 else "0" for bit in row[:3]), 2)]


def tiny(out, scale, seed, bias=1.0):
    """A random 3-3-3-1 net (two columns and three actions if softmax) with an input and a reward table."""
    rng, shapes = np.random.default_rng(seed), [(3, 3), (3, 3), (3, 1 + (out == "softmax"))]
    W, b = [rng.normal(0, scale, shape) for shape in shapes], [bias * rng.normal(0, scale, shape[1]) for shape in shapes]
    return W, b, rng.choice([-1.0, 1.0], 3), rng.normal(size=2 + (out == "softmax"))


def expected_update(net, out, weight_max):
    """Exact expectation of the batch-averaged updates that a team hands to Adam; the rate is 0, so that the weights stay what they are."""
    W, b, x, rewards = net
    sizes = [len(x), *(w.shape[1] for w in W)]
    sizes[-1] += out == "softmax"
    team = Team(sizes, out, lr=0.0, weight_max=weight_max)
    for level in range(team.depth):
        team.W[level][:], team.b[level][:] = W[level], b[level]

    def estimator(x, h):
        team.forward(x, h)
        team.record()
        team.learn(rewards[int(h[-1].argmax() if out == "softmax" else h[-1][0, 0])])
        return [part for U in team.U for part in (U[0, :-1], U[0, -1])]

    return expectation(estimator, W, b, x, out)


@pytest.mark.parametrize("out", ["bernoulli", "softmax"])
def test_exact_gradient_agrees_with_finite_differences_of_the_exact_reward(out):
    W, b, x, rewards = tiny(out, 1.0, 5)
    gradient, h = exact_gradient(W, b, x, rewards, out), 1e-5
    for level, (w, c) in enumerate(zip(W, b, strict=True)):
        for p, g in ((w, gradient[2 * level]), (c, gradient[2 * level + 1])):
            index = tuple(n - 1 for n in p.shape)
            sides = []
            for shift in (h, -2 * h):
                p[index] += shift
                sides.append(expected_reward(W, b, x, rewards, out))
            p[index] += h
            assert g[index] == pytest.approx((sides[0] - sides[1]) / (2 * h), abs=1e-9)


@pytest.mark.parametrize("out", ["bernoulli", "softmax"])
def test_reinforce_update_is_unbiased(out):
    for seed in range(3):
        net = tiny(out, 1.0, seed)
        wanted, found = exact_gradient(*net, out), expected_update(net, out, weight_max=0)
        assert max(np.abs(g).max() for g in wanted) > 1e-2
        assert max(np.abs(f - g).max() for f, g in zip(found, wanted, strict=True)) < 1e-12


@pytest.mark.parametrize(("scale", "cosine", "slack"), [(0.1, 0.9999, 0.02), (0.5, 0.995, 0.2)])
def test_weight_max_points_along_the_gradient_and_doubles_it_at_each_layer_below_the_top(scale, cosine, slack):
    cosines, gains = [], []
    for seed in range(20):
        net = tiny("bernoulli", scale, seed, bias=0.0)
        wanted, found = (
            [np.concatenate([w.ravel(), c]) for w, c in zip(parts[::2], parts[1::2], strict=True)]
            for parts in (exact_gradient(*net), expected_update(net, "bernoulli", weight_max=2))
        )
        cosines.append([f @ g / np.linalg.norm(f) / np.linalg.norm(g) for f, g in zip(found, wanted, strict=True)])
        gains.append([np.linalg.norm(f) / np.linalg.norm(g) for f, g in zip(found, wanted, strict=True)])
    assert np.mean(cosines, axis=0).min() > cosine
    assert np.median(gains, axis=0) == pytest.approx([4.0, 2.0, 1.0], rel=slack)
    assert np.array(gains)[:, -1] == pytest.approx(1.0, abs=1e-9), "the output layer follows REINFORCE"


def test_training_loops_run_and_the_seed_fixes_their_results():
    assert train_multiplexer(1, 4000, 3)[1] > 0.5
    assert train_multiplexer(2, 600, 3) == train_multiplexer(2, 600, 3)
    returns = train_gym("CartPole-v1", 5, 3)
    assert returns == train_gym("CartPole-v1", 5, 3)
    assert len(returns) == 5
    assert min(returns) >= 8


@pytest.mark.parametrize("task", ["multiplexer", "cartpole"])
def test_speed_helper_counts_decisions(task):
    assert decisions_per_second(task, 0.05) > 100
