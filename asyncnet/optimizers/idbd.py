"""IDBD, incremental delta-bar-delta: each weight learns its own step size, from whether its recent steps went the same way.

    b <- b + theta g h        a = exp(b)        w <- w + a g        h <- h max(0, 1 - a s) + a g

g is the gradient, s the squared eligibility (for a linear unit with the error d: g = d x, s = x^2, as published). Over several streams both are means, of
credit times eligibility and of its square: the same derivation for the mean error of a batch, and not the square of a mean. b begins at the logarithm of the
learning rate; its slot holds the distance from there, so slots begin at 0, and a rate that anneals takes all step sizes with it. Source: Sutton 1992, "Adapting
bias by gradient descent: an incremental version of delta-bar-delta".
"""

from typing import Annotated, Literal

from pydantic import Field

from asyncnet.kernels.arithmetic import exp
from asyncnet.kernels.kernel import kernel
from asyncnet.optimizers.parts import slot
from asyncnet.scenario.model import Model

NAME = "idbd"
SLOTS = 2
FIELDS = ()
SQUARES = True
SETTINGS = (("theta", float),)
FARTHEST = 100.0  # of b from where it began: no step size of a run that learns comes near, and beyond 700 exp would be none


class Settings(Model):
    """IDBD, learned step sizes (optimizers/idbd.py)."""

    name: Literal["idbd"]
    theta: Annotated[float, Field(ge=0.0, le=1.0)] = Field(0.01, description="meta step size: how fast the step sizes are learned; 0: they stay")


def values(settings: Settings, epsilon: float) -> dict[str, float]:
    """What its kernel reads."""
    return {"theta": settings.theta}


@kernel
def ascend(v, c, w, slots, at, gradient, squares, rate):
    """One step."""
    b, h = slot(slots, 2, 0, at, w.size), slot(slots, 2, 1, at, w.size)
    for i in range(w.size):
        b[i] = min(max(b[i] + c.theta * gradient[i] * h[i], -FARTHEST), FARTHEST)
        a = rate * exp(b[i])
        step = a * gradient[i]
        w[i] += step
        h[i] = h[i] * max(0.0, 1.0 - a * squares[i]) + step
