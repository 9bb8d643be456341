"""Kernels of stochastic units that learn from credit times eligibility: REINFORCE and Weight Maximization.

    pot = x W + b                              (B, O)
    Bernoulli {0,1}     p = s(pot / T),        y = 1 with probability p          e = (y - p) / T
    Bernoulli {-1,+1}   m = 2 s(pot / T) - 1,  y = 1 with probability (m + 1)/2  e = (y - m) / T
    softmax group       p = softmax([pot, 0] / T), y one-hot of O + 1            e = (y - p)[:O] / T

    z <- decay z + x (x) e          q = z (or x (x) e without a trace)
    U_ij = R_j q_ij                 dW_ij = mean over streams of U_ij, through the optimiser; biases alike
    R_i  = sum_j d|W_ij|^power / dW_ij * U_ij = 2 sum_j W_ij U_ij for power 2      told to input i (Weight Maximization; power 0: nothing)

Sources: Williams 1992 (REINFORCE); Chung & Barto, RLDM 2022, equations 4-6 and the released code (Weight Maximization: the last class of a
softmax has a fixed logit of 0, feedback uses the weights after their update).
"""

import numpy as np

from asyncnet.kernels.arithmetic import dot, exp, sigmoid, total
from asyncnet.kernels.chance import BIAS, SAMPLE, WEIGHT, uniform
from asyncnet.kernels.kernel import kernel, row_at, row_in_plane, view
from asyncnet.kernels.layout import SCRATCH, Field
from asyncnet.kernels.products import add_up
from asyncnet.optimizers.parts import annealed

BERNOULLI, SIGN, SOFTMAX, SOFTPLUS, RELU, LINEAR = range(6)
CODES = {"bernoulli": BERNOULLI, "sign": SIGN, "softmax": SOFTMAX}  # of `units`

FIELDS = (
    Field("weight", "I O"),
    Field("bias", "O"),
    Field("slots_weight", "Y I O"),  # the optimiser's
    Field("slots_bias", "Y O"),
    Field("updates", "1", "0.."),
    Field("z_weight", "Z I O"),
    Field("z_bias", "Z O"),
    Field("pot", "B O"),
    Field("mean", "B N"),
    Field("archive_e", "K B O"),
    Field("archive_y", "K B N"),
    Field("gradient", "R", lies=SCRATCH),  # of some inputs' weights
    Field("gradient_bias", "O", lies=SCRATCH),
    Field("moved", "R", lies=SCRATCH),  # U of one stream
    Field("parts", "O", lies=SCRATCH),  # of the feedback for one input
    Field("squares", "V", lies=SCRATCH),  # of some weights' eligibilities, for an optimiser that asks
)
SETTINGS = (
    ("units", int),  # one of the codes above
    ("fan_out", int),
    ("temperature", float),
    ("rate", float),
    ("rate_end", float),
    ("anneal", float),
    ("power", float),
    ("after", int),  # feedback from the weights after (1) or before (0) their update
)


@kernel
def initialise(v, c):
    """Weights U(+-sqrt(6 / (inputs + units of the layer))), biases U(+-0.001)."""
    span = np.sqrt(6.0 / (c.I + c.fan_out))
    first = int(v.unit0[0])
    for j in range(c.O):
        for i in range(c.I):
            v.weight[i, j] = span * (2.0 * uniform(c.seed, WEIGHT, first + j, i, 0) - 1.0)
        v.bias[j] = 0.001 * (2.0 * uniform(c.seed, BIAS, first + j, 0, 0) - 1.0)


@kernel
def expect(v, c, x):
    """Potentials and means of all units for the inputs x (B, I); a softmax of O + 1 values has a last logit of 0."""
    add_up(x, v.weight, v.bias, v.pot)
    for b in range(c.B):
        pot, mean = row_at(v.pot, b), row_at(v.mean, b)
        for j in range(c.O):
            pot[j] = pot[j] / c.temperature
        if c.units == SOFTMAX:
            top, whole = 0.0 if c.N > c.O else -np.inf, 0.0
            for j in range(c.O):
                top = max(top, pot[j])
            for j in range(c.O):
                mean[j] = exp(max(pot[j] - top, -30.0))
            if c.N > c.O:
                mean[c.O] = exp(max(-top, -30.0))
            for n in range(c.N):
                whole += mean[n]
            for n in range(c.N):
                mean[n] /= whole
        else:
            scale, shift = (1.0, 0.0) if c.units == BERNOULLI else (2.0, -1.0)
            for j in range(c.O):
                mean[j] = scale * sigmoid(pot[j]) + shift


