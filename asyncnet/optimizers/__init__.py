"""The optimisers: how a weight follows its gradient. One file each: its settings, how many slots it keeps for each weight, and its kernel.

    ascend(v, c, w, slots, at, gradient, squares, rate)      one step of the weights w (n,) along their gradient (n,), an ascent direction, at that rate

    gradient = mean over streams of credit * q        squares = mean over streams of q^2        q = a weight's eligibility: x, x e, or its trace

`squares` is empty, and costs nothing, unless the optimiser asks for it: SQUARES = True. `slots` holds what the optimiser remembers, SLOTS numbers for each
weight of the array that w is a part of, from its element `at` on: `slot(slots, SLOTS, k, at, n)` is slot k of these weights. `v.updates[0]` says which update
this is (1, 2, ...). A rule calls `c.optimizer.ascend` for each of its arrays, declares `Field("slots_weight", "Y I O")` beside `Field("weight", "I O")`, and
fills its `Field("squares", "V")` where c.V > 0. To add an optimiser, write its file and name it here.
"""

from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from asyncnet.optimizers import adam, idbd, rmsprop, sgd

OPTIMIZERS = {module.NAME: module for module in (adam, rmsprop, sgd, idbd)}


def _named(value: Any) -> Any:
    return {"name": adam.NAME, **value} if isinstance(value, dict) else value


Optimizer = Annotated[reduce(or_, (module.Settings for module in OPTIMIZERS.values())), Field(discriminator="name"), BeforeValidator(_named)]
