"""Small scenarios, a loop whose nodes' inboxes are written down, and a task to be played with."""

import importlib.util

import numpy as np
import pytest

from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import ACTIVITY, REWARD, TRANSITION
from asyncnet.loop.timekeeper import Virtual
from asyncnet.rules.contract import Taped, learners, play
from asyncnet.scenario.reading import shipped
from asyncnet.scenario.schema import check, read
from asyncnet.team.build import build
from asyncnet.team.draw import plan

__all__ = ["Taped", "learners", "play"]  # what every rule's contract is tried with, from here too

RATES = {
    "reinforce": [0.01, 0.01, 0.01],
    "weight-max": [0.03, 0.003, 0.003],
    "map-propagation": [0.01, 0.001, 0.001],
    "map-propagation-async": [0.01, 0.001, 0.001],
}
TICKING = {"default": {"kind": "periodic", "period": 1.0, "phase": 0.0}}

LOOPS = {"compiled": CompiledLoop, "readable": Loop}
CLOCKS = {"clocks": {"default": {"kind": "periodic", "jitter": 0.3}}, "task.world": {"waits": False, "interval": 8.0}}
FREE = CLOCKS | {"tick": 500, "task.decisions": 200, "links": {"default": {"delay": 0.5}, "activity": [{"delay": 0.5}, {"loss": 0.1}]}}


def multiplexer(rule="weight-max", changes=None, /, **more):
    """The 2-bit multiplexer for a team of 8, 4 and one output node; in lock-step unless `changes` (dotted keys) say otherwise."""
    base = {
        "name": "small",
        "seed": 3,
        "tick": 1000,
        "task": {"name": "multiplexer", "k": 2, "decisions": 2000, "world": {"waits": True, "interval": 1.0}},
        "network": {"hidden": [8, 4], "output": "bernoulli"},
        "rule": {"name": rule, "learning_rate": RATES.get(rule, [0.01])},
    }
    if rule.startswith("map"):
        base["network"] |= {"units": "softplus", "output": "softmax"}
    if rule == "coordinated-exploration":
        base["network"]["hidden"] = [8]
    if rule in ("map-propagation-async", "coordinated-exploration"):
        base["clocks"], base["task"]["world"]["interval"] = TICKING, 8.0
    return check(base, "test").replace(changes or {}, **more)


def tracking(changes=None, /, **more):
    """A linear unit that hears its error while the target drifts; in lock-step."""
    base = {
        "name": "toy",
        "seed": 3,
        "tick": 1000,
        "task": {"name": "tracking", "decisions": 2000, "world": {"waits": True, "interval": 1.0}},
        "network": {"hidden": [], "output": "linear"},
        "rule": {"name": "lms", "learning_rate": 0.04},
    }
    return check(base, "test").replace(changes or {}, **more)


def runnable():
    """Every shipped scenario as a test's parameter; those whose environment needs an extra are skipped without it."""
    missing = [pytest.mark.skip(reason="needs asyncnet[box2d]")] if importlib.util.find_spec("Box2D") is None else []
    return [pytest.param(name, marks=missing if "LunarLander" in path.read_text() else []) for name, path in sorted(shipped().items())]


def brief(name):
    """A shipped scenario, much shorter."""
    whole = read(shipped()[name])
    if "coordinated" in name:  # where 64 units hear each other, a decision is ten thousand messages
        return whole.replace({"task.decisions": 40})
    if whole.task.decisions:
        return whole.replace({"task.decisions": max(40, 1500 // whole.task.streams)})
    return whole.replace({"task.decisions": 500} if "mountaincar" in name else {"task.episodes": 4 if "map" in name else 15})  # an episode there takes 1,000


def run(scenario, loop=Loop, **how):
    """A finished run."""
    made = loop(scenario, Virtual(), **how)
    made.run()
    assert made.stopped == "finished"
    return made


def assert_moved(scenario, weights):
    """Every array of weights is another than before the run."""
    before = {node.name: node.learned() for i, node in Loop(scenario, Virtual()).nodes.items() if i}
    assert before.keys() == weights.keys()
    for name, arrays in before.items():
        for key, array in arrays.items():
            assert not np.array_equal(array, weights[name][key]), (name, key)


class Probe:
    """A task driven through the world that holds it: `step(actions)` answers the open decision and gives (reward, bootstrap, valid, returns)."""

    def __init__(self, streams=3, seed=1, late="use", **task):
        waits = late == "use"
        gym = task["name"] == "gymnasium"
        data = {
            "name": "probe",
            "seed": seed,
            "tick": 1,
            "task": {"episodes" if gym else "decisions": 10**6, "streams": streams, "world": {"waits": waits, "interval": 1.0, "late": late}, **task},
            "network": {"hidden": [1], "output": "softmax"},
            "rule": {"name": "reinforce", "learning_rate": 0.01},
        }
        if late == "use":
            data["critic"] = {"hidden": [1], "learning_rate": 0.01}
        scenario = check(data, "probe")
        team = plan(scenario)
        self.actions = team.actions
        self.node = build(scenario, team, team.nodes[0])
        self.now = 0
        self.node.act(0)

    @property
    def observation(self):
        return self.node.view.observation

    @property
    def episode(self):
        return self.node.view.episode

    def answer(self, stamp, actions):
        """Let the world hear actions for a decision."""
        one_hot = np.eye(self.actions)[np.asarray(actions, dtype=int)]
        self.node.hear(self.now, ACTIVITY, 0, stamp + 1, stamp, np.concatenate((np.zeros(len(one_hot)), one_hot.ravel())))

    def act(self):
        self.now += 1
        messages = self.node.act(self.now)
        self.node.look(self.now)
        return messages

    def step(self, actions):
        self.answer(int(self.node.view.stamp[0]), actions)
        before = len(self.node.score.returns)
        (earned,) = (message for message in self.act() if message.channel == TRANSITION)
        reward, bootstrap, valid = earned.payload[1:].reshape(3, -1)
        return reward, bootstrap, valid, self.node.score.returns[before:]


class Listening(Loop):
    """A loop that writes down every reward or TD error that is broadcast."""

    def __init__(self, scenario, keeper):
        super().__init__(scenario, keeper)
        self.rewards = []

    def _send(self, src, message, now):
        if message.channel == REWARD:
            self.rewards.append(message.payload.tolist())
        super()._send(src, message, now)
