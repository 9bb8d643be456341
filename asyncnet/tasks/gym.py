"""Gymnasium environments, B copies at once, stepped in Python."""

from __future__ import annotations

import functools
import inspect
import json
import math
import re
import warnings
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from asyncnet.kernels.layout import Views
from asyncnet.scenario.mistakes import ScenarioError, near
from asyncnet.tasks.parts import Spaces, TaskFailed, seeds
from asyncnet.tasks.wrappers import carried, limit, put_back, wrapped
from asyncnet.text import in_a_line

if TYPE_CHECKING:
    from asyncnet.tasks.environments import Settings


def _make(name: str, arguments: str = "{}", wrappers: tuple[Any, ...] = ()) -> gymnasium.Env:
    # The checker's wrapper costs more than CartPole itself; what it would find, `spaces` finds before the run.
    return wrapped(gymnasium.make(name, disable_env_checker=True, **limit(wrappers), **json.loads(arguments)), wrappers)


@functools.cache
def spaces(name: str, arguments: str = "{}", wrappers: tuple[Any, ...] = ()) -> Spaces:
    """What an environment shows and takes, with keyword arguments (JSON) and wrappers; raises ScenarioError if it cannot serve."""
    if ":" in name:  # "module:Name-v0" makes Gymnasium import the module, and a scenario is data: it executes nothing
        raise ScenarioError("", "task.id", "a name such as CartPole-v1; one that imports a module is not taken from a scenario (--import brings it)")
    for key in json.loads(arguments):
        if key in inspect.signature(gymnasium.make).parameters:
            raise ScenarioError("", f"task.kwargs.{key}", "is no argument of an environment" + ("; name the wrapper time-limit" * key.startswith("max_")))
    try:
        with warnings.catch_warnings(action="ignore"):  # they are shown when the run makes its own
            env = _make(name, arguments, wrappers)
    except ScenarioError:
        raise
    except Exception as error:  # whatever the code of somebody's environment raises; a missing extra is named by Gymnasium
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unknown and unknown[1] in json.loads(arguments):
            raise ScenarioError("", f"task.kwargs.{unknown[1]}", f"{name} takes no such argument; {near(unknown[1], _takes(name))}") from None
        key = "task.kwargs" if arguments != "{}" and not isinstance(error, gymnasium.error.Error) else "task.id"
        hint = "; one that code of yours registers needs --import" if isinstance(error, gymnasium.error.UnregisteredEnv) else ""
        raise ScenarioError("", key, f"{name}: {' '.join(str(error).split())[:300] or type(error).__name__}{hint}") from None
    try:
        seen, acts = env.observation_space, env.action_space
        if not isinstance(seen, gymnasium.spaces.Box) or math.prod(seen.shape) > 65_536:
            raise ScenarioError("", "task.id", f"{name} has observations {seen}; needed: a Box of at most 65536 numbers")
        if isinstance(acts, gymnasium.spaces.Box) and 1 <= math.prod(acts.shape) <= 4096:
            return Spaces(math.prod(seen.shape), math.prod(acts.shape), True)
        if isinstance(acts, gymnasium.spaces.Discrete) and acts.start == 0 and acts.n >= 2:
            return Spaces(math.prod(seen.shape), int(acts.n), False)
        raise ScenarioError("", "task.id", f"{name} has actions {acts}; needed: Discrete(n), n >= 2, from 0, or a Box")
    finally:
        env.close()


def _takes(name: str) -> list[str]:
    """The keyword arguments of an environment."""
    made = gymnasium.envs.registration.load_env_creator(gymnasium.spec(name).entry_point)
    return [key for key, each in inspect.signature(made).parameters.items() if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]


def _generator(env: gymnasium.Env) -> dict[str, Any]:
    return env.unwrapped.np_random.bit_generator.state


