"""Scalar regression: answer with the value of an unknown network; x ~ N(0, I_8), y = relu(relu(x M1) m2).

The reward is -(a - y)^2. A net that learns from the target itself (`reward = "error"`) hears y - a instead, where a is the mean that it says; its score stays
-(a - y)^2.
M1 (8, 8) and m2 (8,) are drawn once from N(0, 1). Independent questions, one a decision; question n of a stream is a keyed draw. Source: the
released code of MAP Propagation, which cuts at zero at the output too.
"""

from typing import Literal

import numpy as np
from pydantic import Field as Setting

from asyncnet.kernels.chance import TASK, normal
from asyncnet.kernels.kernel import kernel
from asyncnet.kernels.layout import Field
from asyncnet.tasks.parts import Spaces
from asyncnet.tasks.settings import Task
from asyncnet.tasks.supervised import measure, reward  # noqa: F401  (the world asks for reward)

NAME = "regression"
LINE = "answer with the value of an unknown two-layer ReLU network; independent one-step questions, real-valued answers"
INDEPENDENT = True
INPUTS = 8
_OF_NETWORK = 1 << 16  # key of the network's weights, beside those of questions

SQUARED_ERROR = True  # what the reward is minus


class Settings(Task):
    name: Literal["regression"]
    reward: Literal["square", "error"] = Setting("square", description="square: -(a - y)^2; error: y - a, what a net with a gate learns from")


def spaces(task: Settings) -> Spaces:
    """What it shows and takes."""
    return Spaces(INPUTS, 1, True)


def values(task: Settings) -> dict[str, float]:
    """Its kernels' settings."""
    return {"signed": int(task.reward == "error")}


FIELDS = (
    Field("asked", "1", "0.."),  # number of the question that is shown
    Field("answer", "B"),  # and its answers
    Field("missed", "B"),  # y - a of the last
    Field("first", "8 8"),
    Field("second", "8"),
)
SETTINGS = (("signed", int),)


@kernel
def value(v, x):
    """y for one x (8,)."""
    y = 0.0
    for j in range(INPUTS):
        pot = 0.0
        for i in range(INPUTS):
            pot += x[i] * v.first[i, j]
        y += max(pot, 0.0) * v.second[j]
    return max(y, 0.0)


@kernel
def question(v, c, n, b, out):
    """Write question n of stream b into out (8,); returns its answer."""
    for i in range(INPUTS):
        out[i] = normal(c.seed, TASK, i, b, n)
    return value(v, out)


@kernel
def reset(v, c):
    """Draw the network; show the first question."""
    for j in range(INPUTS):
        for i in range(INPUTS):
            v.first[i, j] = normal(c.seed, TASK, _OF_NETWORK + i, j, 0)
        v.second[j] = normal(c.seed, TASK, _OF_NETWORK + INPUTS, j, 0)
    ask(v, c)


@kernel
def ask(v, c):
    for b in range(c.B):
        v.answer[b] = question(v, c, int(v.asked[0]), b, v.observation[b])


@kernel
def step(v, c):
    """Judge the answers and pose the next question."""
    measure(v, c)
    v.asked[0] += 1.0
    ask(v, c)
    return True


@kernel
def grade(v, c, n, b, action):
    """The reward of an answer to question n."""
    off = question(v, c, n, b, np.empty(INPUTS)) - action[0]
    return off if c.signed == 1 else -off * off
