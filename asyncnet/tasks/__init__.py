"""The tasks. One file a task: fields and settings of its part of the world's state, and the kernels that the world (world.py) is bound to.

pose(v, c)                      write the first observation
move(v, c)                      from v.action and v.over to v.observation, v.reward and v.ended; False if it is stepped in Python (`Built.outside`)
grade(v, c, n, b, action)       the reward of an answer (X,) to decision n: for tasks of independent questions
pay(v, c, b)                    what the team hears of stream b's reward, if that is not v.reward

An environment that is Gymnasium's own is stepped in Python; CartPole, with the same bits, in compiled code.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncnet.tasks.parts import Spaces

if TYPE_CHECKING:
    from asyncnet.layout import Views
    from asyncnet.scenario import GymnasiumTask, MultiplexerTask, RegressionTask, TrackingTask

    Task = MultiplexerTask | RegressionTask | TrackingTask | GymnasiumTask

LINES = {
    "multiplexer": "name the data bit that the address bits point at; independent one-step questions",
    "regression": "answer with the value of an unknown two-layer ReLU network; independent one-step questions, real-valued answers",
    "tracking": "answer with a sum of the few relevant among many inputs, whose signs change one by one; real-valued answers",
    "gymnasium": "any Gymnasium environment with flat observations and discrete or real-valued actions",
}

COMPILED = {"CartPole-v1": ("asyncnet.tasks.cartpole", Spaces(4, 2, False))}


class Built(NamedTuple):
    """A task as a world's node is made from it: kernels, settings, what fills the state before `pose`, and what steps it if it lives in Python."""

    kernels: ModuleType
    values: dict[str, float] = {}
    fill: Callable[[Views], None] | None = None
    outside: Any = None


def spaces(task: Task) -> Spaces:
    """What a task shows and takes; raises ScenarioError if it cannot be made."""
    if task.name == "multiplexer":
        return Spaces(task.k + 2**task.k, 2, False)
    if task.name == "regression":
        return Spaces(8, 1, True)
    if task.name == "tracking":
        return Spaces(task.inputs, 1, True)
    if task.id in COMPILED:
        return COMPILED[task.id][1]
    from asyncnet.tasks.gym import spaces as of_environment

    return of_environment(task.id)


def kernels(task: Task) -> ModuleType:
    """The file of a task's kernels."""
    name = "outside" if task.name == "gymnasium" else task.name
    return importlib.import_module(COMPILED[task.id][0] if task.name == "gymnasium" and task.id in COMPILED else f"asyncnet.tasks.{name}")


def build(task: Task, seed: int) -> Built:
    """The task of a scenario."""
    found = kernels(task)
    if task.name == "multiplexer":
        return Built(found, {"k": task.k})
    if task.name == "regression":
        return Built(found, {"signed": int(task.reward == "error")})
    if task.name == "tracking":
        return Built(found, {"signed": int(task.reward == "error"), "relevant": task.relevant, "flip_every": task.flip_every})
    if task.id in COMPILED:
        return Built(found, fill=lambda view: found.begin(view, seed))
    from asyncnet.tasks.gym import Gym

    made = Gym(task, seed)
    return Built(found, fill=made.begin, outside=made)
