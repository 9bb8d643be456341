"""Gymnasium's environments: CartPole, with the same bits, in compiled code (cartpole.py), the others stepped in Python (gym.py)."""

from __future__ import annotations

import json
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from asyncnet.scenario.model import Positive
from asyncnet.tasks import cartpole, outside
from asyncnet.tasks.parts import Spaces
from asyncnet.tasks.settings import Task
from asyncnet.tasks.wrappers import Wrapper

if TYPE_CHECKING:
    from asyncnet.kernels.layout import Views
    from asyncnet.tasks.gym import Gym

NAME = "gymnasium"
LINE = "any Gymnasium environment with flat observations and discrete or real-valued actions"
INDEPENDENT = False

COMPILED = {"CartPole-v1": (cartpole, Spaces(4, 2, False))}


Plain = bool | int | float | str
Argument = Plain | tuple[Plain, ...] | tuple[tuple[Plain, ...], ...]


class Settings(Task):
    name: Literal["gymnasium"]
    id: Annotated[str, Field(min_length=1, max_length=128)] = Field(description="the name under which it is registered with Gymnasium")
    kwargs: dict[str, Argument] = Field({}, description="keyword arguments of the environment")
    wrappers: Annotated[tuple[Wrapper, ...], Field(max_length=16)] = Field((), description="wrappers, the innermost first (tasks/wrappers.py)")
    reward_clip: Positive | None = Field(None, description="rewards are learned from as if cut to +- this; returns are not")
    action_scale: Annotated[float, Field(ge=-1e6, le=1e6)] = Field(
        1.0, description="real-valued actions: the environment gets scale * a + offset, within its bounds"
    )
    action_offset: Annotated[float, Field(ge=-1e6, le=1e6)] = Field(0.0, description="real-valued actions: the offset")
    truncation: Literal["zero", "bootstrap"] = Field("zero", description="TD error at a time limit: none, as published, or with the next value")

    def arguments(self) -> str:
        """The environment's keyword arguments as JSON."""
        return json.dumps(self.kwargs, sort_keys=True)


def _compiled(task: Settings) -> bool:
    return task.id in COMPILED and not task.kwargs and not task.wrappers


def spaces(task: Settings) -> Spaces:
    """What an environment shows and takes; raises ScenarioError if it cannot serve."""
    if _compiled(task):
        return COMPILED[task.id][1]
    from asyncnet.tasks.gym import spaces as of_environment  # Gymnasium is imported where it is needed

    return of_environment(task.id, task.arguments(), task.wrappers)


def kernels(task: Settings) -> ModuleType:
    """The file of its kernels."""
    return COMPILED[task.id][0] if _compiled(task) else outside


def fill(v: Views, task: Settings, seed: int) -> None:
    """What stands in the state before the first observation is written."""
    if _compiled(task):
        COMPILED[task.id][0].begin(v, seed)


def make(task: Settings, seed: int) -> Gym | None:
    """What steps it in Python."""
    if _compiled(task):
        return None
    from asyncnet.tasks.gym import Gym

    return Gym(task, seed)