@kernel
def choose(v, c, b, u):
    """Set stream b's one-hot v.y by the number u in [0, 1)."""
    y, mean = row_at(v.y, b), row_at(v.mean, b)
    chosen, below = c.N - 1, 0.0
    for n in range(c.N):
        y[n] = 0.0
        below += mean[n]
        if u < below and n < chosen:
            chosen = n
    y[chosen] = 1.0


@kernel
def draw(v, c, stamp):
    """Sample v.y from the means; the draw belongs to (unit, stream, stamp)."""
    first = int(v.unit0[0])
    for b in range(c.B):
        if c.units == SOFTMAX:
            choose(v, c, b, uniform(c.seed, SAMPLE, first, b, stamp))
        else:
            y, mean = row_at(v.y, b), row_at(v.mean, b)
            for j in range(c.O):  # a loop of its own, which vectorises
                y[j] = uniform(c.seed, SAMPLE, first + j, b, stamp)
            if c.units == BERNOULLI:
                for j in range(c.O):
                    y[j] = 1.0 if y[j] < mean[j] else 0.0
            else:
                for j in range(c.O):
                    y[j] = 1.0 if y[j] < 0.5 * (mean[j] + 1.0) else -1.0


@kernel
def archive_sample(v, c, slot):
    """Keep the sample and its score e = d log p(y) / d pot."""
    for b in range(c.B):
        y, mean, e, kept = row_at(v.y, b), row_at(v.mean, b), row_in_plane(v.archive_e, slot, b), row_in_plane(v.archive_y, slot, b)
        for n in range(c.N):
            kept[n] = y[n]
        for j in range(c.O):
            e[j] = (y[j] - mean[j]) / c.temperature


@kernel
def respond(v, c, slot, stamp):
    """Sample for the inputs v.x and keep what learning will need in archive slot `slot`."""
    expect(v, c, v.x)
    draw(v, c, stamp)
    archive_sample(v, c, slot)


@kernel
def finish_eligibility(v, c, slot):
    """Compute the eligibility once the sample's own instant is over: nothing to do, the score does not depend on the weights."""


@kernel
def decay_and_add(v, c, slot):
    """z <- carry z + x (x) e of archive slot `slot`."""
    for b in range(c.B):
        for i in range(c.I):
            x = v.archive_x[slot, b, i]
            for j in range(c.O):
                v.z_weight[b, i, j] = v.carry[b] * v.z_weight[b, i, j] + x * v.archive_e[slot, b, j]
        for j in range(c.O):
            v.z_bias[b, j] = v.carry[b] * v.z_bias[b, j] + v.archive_e[slot, b, j]


@kernel
def compute_update(v, c, slot, on, b, first, last, more, out):
    """U of stream b for inputs first..last into (more: onto) out, row by row, for the eligibility carry z + on * sample `slot`."""
    e, credit = row_in_plane(v.archive_e, slot, b), v.credit[b]
    if c.O == 1 and c.Z == 0:  # one unit: its inputs lie side by side
        x, e0, credit0 = row_in_plane(v.archive_x, slot, b), e[0], credit[0]
        for i in range(first, last):
            moved = on * x[i] * e0 * credit0
            out[i - first] = out[i - first] + moved if more else moved
        return
    for i in range(first, last):
        x = on * v.archive_x[slot, b, i]
        row = view(out, (i - first) * c.O, (c.O,))
        if c.Z > 0:
            z, carry = v.z_weight[b, i], v.carry[b]
            for j in range(c.O):
                moved = (carry * z[j] + x * e[j]) * credit[j]
                row[j] = row[j] + moved if more else moved
        else:
            for j in range(c.O):
                moved = x * e[j] * credit[j]
                row[j] = row[j] + moved if more else moved


