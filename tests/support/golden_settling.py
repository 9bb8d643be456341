"""The kernels of units that settle with one change: what they draw is read from the state (`script`, `redraws`).

Bound to `asyncnet.machines.phased` like any rule, it lets a test force recorded draws.
"""

import numpy as np

from asyncnet.kernels.kernel import kernel
from asyncnet.kernels.layout import Field
from asyncnet.rules import settling
from asyncnet.rules.settling import SOFTMAX, archive_sample, compute_error, forward, place
from asyncnet.rules.settling_in_phases import refresh

__all__ = ["archive_sample", "redraw", "refresh", "respond"]

FIELDS = (*settling.FIELDS, Field("script", "B N"), Field("redraws", "16 B N"))
SETTINGS = settling.SETTINGS


@kernel
def respond(v, c, slot, stamp):
    """As settling's in phases: standard normal numbers for Gaussian units, the one-hot sample itself for a softmax."""
    goes_on = c.start == 0 and v.round[0] >= 0.0
    v.round[0], v.outdated[0] = 0.0, 1.0
    if goes_on:
        return
    forward(v, c, slot)
    for b in range(c.B):
        for n in range(c.N):
            v.y[b, n] = v.script[b, n] if c.units == SOFTMAX else v.mean[b, n] + np.sqrt(c.variance) * v.script[b, n]
    place(v, c)
    compute_error(v, c)
    archive_sample(v, c, slot)


@kernel
def redraw(v, c, stamp, n):
    """The recorded sample of this round."""
    if n >= c.decide:
        return
    for b in range(c.B):
        for k in range(c.N):
            v.y[b, k] = v.redraws[n, b, k]
