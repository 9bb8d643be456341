"""Kernels of the critic: a value network inside one node, trained by backprop with traces.

    h_0 = x,  h_l = f(h_(l-1) W_l + b_l),  f = softplus or ReLU, linear at the output,  v = h_L
    g = dv/d(W, b)          z <- decay z + g          W <- W + optimiser(credit * z), credit = TD error

One learning rate for each layer; parameters lie layer by layer as (W row-major, b) in one vector. Source: released code of Weight
Maximization (its critic is an ordinary network). As there, the gradient is computed with the potentials of the forward pass
and, if an update falls into the same instant, with the weights after it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field as Setting

from asyncnet.kernels.arithmetic import dot, softplus_and_slope
from asyncnet.kernels.chance import BIAS, WEIGHT, identity, uniform
from asyncnet.kernels.kernel import kernel, row_at, row_in_plane, view
from asyncnet.kernels.layout import SCRATCH, Field
from asyncnet.kernels.products import add_up
from asyncnet.optimizers import OPTIMIZERS
from asyncnet.optimizers.parts import annealed
from asyncnet.rules.settings import LearnerSettings, Size, per_layer
from asyncnet.team.ports import ACTIVITIES, ERROR_AS_CREDIT, INPUTS, Kind

if TYPE_CHECKING:
    from asyncnet.kernels.layout import Views
    from asyncnet.team.network import Site

NAME = "backprop"
OUTPUT = Kind("asyncnet.machines.sampled", __name__, hears=(INPUTS, ERROR_AS_CREDIT), says=(ACTIVITIES,))
FIELDS = (
    Field("sizes", "L", "fixed"),  # inputs, hidden units of each layer, 1
    Field("rate", "L", "fixed"),  # learning rate of the layer that ends here; entry 0 is unused
    Field("rate_end", "L", "fixed"),
    Field("weight", "P"),
    Field("slots_weight", "Y P"),  # the optimiser's
    Field("updates", "1", "0.."),
    Field("z", "Z P"),
    Field("slope", "B A"),  # f'(pot) of the newest forward pass
    Field("archive_h", "K B A"),
    Field("archive_e", "K B A"),  # dv / d pot
    Field("gradient", "P", lies=SCRATCH),
    Field("squares", "V", lies=SCRATCH),  # of some weights' eligibilities, for an optimiser that asks
)
SETTINGS = (("anneal", float), ("relu", int))
_UNITS_PER_LAYER = identity(1, 0)
AT_A_TIME = 512  # weights whose gradient and step follow each other while they are at hand


class Critic(LearnerSettings):
    name: Literal["backprop"] = "backprop"
    hidden: Annotated[tuple[Size, ...], Setting(min_length=1, max_length=16)] = Setting((64, 32), description="units of each hidden layer, first to last")
    units: Literal["softplus", "relu"] = Setting("softplus", description="hidden units of the value network")


def values(settings: Critic, layer: int) -> dict[str, float]:
    """What this rule adds to the settings of its node."""
    return {"relu": int(settings.units == "relu")}


def dimensions(site: Site) -> dict[str, int]:
    """Layers, activations and parameters of the network inside."""
    sizes = _sizes(site)
    weights = sum((n + 1) * m for n, m in pairwise(sizes))
    return {"L": len(sizes), "A": sum(sizes[1:]), "P": weights, "V": weights * OPTIMIZERS[site.learner.optimizer.name].SQUARES}


def fill(view: Views, site: Site) -> None:
    """Sizes and learning rates of the network inside."""
    view.sizes[:] = sizes = _sizes(site)
    rates, ends = site.learner.learning_rate, site.learner.learning_rate_end or site.learner.learning_rate
    view.rate[1:] = [per_layer(rates, i) for i in range(len(sizes) - 1)]
    view.rate_end[1:] = [per_layer(ends, i) for i in range(len(sizes) - 1)]


def _sizes(site: Site) -> list[int]:
    return [site.plan.inputs, *site.learner.hidden, 1]


@kernel
def initialise(v, c):
    """Weights U(+-sqrt(6 / (inputs + outputs))), biases U(+-0.001), layer by layer."""
    at = 0
    for layer in range(1, c.L):
        n, m = int(v.sizes[layer - 1]), int(v.sizes[layer])
        span = np.sqrt(6.0 / (n + m))
        for j in range(m):
            unit = int(v.unit0[0]) + (layer - 1) * _UNITS_PER_LAYER + j
            for i in range(n):
                v.weight[at + i * m + j] = span * (2.0 * uniform(c.seed, WEIGHT, unit, i, 0) - 1.0)
            v.weight[at + n * m + j] = 0.001 * (2.0 * uniform(c.seed, BIAS, unit, 0, 0) - 1.0)
        at += n * m + m


@kernel
def respond(v, c, slot, stamp):
    """The value of the inputs v.x."""
    for b in range(c.B):
        h = row_in_plane(v.archive_h, slot, b)
        at = 0
        out = 0
        below = row_at(v.x, b)
        for layer in range(1, c.L):
            n, m = int(v.sizes[layer - 1]), int(v.sizes[layer])
            here = h[out : out + m]
            add_up(view(below, 0, (1, n)), view(v.weight, at, (n, m)), view(v.weight, at + n * m, (m,)), view(here, 0, (1, m)))
            slope = v.slope[b, out : out + m]
            if layer == c.L - 1:
                slope[:] = 1.0
            elif c.relu == 1:
                for j in range(m):
                    slope[j] = 1.0 if here[j] >= 0.0 else 0.0
                    here[j] = max(here[j], 0.0)
            else:
                for j in range(m):
                    here[j], slope[j] = softplus_and_slope(here[j])
            below = here
            at += n * m + m
            out += m
        v.y[b, 0] = h[c.A - 1]


@kernel
def finish_eligibility(v, c, slot):
    """dv/dpot of every unit, from the top down."""
    for b in range(c.B):
        e = row_in_plane(v.archive_e, slot, b)
        e[c.A - 1] = v.slope[b, c.A - 1]
        at = c.P
        out = c.A
        for layer in range(c.L - 1, 1, -1):
            n, m = int(v.sizes[layer - 1]), int(v.sizes[layer])
            at -= n * m + m
            out -= m
            for i in range(n):
                e[out - n + i] = dot(view(v.weight, at + i * m, (m,)), e[out : out + m]) * v.slope[b, out - n + i]


@kernel
def compute_update(v, c, slot, b, at, before, out, m, first, last, on):
    """The gradient for inputs first..last (the one after the last is the bias) of the layer whose parameters start at `at` and units at `out`.

    credit (carry z + on * dv/dW of sample `slot`) of stream b, added to what is there if b > 0; `before` is the start of the units below, -1: the inputs.
    """
    scale = v.credit[b, 0] / c.B
    below = row_in_plane(v.archive_x, slot, b) if before < 0 else v.archive_h[slot, b, before:out]
    e = v.archive_e[slot, b, out : out + m]
    for i in range(first, last):
        x = on * below[i] if i < below.size else on
        row = view(v.gradient, at + i * m, (m,))
        if b == 0:
            row[:] = 0.0
        if c.Z > 0:
            z, carry = v.z[b, at + i * m : at + i * m + m], v.carry[b]
            for j in range(m):
                row[j] += scale * (carry * z[j] + x * e[j])
        else:
            for j in range(m):
                row[j] += scale * (x * e[j])


@kernel
def square(v, c, slot, at, before, out, m, first, last, on):
    """The squared eligibilities of the same weights, mean over streams, into v.squares."""
    for b in range(c.B):
        below = row_in_plane(v.archive_x, slot, b) if before < 0 else v.archive_h[slot, b, before:out]
        for i in range(first, last):
            x, row = on * below[i] if i < below.size else on, view(v.squares, (i - first) * m, (m,))
            for j in range(m):
                q = x * v.archive_e[slot, b, out + j]
                if c.Z > 0:
                    q += v.carry[b] * v.z[b, at + i * m + j]
                row[j] = q * q / c.B + (row[j] if b > 0 else 0.0)


@kernel
def decay_and_add(v, c, slot):
    """z <- carry z + dv/dW of sample `slot`."""
    for b in range(c.B):
        carry = v.carry[b]
        at = 0
        out = 0
        below = row_in_plane(v.archive_x, slot, b)
        for layer in range(1, c.L):
            n, m = int(v.sizes[layer - 1]), int(v.sizes[layer])
            e = v.archive_e[slot, b, out : out + m]
            for i in range(n + 1):
                x = below[i] if i < n else 1.0
                z = v.z[b, at : at + m]
                for j in range(m):
                    z[j] = carry * z[j] + x * e[j]
                at += m
            below = v.archive_h[slot, b, out : out + m]
            out += m


@kernel
def learn(v, c, slot, on, feedback):
    """One update from the TD error v.credit; nothing to tell."""
    v.updates[0] += 1.0
    t = v.updates[0]
    at, before, out = 0, -1, 0
    for layer in range(1, c.L):
        n, m = int(v.sizes[layer - 1]), int(v.sizes[layer])
        rate = annealed(v.rate[layer], v.rate_end[layer], c.anneal, t)
        some = max(1, AT_A_TIME // m)
        for first in range(0, n + 1, some):
            last = min(n + 1, first + some)
            for b in range(c.B):
                compute_update(v, c, slot, b, at, before, out, m, first, last, on)
            if c.V > 0:
                square(v, c, slot, at, before, out, m, first, last, on)
            start, size = at + first * m, ((last - first) * m,)
            c.optimizer.ascend(v, c, view(v.weight, start, size), v.slots_weight, start, view(v.gradient, start, size), v.squares, rate)
        at += n * m + m
        before = out
        out += m
    return False
