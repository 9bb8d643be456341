"""Kernels of units that settle in synchronous phases (machines/phased.py): what a wave of messages sets going."""

from asyncnet.kernels.kernel import kernel
from asyncnet.rules import settling
from asyncnet.rules.settling import begin_anew, compute_error, draw_again, no_credit_yet, take_inputs

FIELDS, SETTINGS = settling.FIELDS, settling.SETTINGS


@kernel
def respond(v, c, slot, stamp):
    """Begin with a new observation; archive_x holds its inputs."""
    no_credit_yet(v, c)
    goes_on = c.start == 0 and v.round[0] >= 0.0  # from what was held before: the first round takes the new inputs in
    v.round[0], v.outdated[0] = 0.0, 1.0
    if not goes_on:
        begin_anew(v, c, slot, stamp)


@kernel
def refresh(v, c, slot, stamp):
    """Means and errors for what has come from below."""
    take_inputs(v, c, slot, stamp)
    if c.F > 0:  # else nobody hears of it before it is kept
        compute_error(v, c)


@kernel
def redraw(v, c, stamp, n):
    """Round n of an output that decides: sample once more for the same observation."""
    if n < c.decide:
        draw_again(v, c, stamp, n)
