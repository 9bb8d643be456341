"""RMSprop: each weight's step is measured in the running root mean square of its own gradient.

    s <- b s + (1 - b) g^2        w <- w + a * g / (sqrt(s) + eps)

Source: Tieleman & Hinton, lecture 6.5 of "Neural networks for machine learning" (2012), where b is 0.9; epsilon outside the root.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from asyncnet.kernels.kernel import kernel
from asyncnet.optimizers.parts import slot
from asyncnet.scenario.model import Model

NAME = "rmsprop"
SLOTS = 1
FIELDS = ()
SQUARES = False
SETTINGS = (("memory", float), ("epsilon", float))
NEGLIGIBLE = 1e-280


class Settings(Model):
    """RMSprop (optimizers/rmsprop.py)."""

    name: Literal["rmsprop"]
    beta: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.9, description="memory of the mean square of the gradient")
    epsilon: Annotated[float, Field(gt=0.0, le=1.0)] = Field(1e-8, description="added to its root")


def values(settings: Settings, epsilon: float) -> dict[str, float]:
    """What its kernel reads."""
    return {"memory": settings.beta, "epsilon": settings.epsilon}


@kernel
def ascend(v, c, w, slots, at, gradient, squares, rate):
    """One step."""
    s = slot(slots, 1, 0, at, w.size)
    for i in range(w.size):
        square = c.memory * s[i] + (1.0 - c.memory) * gradient[i] * gradient[i]
        square = square if square > NEGLIGIBLE else 0.0  # of an input that stays silent; numbers below the normal range are slow
        s[i] = square
        w[i] += rate * gradient[i] / (np.sqrt(square) + c.epsilon)
