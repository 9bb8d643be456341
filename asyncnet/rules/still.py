"""What units that hold their sample do between two observations: nothing.

The kernels that the machine (agent.py) asks of units that settle (settling.py), for all others.
"""

from asyncnet.kernel import kernel


@kernel
def relax(v, c, slot, stamp):
    """Take one step, at a tick: what was sampled holds."""


@kernel
def approach(v, c, stamp):
    """Take one step, in a round of synchronous phases."""


@kernel
def refresh(v, c, slot, stamp):
    """Take in what has come from below."""


@kernel
def keep(v, c, slot):
    """Archive what was settled on: the sample is there already."""


@kernel
def redraw(v, c, stamp, n):
    """Sample once more for the same observation."""


@kernel
def gather(v, c, slot, now):
    """Add this tick's eligibility to the trace."""


@kernel
def feel(v, c, port, seq, stamp, payload):
    """Take in feedback that is no credit: these units have no use for it."""


@kernel
def pull(v, c, told):
    """What a unit tells its inputs while it settles: nothing."""
    return False
