"""Kernels of units that settle on clocks of their own (machines/settling.py): what a tick does, and traces over ticks."""

import numpy as np

from asyncnet.kernels.arithmetic import exp
from asyncnet.kernels.kernel import kernel, row_at, row_in_plane
from asyncnet.kernels.layout import Field
from asyncnet.rules import settling
from asyncnet.rules.coagent import SOFTMAX, decay_and_add
from asyncnet.rules.settling import approach, archive_sample, begin_anew, compute_error, draw_again, no_credit_yet, take_inputs

TRACES = {"motion": 1, "time": 2}  # codes of `accumulates`
_MOTION = TRACES["motion"]

FIELDS = (
    *settling.FIELDS,
    Field("motion", "B O"),  # the running mean of the last steps
    Field("accumulated_at", "1", "0..now"),  # when the trace was last added to
)
SETTINGS = (
    *settling.SETTINGS,
    ("beta", float),  # of the motion's running mean
    ("kappa", float),
    ("floor", float),
    ("lam", float),
    ("gamma", float),
    ("each_tick", int),  # motion: gamma multiplies the trace at each tick, else at each new observation
    ("tau", float),  # time: in ticks of the scenario
    ("tick", float),  # microseconds
)


@kernel
def respond(v, c, slot, stamp):
    """Begin with a new observation; archive_x holds its inputs."""
    no_credit_yet(v, c)
    v.round[0] = 0.0
    begin_anew(v, c, slot, stamp)


@kernel
def take_step(v, c, slot, stamp):
    """A tick: take in what has come, then one step towards the mode; the output samples anew while it decides, then holds."""
    take_inputs(v, c, slot, stamp)
    if c.E > 0:
        approach(v, c, stamp)
    elif v.round[0] < c.decide:
        v.round[0] += 1.0
        draw_again(v, c, stamp, int(v.round[0]))
    else:
        v.moved_by[:] = 0.0
    if c.F > 0:
        compute_error(v, c)
    archive_sample(v, c, slot)


@kernel
def accumulate_trace(v, c, slot, now):
    """Add this tick's eligibility to the trace.

    motion    g <- beta g + (1 - beta) dh;   z <- gamma lambda z + x (x) gate e / (floor + kappa g^2)
    time      z <- exp(-dt / tau) z + (dt / tau) x (x) gate e
    """
    carry, share = c.lam, 1.0
    if c.each_tick == 1 or v.since[0] == now:
        carry *= c.gamma
    if c.accumulates != _MOTION:
        share = (now - v.accumulated_at[0]) / (c.tau * c.tick)
        carry = exp(-min(share, 700.0))
    v.accumulated_at[0] = now
    for b in range(c.B):
        v.carry[b] = carry
        if v.z_episode[b] != v.archive_episode[slot, b]:
            v.z_episode[b] = v.archive_episode[slot, b]
            v.carry[b] = 0.0
            v.motion[b] = 0.0
        e, error, g, moved = row_in_plane(v.archive_e, slot, b), row_at(v.error, b), row_at(v.motion, b), row_at(v.moved_by, b)
        together = 0.0
        for j in range(c.O):
            together += np.abs(moved[j])
        for j in range(c.O):
            if c.accumulates == _MOTION:
                step = moved[j] if c.units != SOFTMAX else (1.0 if together > 0.0 else 0.0)
                g[j] = c.beta * g[j] + (1.0 - c.beta) * step
                share = 1.0 / (c.floor + c.kappa * g[j] * g[j])
            e[j] = share * v.gate[b] * error[j]
    decay_and_add(v, c, slot)
