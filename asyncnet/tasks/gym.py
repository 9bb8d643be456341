"""Gymnasium environments with discrete actions, B copies at once, stepped in Python."""

from __future__ import annotations

import math
import warnings

import gymnasium
import numpy as np

from asyncnet.layout import Views
from asyncnet.scenario import ScenarioError
from asyncnet.tasks import seeds


def _make(name: str) -> gymnasium.Env:
    # The checker's wrapper costs more than CartPole itself; what it would find, `spaces` finds before the run.
    return gymnasium.make(name, disable_env_checker=True)


def spaces(name: str) -> tuple[int, int]:
    """(numbers in an observation, number of actions) of an environment; raises ScenarioError if it cannot serve."""
    if ":" in name:  # "module:Name-v0" makes Gymnasium import the module, and a scenario is data: it executes nothing
        raise ScenarioError("", "task.id", "a name such as CartPole-v1; one that imports a module is not taken from a scenario")
    try:
        with warnings.catch_warnings(action="ignore"):  # they are shown when the run makes its own
            env = _make(name)
    except Exception as error:  # whatever the code of somebody's environment raises
        raise ScenarioError("", "task.id", " ".join(str(error).split())[:300] or type(error).__name__) from None
    try:
        if not isinstance(env.action_space, gymnasium.spaces.Discrete) or env.action_space.start != 0 or env.action_space.n < 2:
            raise ScenarioError("", "task.id", f"{name} has actions {env.action_space}; needed: Discrete(n), n >= 2, from 0")
        seen = env.observation_space
        if isinstance(seen, gymnasium.spaces.Box) and math.prod(seen.shape) <= 65_536:
            return math.prod(seen.shape), int(env.action_space.n)
        raise ScenarioError("", "task.id", f"{name} has observations {seen}; needed: a Box of at most 65536 numbers")
    finally:
        env.close()


class Gym:
    """B copies of one environment, seeded from the run's seed and never seeded again."""

    def __init__(self, name: str, streams: int, seed: int) -> None:
        self.envs = [_make(name) for _ in range(streams)]
        self._first = [np.ravel(env.reset(seed=own)[0]) for env, own in zip(self.envs, seeds(seed, streams), strict=True)]

    def begin(self, v: Views) -> None:
        """Write the first observations into the world's state."""
        v.observation[:] = self._first

    def step(self, v: Views) -> None:
        """Move every copy: from `action` and `over` to `observation`, `reward` and `ended` (world.py)."""
        for b, env in enumerate(self.envs):
            if v.over[b]:
                seen, _ = env.reset()
            else:
                seen, v.reward[b], terminated, truncated, _ = env.step(int(v.action[b]))
                v.ended[b] = 1.0 if terminated else 2.0 if truncated else 0.0
            v.observation[b] = np.ravel(seen)

    def close(self) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()
