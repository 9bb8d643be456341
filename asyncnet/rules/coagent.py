"""Kernels of stochastic units that learn from credit times eligibility: REINFORCE and Weight Maximization.

    pot = x W + b                              (B, O)
    Bernoulli {0,1}     p = s(pot / T),        y = 1 with probability p          e = (y - p) / T
    Bernoulli {-1,+1}   m = 2 s(pot / T) - 1,  y = 1 with probability (m + 1)/2  e = (y - m) / T
    softmax group       p = softmax([pot, 0] / T), y one-hot of O + 1            e = (y - p)[:O] / T

    z <- decay z + x (x) e          q = z (or x (x) e without a trace)
    U_ij = R_j q_ij                 dW_ij = mean over streams of U_ij, through Adam; biases alike
    R_i  = sum_j d|W_ij|^power / dW_ij * U_ij = 2 sum_j W_ij U_ij for power 2      told to input i (Weight Maximization; power 0: nothing)

Sources: Williams 1992 (REINFORCE); Chung & Barto, RLDM 2022, equations 4-6 and the released code (Weight Maximization: the last class of a
softmax has a fixed logit of 0, feedback uses the weights after their update).
"""

import numpy as np

from asyncnet.chance import BIAS, SAMPLE, WEIGHT, uniform
from asyncnet.kernel import kernel, view
from asyncnet.layout import Field
from asyncnet.optim import annealed, ascend, corrections

BERNOULLI, SIGN, SOFTMAX = range(3)

FIELDS = (
    Field("weight", "I O"),
    Field("bias", "O"),
    Field("m_weight", "I O"),
    Field("v_weight", "I O"),
    Field("m_bias", "O"),
    Field("v_bias", "O"),
    Field("updates", "1"),
    Field("z_weight", "Z I O"),
    Field("z_bias", "Z O"),
    Field("pot", "B O"),
    Field("mean", "B N"),
    Field("ring_e", "K B O"),
    Field("ring_y", "K B N"),
    Field("gradient", "I O"),
    Field("gradient_bias", "O"),
    Field("moved", "I O"),  # U of one stream
)
SETTINGS = (
    ("units", int),  # one of the codes above
    ("unit0", int),  # identity of the first unit
    ("fan_out", int),
    ("temperature", float),
    ("rate", float),
    ("rate_end", float),
    ("anneal", float),
    ("beta1", float),
    ("beta2", float),
    ("epsilon", float),
    ("power", float),
    ("after", int),  # feedback from the weights after (1) or before (0) their update
    ("tells", int),  # whether any input listens to feedback
)


@kernel
def initialise(v, c):
    """Weights U(+-sqrt(6 / (inputs + units of the layer))), biases U(+-0.001)."""
    span = np.sqrt(6.0 / (c.I + c.fan_out))
    for j in range(c.O):
        for i in range(c.I):
            v.weight[i, j] = span * (2.0 * uniform(c.seed, WEIGHT, c.unit0 + j, i, 0) - 1.0)
        v.bias[j] = 0.001 * (2.0 * uniform(c.seed, BIAS, c.unit0 + j, 0, 0) - 1.0)


@kernel
def sigmoid(x):
    """1 / (1 + exp(-x)), exactly 0 or 1 beyond |x| >= 20 as in the released code."""
    if x >= 20.0:
        return 1.0
    if x <= -20.0:
        return 0.0
    return 1.0 / (1.0 + np.exp(-x))


@kernel
def expect(v, c):
    """Potentials and means of all units for the inputs v.x."""
    for b in range(c.B):
        for j in range(c.O):
            v.pot[b, j] = v.bias[j]
        for i in range(c.I):
            x = v.x[b, i]
            if x != 0.0:
                for j in range(c.O):
                    v.pot[b, j] += x * v.weight[i, j]
        if c.units == SOFTMAX:
            top = 0.0
            for j in range(c.O):
                v.pot[b, j] = v.pot[b, j] / c.temperature
                top = max(top, v.pot[b, j])
            total = 0.0
            for n in range(c.N):
                logit = v.pot[b, n] if n < c.O else 0.0
                v.mean[b, n] = np.exp(max(logit - top, -30.0))
                total += v.mean[b, n]
            for n in range(c.N):
                v.mean[b, n] /= total
        else:
            for j in range(c.O):
                v.pot[b, j] = v.pot[b, j] / c.temperature
                p = sigmoid(v.pot[b, j])
                v.mean[b, j] = p if c.units == BERNOULLI else 2.0 * p - 1.0


