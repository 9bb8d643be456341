"""Adam as the published implementations use it.

    m <- b1 m + (1 - b1) g        s <- b2 s + (1 - b2) g^2        w <- w + a * c1 m / (sqrt(c2 s) + eps)

with c1 = 1/(1 - b1^t), c2 = 1/(1 - b2^t) while t < 1000 and c1 = c2 = 1 from the thousandth update on (the step jumps by 1.2576 there). Source: Kingma & Ba
2015; released code of MAP Propagation and Weight Maximization, whose epsilons are 1e-9 and 1e-8.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from asyncnet.kernels.kernel import kernel
from asyncnet.optimizers.parts import slot
from asyncnet.scenario.model import Model

NAME = "adam"
SLOTS = 2
FIELDS = ()
SQUARES = False
SETTINGS = (("beta1", float), ("beta2", float), ("epsilon", float))
UNCORRECTED_FROM = 1000
NEGLIGIBLE = 1e-280


class Settings(Model):
    """Adam (optimizers/adam.py)."""

    name: Literal["adam"] = "adam"
    beta1: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.9, description="memory of the mean gradient")
    beta2: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.999, description="memory of its mean square")
    epsilon: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(None, description="added to the root; absent: as published for the rule")


def values(settings: Settings, epsilon: float) -> dict[str, float]:
    """What its kernel reads; `epsilon` is the one published for the rule."""
    return {"beta1": settings.beta1, "beta2": settings.beta2, "epsilon": epsilon if settings.epsilon is None else settings.epsilon}


@kernel
def corrections(t, beta1, beta2):
    """The bias corrections (c1, c2) of update number t = 1, 2, ..."""
    if t >= UNCORRECTED_FROM:
        return 1.0, 1.0
    return 1.0 / (1.0 - beta1**t), 1.0 / (1.0 - beta2**t)


@kernel
def ascend(v, c, w, slots, at, gradient, squares, rate):
    """One step."""
    c1, c2 = corrections(v.updates[0], c.beta1, c.beta2)
    beta1, beta2, epsilon = c.beta1, c.beta2, c.epsilon
    m, s = slot(slots, 2, 0, at, w.size), slot(slots, 2, 1, at, w.size)
    for i in range(w.size):
        first = beta1 * m[i] + (1.0 - beta1) * gradient[i]
        second = beta2 * s[i] + (1.0 - beta2) * gradient[i] * gradient[i]
        # The moments of an input that stays silent decay without end; below the normal range each operation would cost a hundred cycles.
        first = first if np.abs(first) > NEGLIGIBLE else 0.0
        second = second if second > NEGLIGIBLE else 0.0
        m[i] = first
        s[i] = second
        w[i] += rate * (c1 * first) / (np.sqrt(c2 * second) + epsilon)
