"""Gymnasium's wrappers that a scenario may name, [[task.wrappers]], the innermost first: only those that repeat themselves, and can be brought back.

What a wrapper carries from episode to episode is saved as plain data and put back (`carried`, `put_back`); all else follows from the last reset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.model import Count, Model
from asyncnet.text import in_a_line

if TYPE_CHECKING:
    import gymnasium

Bound = Annotated[float, Field(ge=-1e9, le=1e9)]


class NormalizeObservation(Model):
    """Observations less their running mean, divided by their running deviation; each stream has its own."""

    name: Literal["normalize-observation"]
    epsilon: Annotated[float, Field(gt=0.0, le=1.0)] = Field(1e-8, description="added to the variance")


class RescaleObservation(Model):
    """Bounded observations, brought linearly into [low, high]."""

    name: Literal["rescale-observation"]
    low: Bound = Field(-1.0, description="where the lower bound comes to lie")
    high: Bound = Field(1.0, description="where the upper bound comes to lie")


class FlattenObservation(Model):
    """Observations of any kind as one row of numbers; of a choice, one for each alternative."""

    name: Literal["flatten-observation"]


class StackObservation(Model):
    """The last observations of the episode side by side, the first repeated at its beginning."""

    name: Literal["stack-observation"]
    size: Annotated[int, Field(ge=2, le=1024)] = Field(description="how many")


class RescaleAction(Model):
    """Real-valued actions in [low, high] for those between the environment's bounds."""

    name: Literal["rescale-action"]
    low: Bound = Field(-1.0, description="what stands for the lower bound")
    high: Bound = Field(1.0, description="what stands for the upper bound")


class TimeLimit(Model):
    """Episodes end after so many steps at the latest, whatever the environment's own limit is."""

    name: Literal["time-limit"]
    steps: Count = Field(description="how many")


Wrapper = Annotated[NormalizeObservation | RescaleObservation | FlattenObservation | StackObservation | RescaleAction | TimeLimit, Field(discriminator="name")]


def limit(wrappers: tuple[Any, ...]) -> dict[str, int]:
    """The time limit for gymnasium.make, which puts one around the environment itself."""
    steps = [wrapper.steps for wrapper in wrappers if wrapper.name == "time-limit"]
    return {"max_episode_steps": min(steps)} if steps else {}


def wrapped(env: gymnasium.Env, wrappers: tuple[Any, ...]) -> gymnasium.Env:
    """The environment within its wrappers; raises ScenarioError for one that does not fit it."""
    from gymnasium import wrappers as known

    for i, wrapper in enumerate(wrappers):
        try:
            match wrapper:
                case NormalizeObservation(epsilon=epsilon):
                    env = known.NormalizeObservation(env, epsilon)
                case RescaleObservation(low=low, high=high):
                    env = known.RescaleObservation(env, _bound(low, env.observation_space), _bound(high, env.observation_space))
                case FlattenObservation():
                    env = known.FlattenObservation(env)
                case StackObservation(size=size):
                    env = known.FrameStackObservation(env, size)
                case RescaleAction(low=low, high=high):
                    env = known.RescaleAction(env, _bound(low, env.action_space), _bound(high, env.action_space))
        except Exception as error:  # assertions, type errors and others, by which a wrapper says what it is not made for
            raise ScenarioError("", f"task.wrappers.{i}", f"{wrapper.name} does not fit this environment: {in_a_line(error)}") from None
    return env


def _bound(value: float, space: Any) -> np.ndarray:
    return np.full(space.shape, value, dtype=space.dtype)


def _layers(env: gymnasium.Env) -> list[Any]:
    """The running statistics of all wrappers, from the outermost."""
    found = []
    while env is not env.unwrapped:
        if hasattr(env, "obs_rms"):
            found.append(env.obs_rms)
        env = env.env
    return found


def carried(env: gymnasium.Env) -> list[dict[str, Any]]:
    """What wrappers carry from episode to episode, as plain data: JSON holds a double exactly."""
    return [{"dtype": str(each.mean.dtype), "mean": each.mean.tolist(), "var": each.var.tolist(), "count": float(each.count)} for each in _layers(env)]


def put_back(env: gymnasium.Env, stood: list[dict[str, Any]]) -> None:
    """Have wrappers carry that."""
    for each, before in zip(_layers(env), stood, strict=True):
        each.mean, each.var = (np.array(before[key], dtype=before["dtype"]) for key in ("mean", "var"))
        each.count = before["count"]
