"""The k-bit multiplexer: k address bits choose one of 2^k data bits; the answer is that bit.

Inputs are k + 2^k values in {-1, +1}, the address first, most significant bit first; reward +1 right, -1 wrong; chance 0, perfect 1. Action 1 means +1.
Independent questions, one a decision; the whole run is one episode. Encodings: the released code of Weight
Maximization. Question n of a stream is a keyed draw, so a late answer can be graded against its own.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field as Setting

from asyncnet.kernels.chance import TASK, words
from asyncnet.kernels.kernel import kernel
from asyncnet.kernels.layout import Field
from asyncnet.tasks.parts import Spaces
from asyncnet.tasks.settings import Task

NAME = "multiplexer"
LINE = "name the data bit that the address bits point at; independent one-step questions"
INDEPENDENT = True


class Settings(Task):
    name: Literal["multiplexer"]
    k: Annotated[int, Setting(ge=1, le=6)] = Setting(description="address bits; inputs: k + 2^k")


def spaces(task: Settings) -> Spaces:
    """What it shows and takes."""
    return Spaces(task.k + 2**task.k, 2, False)


def values(task: Settings) -> dict[str, float]:
    """Its kernels' settings."""
    return {"k": task.k}


FIELDS = (
    Field("asked", "1", "0.."),  # number of the question that is shown
    Field("answer", "B"),  # and its answers, 0 or 1
)
SETTINGS = (("k", int),)


@kernel
def question(seed, k, n, b, out):
    """Write question n of stream b into out (k + 2^k,); returns its answer."""
    bits = out.size
    for block in range((bits + 127) // 128):
        w = words(seed, TASK, block, b, n)
        for i in range(block * 128, min(bits, block * 128 + 128)):
            word = w[(i % 128) // 32]
            out[i] = 1.0 if (word >> np.uint64(i % 32)) & np.uint64(1) else -1.0
    address = 0
    for i in range(k):
        address = 2 * address + (1 if out[i] > 0.0 else 0)
    return 1.0 if out[k + address] > 0.0 else 0.0


@kernel
def reset(v, c):
    """Show the question that is due."""
    for b in range(c.B):
        v.answer[b] = question(c.seed, c.k, int(v.asked[0]), b, v.observation[b])


@kernel
def step(v, c):
    """Judge the actions and pose the next question."""
    for b in range(c.B):
        v.reward[b] = 1.0 if v.action[b, 0] == v.answer[b] else -1.0
    v.asked[0] += 1.0
    reset(v, c)
    return True


@kernel
def grade(v, c, n, b, action):
    """The reward of an answer to question n."""
    return 1.0 if action[0] == question(c.seed, c.k, n, b, np.empty(c.I)) else -1.0
