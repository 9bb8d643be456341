"""MAP Propagation as published comes out of asyncnet's own nodes and loop: recorded trajectories, every message sent and delivered.

$ASYNCNET_GOLDEN may name another folder of recordings; sizes, sections and settings are read from the files.
"""

import os
from heapq import heappush
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from asyncnet.loop.loop import Loop
from asyncnet.loop.message import ACTIVITY, REWARD, TURN, Message
from asyncnet.loop.timekeeper import Virtual
from asyncnet.nodes.outbox import LOOK
from asyncnet.rules import map_propagation
from asyncnet.scenario.schema import check
from asyncnet.tasks.parts import Spaces
from support import golden_settling
from support.places import GOLDEN as BUNDLED
from support.reference import sections

GOLDEN = Path(os.environ.get("ASYNCNET_GOLDEN") or BUNDLED)
UNITS = {0: "softplus", 1: "relu", 2: "linear"}
LINEAR, SOFTMAX = 2, 4  # recorded output types


def recordings():
    for path in sorted(GOLDEN.glob("golden_*.npz")):
        for name, section in sections(path).items():
            if "var" in section:
                yield pytest.param(section, name, id=f"{path.stem.removeprefix('golden_')}-{name}")


class Recorded:
    """Stands where the loop has its world: shows the recorded inputs and pays the recorded rewards, in the recorded order."""

    name, index, identity = "world", 0, 0

    def __init__(self, section, inputs):
        self.section, self.inputs, self.steps = section, inputs, len(section["x"])
        self.reward_first = len(section.get("W_l0", section["x"])) < self.steps  # reinforcement learning: that of s - 1 comes once s has been answered
        self.learns = "W_l0" in section
        self.episodes = np.cumsum(section["keep"] == 0.0, axis=0).astype(float)
        self.score, self.flags, self.turns, self.answers = SimpleNamespace(rows=[], finished=False), 0, 0, []

    def hear(self, now, channel, port, seq, stamp, payload):
        self.flags = 0
        self.answers.append((stamp, payload.copy()))
        return ()

    def act(self, now, seq):
        s, late = divmod(self.turns, 2)
        self.turns, again = self.turns + 1, Message(TURN, now + 5, np.zeros(0))
        self.score.finished = self.turns > 2 * self.steps
        self.flags = LOOK * self.score.finished
        if self.score.finished:
            return []
        if not late:
            return [again, Message(ACTIVITY, s, np.concatenate((self.episodes[s], self.inputs[s].ravel())))]
        return [again, *([Message(REWARD, s, self.section["reward"][s].copy())] if self.learns and not self.reward_first else [])]

    def look(self, now):
        """Nothing to take."""


class Replay(Loop):
    """A team whose weights, inputs, draws and rewards are those of a recording; `found[key, level][step, round]` is what it then does."""

    def __init__(self, scenario, section, inputs, reward_first):
        self.depth = len(section["sizes"]) - 1
        super().__init__(scenario, Virtual(), range(1, self.depth + 1))
        self.nodes[0] = Recorded(section, inputs)
        self.score = self.nodes[0].score
        heappush(self.agenda, (0, TURN, 0, 0, 0, 0, None, 0))
        self.section, self.found = section, {}
        for level in range(self.depth):
            node = self.nodes[level + 1]
            node.config = node.config.copy()
            node.config[len(node.bound.dimensions) + [name for name, _ in node.bound.settings].index("awaits")] = float(reward_first)
            node.view.weight[:], node.view.bias[:] = section[f"W0_l{level}"], section[f"b0_l{level}"]
            node.hear = self._watched(node, level, node.hear)

    def _put(self, key, level, step, array):
        self.found.setdefault((key, level), {})[step] = np.array(array)

    def _pay(self, stamp, now):
        """The TD error of the decision before, in the instant in which this one was made."""
        for level in range(self.depth):
            heappush(self.agenda, (now, REWARD, level + 1, 0, stamp, stamp, self.section["reward"][stamp].copy(), 0))

    def _watched(self, node, level, hear):
        view, section = node.view, self.section

        def watched(now, channel, port, seq, stamp, payload):
            forward = np.asarray(section[f"draw_l{level}"])
            view.script[:] = forward if forward.ndim == 2 else forward[min(stamp, len(forward) - 1)]
            if "draw_out" in section and level == self.depth - 1:
                draws = section["draw_out"][int(max(view.stamp[0], stamp if channel == ACTIVITY else 0))]
                view.redraws[: len(draws)] = draws
            before = int(view.stamp[0]), int(view.round[0])
            messages = hear(now, channel, port, seq, stamp, payload)
            after = int(view.stamp[0]), int(view.round[0])
            if channel == REWARD:
                (mw, vw), (mb, vb) = view.slots_weight, view.slots_bias
                for name, array in {"W": view.weight, "b": view.bias, "adam_mw": mw, "adam_vw": vw, "adam_mb": mb, "adam_vb": vb}.items():
                    self._put(name, level, stamp, array)
            after = after[0], min(after[1], int(section["T"]))
            if after != before:
                gaussian_output = level == self.depth - 1 and section["out_type"] == LINEAR
                self._put("h", level, after, view.drawn if gaussian_output else view.y)
                self._put("mean", level, after, view.mean)
                self._put("pot", level, after, view.pot)
                self._put("in", level, after[0], view.archive_x[after[0] % len(view.archive_x)])
                if after[0] != before[0] and after[0] > 0:
                    self._put("wtr", level, after[0] - 1, view.z_weight)
                    self._put("btr", level, after[0] - 1, view.z_bias)
                if level == self.depth - 1 and after[1] == int(section["T"]):
                    self._put("gate", 0, after[0], view.gate)
                elif level == self.depth - 1 and self.nodes[0].reward_first and after[0] > before[0] >= 0:
                    self._pay(before[0], now)
            return messages

        return watched