def _plain(state: Any) -> Any:
    """A generator's state as JSON holds it: whole numbers of any length as text, for other readers round them."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    if isinstance(state, np.ndarray):
        return [str(int(value)) for value in state]
    return str(int(state)) if isinstance(state, (int, np.integer)) else state


def _back(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: value if key == "bit_generator" else _back(value) for key, value in state.items()}
    return np.array([int(value) for value in state], dtype=np.uint64) if isinstance(state, list) else None if state is None else int(state)


class Gym:
    """B copies of one environment, seeded from the run's seed and never seeded again.

    Real-valued actions reach it as scale * a + offset, cut to its bounds. An environment gives no access to its state, so what it needs to come back to
    it is kept: the state of its random generator before the last reset, what its wrappers carried then, and the actions since.
    """

    def __init__(self, task: Settings, seed: int) -> None:
        self.envs = [_make(task.id, task.arguments(), task.wrappers) for _ in range(task.streams)]
        self._name, self._seeds = task.id, seeds(seed, task.streams)
        self._fresh = [carried(env) for env in self.envs]
        self._carried = list(self._fresh)  # before the last reset
        self._first = [np.ravel(env.reset(seed=own)[0]) for env, own in zip(self.envs, self._seeds, strict=True)]
        self._before: list[dict[str, Any] | None] = [None] * task.streams  # None: the first reset, which seeds it
        self._since: list[list[np.ndarray]] = [[] for _ in self.envs]
        self._acts = self.envs[0].action_space
        self._real = isinstance(self._acts, gymnasium.spaces.Box)
        self._scale, self._offset = task.action_scale, task.action_offset

    def begin(self, v: Views) -> None:
        """Write the first observations into the world's state."""
        v.observation[:] = self._first

    def _action(self, numbers: np.ndarray) -> object:
        if not self._real:
            return int(numbers[0])
        wanted = (self._scale * numbers + self._offset).reshape(self._acts.shape)
        action = np.clip(wanted, self._acts.low, self._acts.high)
        return action if self._acts.dtype.kind == "f" else action.astype(self._acts.dtype)  # in double precision, as released

    def step(self, v: Views) -> None:
        """Move every copy: from `action` and `over` to `observation`, `reward` and `ended` (world.py); TaskFailed if one raises."""
        try:
            self._move(v)
        except Exception as error:  # whatever the code of somebody's environment raises
            given = "" if np.isfinite(v.action).all() else ", given actions that are not finite"
            raise TaskFailed(f"the task failed: {self._name}{given}: {type(error).__name__}: {in_a_line(error)}") from error

    def _move(self, v: Views) -> None:
        over, actions, seen_by = v.over, v.action, v.observation
        for b, env in enumerate(self.envs):
            if over[b]:
                self._before[b], self._carried[b] = _generator(env), carried(env)
                self._since[b].clear()
                seen, _ = env.reset()
            else:
                self._since[b].append(actions[b].copy())
                seen, v.reward[b], terminated, truncated, _ = env.step(self._action(actions[b]))
                v.ended[b] = 1.0 if terminated else 2.0 if truncated else 0.0
            seen_by[b] = np.ravel(seen)

    def saved(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What `restore` needs, as plain data and arrays."""
        about = {"before": [_plain(state) for state in self._before], "generators": [_plain(_generator(env)) for env in self.envs]}
        if any(self._carried):
            about["carried"] = [list(stood) for stood in self._carried]
        return about, {f"actions/{b}": np.array(since) for b, since in enumerate(self._since)}

    def restore(self, v: Views, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Bring every copy back to where it was: its last reset and all actions since, done again.

        ScenarioError: an environment that did not come to the same observation and generator, for it keeps something beyond its resets.
        """
        for b, env in enumerate(self.envs):
            before, actions = about["before"][b], arrays[f"actions/{b}"].reshape(-1, v.action.shape[1])
            if not self._real and not all(self._acts.contains(int(action)) and int(action) == action for action in (*v.action[b], *actions[:, 0])):
                raise ScenarioError("", "task.id", f"an action of {self._name} is none of {self._acts}")
            stood = about["carried"][b] if "carried" in about else self._fresh[b]
            put_back(env, stood)
            if before is None:
                seen, _ = env.reset(seed=self._seeds[b])
            else:
                env.unwrapped.np_random.bit_generator.state = _back(before)
                seen, _ = env.reset()
            for action in actions:
                seen, *_ = env.step(self._action(action))
            if _plain(_generator(env)) != about["generators"][b] or not np.array_equal(np.ravel(seen), v.observation[b], equal_nan=True):
                raise ScenarioError("", "task.id", f"{self._name} did not come back to where it was after its last reset and {len(actions)} actions")
            self._before[b], self._since[b], self._carried[b] = None if before is None else _back(before), list(actions), stood

    def close(self) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()
