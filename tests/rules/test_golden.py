"""The published synchronous algorithms come out of asyncnet's own nodes: recorded trajectories, replayed message by message.

$ASYNCNET_GOLDEN may name another folder of recordings; sizes, sections and settings are read from the files.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from support.places import GOLDEN as BUNDLED
from support.reference import sections, sigmoid
from support.scripted import Critic, Team, adam_steps

GOLDEN = Path(os.environ.get("ASYNCNET_GOLDEN") or BUNDLED)
TOLERANCE = 1e-9
LINEAR, SOFTMAX, BERNOULLI = 2, 4, 5  # recorded layer types
OUTPUTS = {SOFTMAX: "softmax", BERNOULLI: "bernoulli"}


def recordings(folder):
    """Those of Bernoulli teams and of a critic that learns by backprop; MAP Propagation's are in test_golden_map.py."""
    for path in sorted(folder.glob("golden_*.npz")):
        for name, section in sections(path).items():
            if "weight_max" in section and "var" not in section:
                yield pytest.param(section, id=f"{path.stem.removeprefix('golden_')}-{name}")


def adam_recordings(folder):
    """Every optimizer recording; the key names eps as a negative power of ten."""
    for path in sorted(folder.glob("golden_adam*.npz")):
        recorded = np.load(path)
        for key in recorded.files:
            if key.startswith("delta_e"):
                eps = 10.0 ** -int(key.removeprefix("delta_e"))
                yield pytest.param(recorded["g"], recorded["lr"], eps, recorded[key], id=f"{path.stem}-{key.removeprefix('delta_')}")


def build(section, credit):
    levels = range(len(section["sizes"]) - 1)
    start = [[section[f"{key}0_l{level}"] for level in levels] for key in "Wb"]
    settings = {"rates": section["lr"], "decay": float(section["lam"]), "credit": credit, "streams": section["x"].shape[1], "adam": section["adam"].tolist()}
    if int(section["out_type"]) == LINEAR:
        return Critic(*start, **settings)
    temperature = np.where(np.asarray(section["temp"]) == -1.0, 1.0, section["temp"])
    return Team(*start, OUTPUTS[int(section["out_type"])], **settings, temperature=temperature, power=float(section["weight_max"]))


def replay(section, credit):
    """{(key, level): {step: array}} under the recording's names, from nodes that get its inputs, draws and rewards."""
    net, steps, found = build(section, credit), len(section["x"]), {}
    reward_first = len(section["W_l0"]) < steps  # the order of reinforcement learning: the reward of s - 1 comes once s has been answered
    episodes = np.cumsum(section["keep"] == 0.0, axis=0)
    rolled = credit == "trace" or float(section["lam"]) > 0.0

    def put(step, rows):
        for level, row in enumerate(rows):
            for key, array in row.items():
                found.setdefault((key, level), {})[step] = np.array(array)

    def reward(now, s):
        net.reward(now, s, section["reward"][s])
        put(s, net.parameters())
        if isinstance(net, Team):
            put(s, [{"unit_reward": told} for told in net.unit_reward])
        if rolled and credit == "stamped" and s:
            put(s - 1, net.traces())

    for s in range(steps):
        draws = [section[f"draw_l{level}"][s] for level in range(net.depth) if f"draw_l{level}" in section]
        net.observe(10 * s, s, section["x"][s], draws, episodes[s].astype(float))
        put(s, net.values())
        if rolled and credit == "trace" and s:
            put(s - 1, net.traces())
        if not reward_first:
            reward(10 * s + 5, s)
        elif s:
            reward(10 * s, s - 1)
    return found


def error(found, wanted):
    """Largest absolute-or-relative deviation."""
    assert found.shape == wanted.shape
    return float((np.abs(found - wanted) / np.maximum(1.0, np.abs(wanted))).max())


@pytest.mark.parametrize("credit", ["stamped", "trace"])
@pytest.mark.parametrize("section", list(recordings(GOLDEN)))
def test_nodes_reproduce_values_traces_unit_rewards_moments_and_weights_of_the_recording(section, credit):
    found, levels = replay(section, credit), range(len(section["sizes"]) - 1)
    for key in "Wb":
        for level in levels:
            history = found[key, level]
            for last in history[max(history)], section[f"{key}_l{level}"][-1]:
                assert np.abs(last - section[f"{key}0_l{level}"]).max() > 1e-6, "a recording in which nothing is learned would show nothing"
    wanted = {(key, level): section[f"{key}_l{level}"] for key, level in found if key != "slope"}
    critic = int(section["out_type"]) == LINEAR
    for level in levels if critic else ():
        pot = section[f"pot_l{level}"]
        wanted["slope", level] = sigmoid(pot) if level < levels[-1] else np.ones_like(pot)
    assert set(wanted) == set(found)
    keys = {"W", "b", "adam_mw", "adam_mb", "adam_vw", "adam_vb", "h", "mean", "in", *(("slope",) if critic else ("pot", "unit_reward"))}
    assert keys <= {key for key, _ in found}
    for key in ("W", "h"):
        assert [len(found[key, level]) for level in levels] == [len(section[f"{key}_l{level}"]) for level in levels], "every step is compared"
    worst = {(*name, step): error(array, wanted[name][step]) for name, history in found.items() for step, array in history.items()}
    assert max(worst.values()) <= TOLERANCE, sorted(worst.items(), key=lambda item: -item[1])[:5]


def test_the_bundled_recordings_hold_both_rules_both_outputs_a_critic_traces_and_both_orders():
    found = [param.values[0] for param in recordings(BUNDLED)]
    assert {int(section["out_type"]) for section in found} == {LINEAR, SOFTMAX, BERNOULLI}
    assert {float(section["weight_max"]) for section in found if section["out_type"] != LINEAR} == {0.0, 2.0, 3.0}
    assert {len(section["x"]) - len(section["W_l0"]) for section in found} == {0, 1}
    assert any((section["keep"] == 0.0).any() and section["lam"] > 0.0 for section in found)


@pytest.mark.parametrize(("g", "rates", "eps", "deltas"), list(adam_recordings(GOLDEN)))
def test_adam_reproduces_the_recorded_steps_across_the_end_of_its_bias_correction(g, rates, eps, deltas):
    assert len(g) > 1000
    assert np.abs(deltas).max() > 1e-3
    flat = g.reshape(len(g), -1)
    found = np.zeros_like(flat)
    adam_steps(flat, rates, eps, found)
    scale = rates[:, None]
    assert error(found / scale, deltas.reshape(flat.shape) / scale) <= TOLERANCE
