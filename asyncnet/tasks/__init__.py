"""The tasks. One file a task: its settings, what it shows and takes, and its part of the world's state, with the kernels that the world (world.py) is bound to.

    NAME, LINE, Settings            its name, one line about it, its settings (tasks/settings.py)
    INDEPENDENT                     whether its questions are independent of all answers: no episodes, and late answers can be graded
    spaces(task)                    what it shows and takes (parts.Spaces)
    values(task)                    its kernels' settings, if it declares any
    SQUARED_ERROR                   True if its reward is minus a squared error, which is then reported, too
    FIELDS, SETTINGS                what its kernels see as v. and c.

Kernels:

    reset(v, c)                     write the first observation
    step(v, c)                      from v.action and v.over to v.observation, v.reward and v.ended; False if it is stepped in Python (`make`)
    grade(v, c, n, b, action)       the reward of an answer (X,) to decision n: for tasks of independent questions
    reward(v, c, b)                 what the team hears of stream b's reward, if that is not v.reward

A task may also have

    fill(v, task, seed)             write into a fresh state before `reset`
    make(task, seed)                an object that steps the task in Python (stepped.py; None: its kernels do); such a file needs no kernels
    kernels(task)                   the module of its kernels, if that is not the file itself

To add one, write its file and name it here; from outside the package: docs/rules.md.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.registry import Registry, where
from asyncnet.tasks import environments, multiplexer, outside, regression, tracking
from asyncnet.tasks.parts import Spaces
from asyncnet.tasks.settings import Task
from asyncnet.tasks.stepped import Stepped
from asyncnet.text import in_a_line

if TYPE_CHECKING:
    from asyncnet.kernels.layout import Views

NEEDS = {"NAME": "text", "LINE": "text", "INDEPENDENT": "truth", "Settings": "settings", "spaces": "function"}
TASKS = Registry("task", NEEDS, Task, (multiplexer, regression, tracking, environments))


class Built(NamedTuple):
    """A task as a world's node is made from it: settings of its kernels, what fills the state before `reset`, and what steps it if it lives in Python."""

    values: dict[str, float]
    fill: Callable[[Views], None]
    outside: Any


def spaces(task: Task) -> Spaces:
    """What a task shows and takes; raises ScenarioError if it cannot be made."""
    module = TASKS[task.name]
    try:
        found = module.spaces(task)
    except ScenarioError:
        raise
    except Exception as error:  # whatever somebody's file raises
        raise ScenarioError("", "task", f"spaces() of {where(module)}: {type(error).__name__}: {in_a_line(error)}") from None
    if not isinstance(found, Spaces):
        raise ScenarioError("", "task", f"spaces() of {where(module)}: must return asyncnet.tasks.parts.Spaces, got {found!r}")
    return found


def kernels(task: Task) -> ModuleType:
    """The file of a task's kernels."""
    module = TASKS[task.name]
    if hasattr(module, "kernels"):
        return module.kernels(task)
    return module if hasattr(module, "reset") else outside


def build(task: Task, seed: int) -> Built:
    """The task of a scenario."""
    module = TASKS[task.name]
    fill, made = getattr(module, "fill", None), getattr(module, "make", None)
    stepped = made(task, seed) if made else None
    if stepped is not None and task.name not in TASKS.shipped:
        stepped = Stepped(stepped, task.name)

    def filled(view: Views) -> None:
        if fill is not None:
            fill(view, task, seed)
        if stepped is not None:
            stepped.begin(view)

    return Built(module.values(task) if hasattr(module, "values") else {}, filled, stepped)