@kernel
def draw(v, c, stamp):
    """Sample v.y from the means; the draw belongs to (unit, stream, stamp)."""
    for b in range(c.B):
        if c.units == SOFTMAX:
            u = uniform(c.seed, SAMPLE, c.unit0, b, stamp)
            chosen = c.N - 1
            below = 0.0
            for n in range(c.N):
                v.y[b, n] = 0.0
                below += v.mean[b, n]
                if u < below and n < chosen:
                    chosen = n
            v.y[b, chosen] = 1.0
        else:
            for j in range(c.O):
                u = uniform(c.seed, SAMPLE, c.unit0 + j, b, stamp)
                if c.units == BERNOULLI:
                    v.y[b, j] = 1.0 if u < v.mean[b, j] else 0.0
                else:
                    v.y[b, j] = 1.0 if u < 0.5 * (v.mean[b, j] + 1.0) else -1.0


@kernel
def archive(v, c, slot):
    """Keep the sample and its score e = d log p(y) / d pot."""
    for b in range(c.B):
        for n in range(c.N):
            v.ring_y[slot, b, n] = v.y[b, n]
        for j in range(c.O):
            v.ring_e[slot, b, j] = (v.y[b, j] - v.mean[b, j]) / c.temperature


@kernel
def respond(v, c, slot, stamp):
    """Sample for the inputs v.x and keep what learning will need in archive slot `slot`."""
    expect(v, c)
    draw(v, c, stamp)
    archive(v, c, slot)


@kernel
def settle(v, c, slot):
    """Reckon the eligibility once the sample's own instant is over: nothing to do, the score does not depend on the weights."""


@kernel
def fold(v, c, slot):
    """z <- carry z + x (x) e of archive slot `slot`."""
    for b in range(c.B):
        for i in range(c.I):
            x = v.ring_x[slot, b, i]
            for j in range(c.O):
                v.z_weight[b, i, j] = v.carry[b] * v.z_weight[b, i, j] + x * v.ring_e[slot, b, j]
        for j in range(c.O):
            v.z_bias[b, j] = v.carry[b] * v.z_bias[b, j] + v.ring_e[slot, b, j]


@kernel
def reckon(v, c, slot, on, b, out):
    """U of stream b into out (I, O), for the eligibility carry z + on * sample `slot`."""
    for i in range(c.I):
        x = on * v.ring_x[slot, b, i]
        if c.Z > 0:
            for j in range(c.O):
                out[i, j] = (v.carry[b] * v.z_weight[b, i, j] + x * v.ring_e[slot, b, j]) * v.credit[b, j]
        else:
            for j in range(c.O):
                out[i, j] = x * v.ring_e[slot, b, j] * v.credit[b, j]


@kernel
def tell(v, c, b, moved, told):
    """Feedback for each input, of stream b's U: one sum, or (M > 1) one piece for each unit so that the hearer can sum in unit order."""
    for i in range(c.I):
        total = 0.0
        for j in range(c.O):
            w = v.weight[i, j]
            piece = (2.0 * w if c.power == 2.0 else c.power * np.abs(w) ** (c.power - 1.0) * np.sign(w)) * moved[i, j]
            if c.M > 1:
                told[b, i, j] = piece
            total += piece
        if c.M == 1:
            told[b, i, 0] = total


@kernel
def tell_all(v, c, slot, on, told):
    if c.B == 1:
        tell(v, c, 0, v.gradient, told)
        return
    for b in range(c.B):
        reckon(v, c, slot, on, b, v.moved)
        tell(v, c, b, v.moved, told)


@kernel
def learn(v, c, slot, on, told):
    """One update from v.credit and the eligibility (carry z + on * sample `slot`); returns whether `told` holds feedback for the inputs."""
    v.updates[0] += 1.0
    t = v.updates[0]
    rate = annealed(c.rate, c.rate_end, c.anneal, t)
    c1, c2 = corrections(t, c.beta1, c.beta2)
    tells = c.tells == 1 and c.power > 0.0
    share = 1.0 / c.B
    weights = (c.I * c.O,)
    gradient, moved = view(v.gradient, 0, weights), view(v.moved, 0, weights)
    reckon(v, c, slot, on, 0, v.gradient)
    if c.B > 1:
        for b in range(1, c.B):
            reckon(v, c, slot, on, b, v.moved)
            for n in range(gradient.size):
                gradient[n] += moved[n]
        for n in range(gradient.size):
            gradient[n] *= share
    if tells and c.after == 0:
        tell_all(v, c, slot, on, told)
    ascend(view(v.weight, 0, weights), view(v.m_weight, 0, weights), view(v.v_weight, 0, weights), gradient, rate, c.beta1, c.beta2, c.epsilon, c1, c2)
    if tells and c.after == 1:
        tell_all(v, c, slot, on, told)
    for j in range(c.O):
        total = 0.0
        for b in range(c.B):
            e = on * v.ring_e[slot, b, j]
            if c.Z > 0:
                e += v.carry[b] * v.z_bias[b, j]
            total += e * v.credit[b, j]
        v.gradient_bias[j] = share * total
    ascend(v.bias, v.m_bias, v.v_bias, v.gradient_bias, rate, c.beta1, c.beta2, c.epsilon, c1, c2)
    return tells