@kernel
def square(v, c, slot, on, first, last):
    """The squared eligibilities of inputs first..last, mean over streams, into v.squares."""
    for b in range(c.B):
        for i in range(first, last):
            x, row = on * v.archive_x[slot, b, i], view(v.squares, (i - first) * c.O, (c.O,))
            for j in range(c.O):
                q = x * v.archive_e[slot, b, j]
                if c.Z > 0:
                    q += v.carry[b] * v.z_weight[b, i, j]
                row[j] = q * q / c.B + (row[j] if b > 0 else 0.0)


@kernel
def compute_feedback(v, c, b, first, last, moved, feedback):
    """Feedback for inputs first..last, of stream b's U: one sum, or (M > 1) one piece for each unit so that the hearer can sum in unit order."""
    parts = v.parts
    if c.O == 1 and c.power == 2.0:
        size = (last - first,)
        w, u, out = view(v.weight, first, size), view(moved, 0, size), view(feedback, b * c.I + first, size)
        for n in range(size[0]):
            out[n] = 2.0 * (0.0 + w[n] * u[n])
        return
    for i in range(first, last):
        w, u = v.weight[i], view(moved, (i - first) * c.O, (c.O,))
        if c.power == 2.0 and c.M == 1:
            feedback[b, i, 0] = 2.0 * dot(w, u)  # the bits of the sum of the partial sums: doubling is exact
            continue
        for j in range(c.O):
            parts[j] = 2.0 * w[j] * u[j] if c.power == 2.0 else c.power * np.abs(w[j]) ** (c.power - 1.0) * np.sign(w[j]) * u[j]
        if c.M > 1:
            for j in range(c.O):
                feedback[b, i, j] = parts[j]
        else:
            feedback[b, i, 0] = total(parts)


@kernel
def compute_all_feedback(v, c, slot, on, first, last, feedback):
    if c.B == 1:
        compute_feedback(v, c, 0, first, last, v.gradient, feedback)
        return
    for b in range(c.B):
        compute_update(v, c, slot, on, b, first, last, False, v.moved)
        compute_feedback(v, c, b, first, last, v.moved, feedback)


@kernel
def learn(v, c, slot, on, feedback):
    """One update from v.credit and the eligibility (carry z + on * sample `slot`); returns whether `feedback` is filled.

    Inputs are taken some at a time, so that gradient, step and feedback of a weight follow each other while it is at hand.
    """
    v.updates[0] += 1.0
    rate = annealed(c.rate, c.rate_end, c.anneal, v.updates[0])
    wanted = c.F > 0 and c.power > 0.0
    share = 1.0 / c.B
    gradient = v.gradient
    some = c.R // c.O
    for first in range(0, c.I, some):
        last = min(c.I, first + some)
        at, size = first * c.O, ((last - first) * c.O,)
        for b in range(c.B):
            compute_update(v, c, slot, on, b, first, last, b > 0, gradient)
        if c.B > 1:
            for n in range(size[0]):
                gradient[n] *= share
        if wanted and c.after == 0:
            compute_all_feedback(v, c, slot, on, first, last, feedback)
        if c.V > 0:
            square(v, c, slot, on, first, last)
        c.optimizer.ascend(v, c, view(v.weight, at, size), v.slots_weight, at, view(gradient, 0, size), v.squares, rate)
        if wanted and c.after == 1:
            compute_all_feedback(v, c, slot, on, first, last, feedback)
    for j in range(c.O):
        whole, squares = 0.0, 0.0
        for b in range(c.B):
            e = on * v.archive_e[slot, b, j]
            if c.Z > 0:
                e += v.carry[b] * v.z_bias[b, j]
            whole += e * v.credit[b, j]
            squares += e * e
        v.gradient_bias[j] = share * whole
        if c.V > 0:
            v.squares[j] = share * squares
    c.optimizer.ascend(v, c, v.bias, v.slots_bias, 0, v.gradient_bias, v.squares, rate)
    return wanted