def replay(section, name, credit, monkeypatch):
    inputs = section["x"] if name != "asis" else np.repeat(section["x"][:1], len(section["x"]), axis=0)  # there the peer never takes the new ones in
    linear, asynchronous = int(section["out_type"]) == LINEAR, "draw_out" in section
    monkeypatch.setattr("asyncnet.tasks.spaces", lambda task: Spaces(int(section["sizes"][0]), int(section["sizes"][-1]), linear))
    for kind in ("HIDDEN", "OUTPUT"):
        monkeypatch.setattr(map_propagation, kind, getattr(map_propagation, kind)._replace(kernels=golden_settling.__name__))
    beta1, beta2, epsilon = section["adam"].tolist()
    rule = {
        "name": "map-propagation",
        "rounds": int(section["T"]),
        "step": float(section["update_size"][0] / section["var"][0]),
        "start": "zero" if asynchronous else "sample",
        "decide": int(section["T"]) if asynchronous else 0,
        "credit": credit,
        "lambda": float(section["lam"]),
        "learning_rate": section["lr"].tolist(),
        "temperature": max(1.0, float(np.max(section["temp"]))),
        "variance": section["var"].tolist() if linear else section["var"][:-1].tolist(),
        "gate": "inverse" if (section["gate"] != 1.0).any() else "none",
        "optimizer": {"beta1": beta1, "beta2": beta2, "epsilon": epsilon},
    }
    sizes = section["sizes"].astype(int).tolist()
    task = {"name": "regression" if linear else "multiplexer", "decisions": 10, "streams": section["x"].shape[1], "world": {"waits": True, "interval": 1}}
    if not linear:
        task["k"] = 2
    network = {"hidden": sizes[1:-1], "units": UNITS[int(section["hid_type"])], "output": "linear" if linear else "softmax"}
    scenario = check({"name": "golden", "seed": 1, "tick": 1, "task": task, "network": network, "rule": rule}, "golden")
    reward_first = "W_l0" in section and len(section["W_l0"]) < len(section["x"])
    made = Replay(scenario, section, inputs, reward_first)
    made.run()
    return made


def error(found, wanted):
    """Largest absolute-or-relative deviation."""
    assert found.shape == wanted.shape
    return float((np.abs(found - wanted) / np.maximum(1.0, np.abs(wanted))).max())


@pytest.mark.parametrize("credit", ["stamped", "trace"])
@pytest.mark.parametrize(("section", "name"), list(recordings()))
def test_nodes_reproduce_every_round_trace_gate_moment_and_weight_of_the_recording(section, name, credit, monkeypatch):
    made = replay(section, name, credit, monkeypatch)
    steps, rounds, levels = len(section["x"]), int(section["T"]), range(made.depth)
    learns = "W_l0" in section
    assert len(made.nodes[0].answers) == steps, "an action for each presentation"
    worst = {}
    for (key, level), history in made.found.items():
        wanted = section["gate" if key == "gate" else f"{key}_l{level}"]
        for step, array in history.items():
            at = wanted[step]
            if key == "h" and level == made.depth - 1 and "draw_out" in section and step[1] < rounds:
                at = section["draw_out"][step[0], step[1]]  # by then the next round has begun
            worst[key, level, step] = error(array, at) if array.size else 0.0
    for level in levels:
        assert len(made.found["h", level]) == steps * (rounds + 1), "every round is compared"
        if learns:
            assert len(made.found["W", level]) == len(section[f"W_l{level}"])
            for key in "Wb":
                last = made.found[key, level][max(made.found[key, level])]
                assert np.abs(last - section[f"{key}0_l{level}"]).max() > 1e-6, "a recording in which nothing is learned would show nothing"
        if credit == "trace":
            assert set(made.found["wtr", level]) == set(range(steps - 1))
    tolerance = 1e-8 if int(section["out_type"]) == LINEAR else 1e-9
    if credit == "stamped":  # there a sample joins its trace when it is learned from: what is seen here is one older
        worst = {key: off for key, off in worst.items() if key[0] not in ("wtr", "btr")}
    assert max(worst.values()) <= tolerance, sorted(worst.items(), key=lambda item: -item[1])[:8]


def test_the_bundled_recordings_hold_both_outputs_relu_units_a_gate_both_orders_and_the_asynchronous_path():
    found = [(param.values[1], param.values[0]) for param in recordings()]
    assert {int(section["out_type"]) for _, section in found} == {LINEAR, SOFTMAX}
    assert {int(section["hid_type"]) for _, section in found} == {0, 1}
    assert {name for name, _ in found} == {"main", "rl", "relu", "asis", "setin", "nolearn", "one"}
    assert any((section["gate"] != 1.0).any() for _, section in found)
    assert any((section["keep"] == 0.0).any() for _, section in found)
