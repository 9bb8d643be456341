"""Asynchronous MAP Propagation: hidden units settle into their most probable values while everything around them goes on.

At each tick of its own a hidden node does one thing, whatever the team is doing:

    mean = f(x W + b)                    h <- h + step * ((mean - h) + var * u),     u_j = sum_k W_jk v_k of the layer above
    v = (h - mean) f'(pot) / var         archive[stamp] = (x, v);  says h;  tells its inputs v W^T

f is softplus, var fixed for each layer; with step 0.5 this is the published pull towards the mode of Pr(h | below, above). u counts only while it is
about the same observation. A new observation starts h anew:

    start = "sample"   h ~ N(mean, var)          "mean"   h = mean          "zero"   goes on from the h before

The output node samples once for each observation and holds; v = (A - p) / T there. Credit is the one reward (or TD error), heard by every node:
dW_ij = delta * x_i v_j with the archive of the stamp it names, through Adam. Nobody reads another's weights: the layer above sends the product v W^T.

Sources: Chung, MAP Propagation (2021), section 3.2 and algorithm 3 (one rule for all hidden nodes); starts and stamps are this project's.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field as Setting

from asyncnet.arithmetic import sigmoid, softplus, total
from asyncnet.chance import SAMPLE, WEIGHT, normal, uniform
from asyncnet.kernel import kernel
from asyncnet.layout import Field
from asyncnet.rules import coagent
from asyncnet.rules.coagent import add_up, archive, draw, expect
from asyncnet.rules.settings import CoagentSettings, PerLayer, per_layer

NAME = "map-propagation-async"
LINE = "Gaussian hidden units settle towards their most probable values on their own clocks; all hear the one reward"
KERNELS = __name__
UNITS = ("softplus",)
HEARS_REWARD = "all"
TELLS = True

GAUSSIAN = 3  # a code of `units` beside those of coagent.py
STARTS = {"zero": 0, "sample": 1, "mean": 2}
_SAMPLE, _MEAN = STARTS["sample"], STARTS["mean"]

FIELDS = (
    *coagent.FIELDS,
    Field("drive_stamp", "E"),  # of the newest feedback of each node above
    Field("drive_seq", "E"),
    Field("drive_from", "E 2"),  # the pieces it brings: from, to
    Field("drive", "B O Q"),
)
SETTINGS = (*coagent.SETTINGS, ("variance", float), ("step", float), ("start", int))


class Settings(CoagentSettings):
    name: Literal["map-propagation-async"]
    variance: PerLayer = Setting((0.3, 1.0), description="of each hidden layer's units, first to last; one number: the same for all")
    step: Annotated[float, Setting(gt=0.0, le=1.0)] = Setting(0.5, description="share of the way to the mode that a unit goes at each tick; 0.5 as published")
    start: Literal["zero", "sample", "mean"] = Setting("sample", description="where a unit begins at a new observation")


def values(settings: Settings, layer: int) -> dict[str, float]:
    """What this rule adds to the settings of a node of that layer."""
    hidden = min(layer, len(settings.variance) - 1)  # the output has none
    return {"power": 0.0, "after": 1, "variance": per_layer(settings.variance, hidden), "step": settings.step, "start": STARTS[settings.start]}


@kernel
def initialise(v, c):
    """Weights U(+-sqrt(6 / (inputs + units of the layer))), biases 0."""
    span = np.sqrt(6.0 / (c.I + c.fan_out))
    first = int(v.unit0[0])
    v.drive_stamp[:] = -1.0
    for j in range(c.O):
        for i in range(c.I):
            v.weight[i, j] = span * (2.0 * uniform(c.seed, WEIGHT, first + j, i, 0) - 1.0)


@kernel
def think(v, c):
    """Potentials and means for the inputs v.x."""
    if c.units != GAUSSIAN:
        expect(v, c)
        return
    for b in range(c.B):
        add_up(v.x[b], v.weight, v.bias, v.pot[b])
        pot, mean = v.pot[b], v.mean[b]
        for j in range(c.O):
            mean[j] = softplus(pot[j])


@kernel
def keep(v, c, slot):
    """archive[slot] = (x, v)"""
    for b in range(c.B):
        for i in range(c.I):
            v.ring_x[slot, b, i] = v.x[b, i]
    if c.units != GAUSSIAN:
        archive(v, c, slot)
        return
    for b in range(c.B):
        y, pot, mean, e, kept = v.y[b], v.pot[b], v.mean[b], v.ring_e[slot, b], v.ring_y[slot, b]
        for j in range(c.O):
            kept[j] = y[j]
            e[j] = (y[j] - mean[j]) * sigmoid(pot[j]) / c.variance


@kernel
def respond(v, c, slot, stamp):
    """Begin with a new observation."""
    think(v, c)
    if c.units != GAUSSIAN:
        draw(v, c, stamp)
    elif c.start != 0:
        first = int(v.unit0[0])
        for b in range(c.B):
            for j in range(c.O):
                v.y[b, j] = v.mean[b, j]
                if c.start == _SAMPLE:
                    v.y[b, j] += np.sqrt(c.variance) * normal(c.seed, SAMPLE, first + j, b, stamp)
    keep(v, c, slot)


@kernel
def relax(v, c, slot, stamp):
    """One step towards the mode, for hidden units; the output only looks at its inputs again."""
    think(v, c)
    if c.units == GAUSSIAN:
        for sender in range(c.E):
            if v.drive_stamp[sender] != stamp:  # about another observation
                first, last = int(v.drive_from[sender, 0]), int(v.drive_from[sender, 1])
                v.drive[:, :, first:last] = 0.0
        for b in range(c.B):
            for j in range(c.O):
                v.y[b, j] += c.step * ((v.mean[b, j] - v.y[b, j]) + c.variance * total(v.drive[b, j]))
    keep(v, c, slot)


@kernel
def feel(v, c, port, seq, stamp, payload):
    """Take in what a node above tells: the newest counts."""
    if stamp < v.drive_stamp[port] or (stamp == v.drive_stamp[port] and seq <= v.drive_seq[port]):
        return  # overtaken on the way
    v.drive_stamp[port] = stamp
    v.drive_seq[port] = seq
    first, last = int(v.drive_from[port, 0]), int(v.drive_from[port, 1])
    at = 0
    for b in range(c.B):
        for j in range(c.O):
            for piece in range(first, last):
                v.drive[b, j, piece] = payload[at]
                at += 1


@kernel
def pull(v, c, slot, told):
    """v W^T for the inputs: one sum, or (M > 1) one piece for each unit; returns whether any of them listens."""
    if c.tells == 0:
        return False
    for b in range(c.B):
        e, pieces = v.ring_e[slot, b], v.pieces
        for i in range(c.I):
            w = v.weight[i]
            for j in range(c.O):
                pieces[j] = e[j] * w[j]
            if c.M > 1:
                for j in range(c.O):
                    told[b, i, j] = pieces[j]
            else:
                told[b, i, 0] = total(pieces)
    return True
