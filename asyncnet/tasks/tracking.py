"""Tracking a target that drifts: Sutton's task for learned step sizes.

    x ~ N(0, I),  y* = sum over the relevant inputs of s_i x_i,  s_i = +-1; every so many examples one s_i, drawn at random, changes its sign

The team hears the signed error y* - y (`reward = "square"`: minus its square); the score is minus the squared error either way. All streams track one target,
each with inputs of its own; an example of each is one decision. Inputs, signs and changes are keyed draws. Source: Sutton 1992, "Adapting bias by gradient
descent", with 20 inputs, 5 of them relevant, and a change every 20 examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field as Setting

from asyncnet.kernels.chance import TASK, normal, uniform
from asyncnet.kernels.kernel import kernel
from asyncnet.kernels.layout import Field
from asyncnet.tasks.parts import Spaces
from asyncnet.tasks.settings import Task
from asyncnet.tasks.supervised import measure, reward  # noqa: F401  (the world asks for reward)

if TYPE_CHECKING:
    from asyncnet.scenario.schema import Scenario

NAME = "tracking"
LINE = "answer with a sum of the few relevant among many inputs, whose signs change one by one; real-valued answers"
INDEPENDENT = False  # the target drifts
_OF_SIGNS = 1 << 24  # keys of the signs and of their changes, beside those of inputs
_OF_CHANGES = _OF_SIGNS + 1

SQUARED_ERROR = True  # what the reward is minus


class Settings(Task):
    name: Literal["tracking"]
    reward: Literal["error", "square"] = Setting("error", description="error: y* - y, what a supervised net learns from; square: -(y* - y)^2")
    inputs: Annotated[int, Setting(ge=1, le=65_536)] = Setting(20, description="how many the team hears")
    relevant: Annotated[int, Setting(ge=1, le=65_536)] = Setting(5, description="how many of them, the first, the target is a sum of")
    flip_every: Annotated[int, Setting(ge=1, le=10**12)] = Setting(20, description="examples after which one of their signs changes")

    def check(self, scenario: Scenario) -> tuple[str, str] | None:
        """What does not fit: (key, why)."""
        if self.decisions is None:
            return "task.episodes", f"the {NAME} task has no episodes; give decisions"
        return ("task.relevant", f"{self.relevant} of {self.inputs} inputs") if self.relevant > self.inputs else None


def spaces(task: Settings) -> Spaces:
    """What it shows and takes."""
    return Spaces(task.inputs, 1, True)


def values(task: Settings) -> dict[str, float]:
    """Its kernels' settings."""
    return {"signed": int(task.reward == "error"), "relevant": task.relevant, "flip_every": task.flip_every}


FIELDS = (
    Field("asked", "1", "0.."),  # number of the example that is shown
    Field("answer", "B"),
    Field("missed", "B"),  # y* - y of the last
    Field("sign", "I"),  # of each relevant input, 0 of the others
)
SETTINGS = (("signed", int), ("relevant", int), ("flip_every", int))


@kernel
def ask(v, c):
    """Show the example that is due."""
    n = int(v.asked[0])
    for b in range(c.B):
        v.answer[b] = 0.0
        for i in range(c.I):
            v.observation[b, i] = normal(c.seed, TASK, i, b, n)
            v.answer[b] += v.sign[i] * v.observation[b, i]


@kernel
def reset(v, c):
    """Draw the target; show the first example."""
    for i in range(c.relevant):
        v.sign[i] = 1.0 if uniform(c.seed, TASK, _OF_SIGNS, i, 0) < 0.5 else -1.0
    ask(v, c)


@kernel
def step(v, c):
    """Judge the answers, let the target drift, show the next example."""
    measure(v, c)
    v.asked[0] += 1.0
    n = int(v.asked[0])
    if n % c.flip_every == 0:
        changed = int(c.relevant * uniform(c.seed, TASK, _OF_CHANGES, 0, n))
        v.sign[changed] = -v.sign[changed]
    ask(v, c)
    return True
