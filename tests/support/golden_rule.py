"""The kernels of stochastic units with one change: what they sample is read from the state (`script`), not drawn.

Bound to `asyncnet.machines.sampled` like any rule, it lets a test force recorded draws or run through every configuration of a team.
"""

from asyncnet.kernels.kernel import kernel
from asyncnet.kernels.layout import Field
from asyncnet.rules import coagent
from asyncnet.rules.coagent import archive_sample, decay_and_add, expect, finish_eligibility, initialise, learn

__all__ = ["FIELDS", "SETTINGS", "decay_and_add", "finish_eligibility", "initialise", "learn", "respond"]

FIELDS = (*coagent.FIELDS, Field("script", "B N"))
SETTINGS = coagent.SETTINGS


@kernel
def respond(v, c, slot, stamp):
    """As coagent's, but the values held are those of the script."""
    expect(v, c, v.x)
    for b in range(c.B):
        for n in range(c.N):
            v.y[b, n] = v.script[b, n]
    archive_sample(v, c, slot)
