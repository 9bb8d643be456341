"""Stochastic gradient ascent, plain or with a heavy ball.

    g' <- momentum g' + g        w <- w + a * g'

Without momentum nothing is remembered. Source: Robbins & Monro 1951; Polyak 1964 (the heavy ball).
"""

from typing import Annotated, Literal

from pydantic import Field

from asyncnet.kernels.kernel import kernel
from asyncnet.optimizers.parts import slot
from asyncnet.scenario.model import Model

NAME = "sgd"
SLOTS = 1
FIELDS = ()
SQUARES = False
SETTINGS = (("momentum", float),)


class Settings(Model):
    """Stochastic gradient ascent (optimizers/sgd.py)."""

    name: Literal["sgd"]
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.0, description="share of the last step that is taken again")


def values(settings: Settings, epsilon: float) -> dict[str, float]:
    """What its kernel reads."""
    return {"momentum": settings.momentum}


@kernel
def ascend(v, c, w, slots, at, gradient, squares, rate):
    """One step."""
    ball = slot(slots, 1, 0, at, w.size)
    for i in range(w.size):
        ball[i] = c.momentum * ball[i] + gradient[i]
        w[i] += rate * ball[i]
