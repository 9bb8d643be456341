"""The tasks. One file a task; each has B streams and the same four verbs.

observation     (B, n) what the team is shown now
episode         (B,) number of the episode each stream is in
step(actions)   (B,) ints -> Outcome; moves on to the next observation
state()         every number the task's future depends on and that can be read, for the digest
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncnet.tasks.outcome import Outcome

if TYPE_CHECKING:
    from asyncnet.scenario import GymnasiumTask, MultiplexerTask

__all__ = ["LINES", "Outcome", "build", "spaces"]

LINES = {
    "multiplexer": "name the data bit that the address bits point at; independent one-step questions",
    "gymnasium": "any Gymnasium environment with a flat observation and discrete actions",
}


def spaces(task: MultiplexerTask | GymnasiumTask) -> tuple[int, int]:
    """(numbers in an observation, number of actions); raises ScenarioError if the task cannot be made."""
    if task.name == "multiplexer":
        return task.k + 2**task.k, 2
    from asyncnet.tasks.gym import spaces as of_environment

    return of_environment(task.id)


def build(task: MultiplexerTask | GymnasiumTask, seed: int) -> object:
    """The task, ready to show its first observation."""
    if task.name == "multiplexer":
        from asyncnet.tasks.multiplexer import Multiplexer

        return Multiplexer(task.k, task.streams, seed)
    from asyncnet.tasks.gym import Gym

    return Gym(task.id, task.streams, seed, task.truncation)
