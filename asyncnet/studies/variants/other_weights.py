"""Kernels that variants share: feedback through weights of its own, B, in place of the weights W that a node answers with."""

import numpy as np

from asyncnet.kernels.chance import WEIGHT, uniform
from asyncnet.kernels.kernel import kernel

_OTHER = 1  # n of the draws of B; those of W are 0


@kernel
def draw_other(v, c):
    """B_ij ~ U(+-sqrt(6 / (inputs + units of the layer))) as W begins, or 0."""
    span = c.random * np.sqrt(6.0 / (c.I + c.fan_out))
    first = int(v.unit0[0])
    for j in range(c.O):
        for i in range(c.I):
            v.feedback_weight[i, j] = span * (2.0 * uniform(c.seed, WEIGHT, first + j, i, _OTHER) - 1.0)


@kernel
def tell(v, c, b, i, j, part, feedback):
    """Put unit j's part of what input i is told where it belongs: in its piece (M > 1), or in the sum."""
    if c.M > 1:
        feedback[b, i, j] = part
    else:
        feedback[b, i, 0] = part + (feedback[b, i, 0] if j > 0 else 0.0)


@kernel
def project_other(v, c, feedback):
    """u_i = sum_j e_j B_ij"""
    for b in range(c.B):
        for i in range(c.I):
            for j in range(c.O):
                tell(v, c, b, i, j, v.error[b, j] * v.feedback_weight[i, j], feedback)
