"""Gymnasium environments with discrete actions, B copies at once.

An episode that ends takes one more decision, whose action is ignored and which resets the environment (as in the released code and in
Gymnasium's NEXT_STEP mode). It teaches nothing: live = 0. After a terminal state boot = 0. At a time limit, `zero` makes the transition
teach nothing, as published; `bootstrap` takes the value of the last observation.
"""

from __future__ import annotations

import math
import warnings

import gymnasium
import numpy as np

from asyncnet.scenario import ScenarioError
from asyncnet.tasks.outcome import Outcome


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

    def __init__(self, name: str, streams: int, seed: int, truncation: str) -> None:
        self.envs = [_make(name) for _ in range(streams)]
        self.zero_at_limit = truncation == "zero"
        self.episode = np.zeros(streams)
        seeds = np.random.SeedSequence(seed).generate_state(streams, np.uint64)
        first = [env.reset(seed=int(s % 2**31))[0] for env, s in zip(self.envs, seeds, strict=True)]
        self.observation = np.array([np.ravel(o) for o in first], dtype=np.float64)
        self._over = [False] * streams
        self._return = [0.0] * streams

    def step(self, actions: np.ndarray) -> Outcome:
        streams = len(self.envs)
        reward, boot, live, returns = np.zeros(streams), np.ones(streams), np.ones(streams), []
        for b, env in enumerate(self.envs):
            if self._over[b]:
                seen, _ = env.reset()
                live[b] = 0.0
                self._over[b] = False
                self.episode[b] += 1.0
            else:
                seen, r, terminated, truncated, _ = env.step(int(actions[b]))
                reward[b] = r
                self._return[b] += float(r)
                if terminated or truncated:
                    self._over[b] = True
                    returns.append(self._return[b])
                    self._return[b] = 0.0
                    if terminated:
                        boot[b] = 0.0
                    elif self.zero_at_limit:
                        live[b] = 0.0
            self.observation[b] = np.ravel(seen)
        return Outcome(reward, boot, live, returns)

    def state(self) -> np.ndarray:
        return np.concatenate((self.observation.ravel(), self.episode, self._return, np.array(self._over, dtype=np.float64)))

    def close(self) -> None:
        for env in self.envs:
            env.close()
