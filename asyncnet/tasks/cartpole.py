"""CartPole inside compiled code: the same numbers, to the last bit, as Gymnasium's CartPole-v1 (a test compares them).

    a pole on a cart, Euler steps of 0.02 s, force +-10; ends beyond |x| = 2.4 or |theta| = 12 degrees, at the latest after 500 steps; reward 1 a step

Sources: Barto, Sutton & Anderson 1983; gymnasium.envs.classic_control.cartpole, whose order of operations this keeps. Starts are drawn as there: four
numbers U(-0.05, 0.05) of NumPy's PCG64 (O'Neill 2014: a 128-bit congruential generator, output XSL-RR), whose state is kept as 32-bit words.
"""

import math

import numpy as np

from asyncnet.kernels.kernel import kernel
from asyncnet.kernels.layout import Field, Views
from asyncnet.tasks.parts import seeds

FIELDS = (
    Field("physics", "B 4"),  # x, its speed, theta, its speed; what is shown is rounded to single precision
    Field("steps", "B", "0..500"),
    Field("generator", "B 8", "0..4294967295"),  # PCG64: state, then increment, as 32-bit words from the lowest
)
SETTINGS = ()

_LIMIT = 500
_X, _THETA = 2.4, 12 * 2 * np.pi / 360
_GRAVITY, _POLE, _TOTAL, _LENGTH, _POLE_LENGTH, _FORCE, _TAU = 9.8, 0.1, 0.1 + 1.0, 0.5, 0.1 * 0.5, 10.0, 0.02
_MULTIPLIER_HIGH, _MULTIPLIER_LOW = np.uint64(0x2360ED051FC65DA4), np.uint64(0x4385DF649FCCF645)
_LOW, _32, _1, _11, _58, _63, _64 = (np.uint64(n) for n in (0xFFFFFFFF, 32, 1, 11, 58, 63, 64))


def begin(v: Views, seed: int) -> None:
    """Seed each copy's generator as Gymnasium's `reset(seed=...)` does."""
    for row, own in zip(v.generator, seeds(seed, len(v.generator)), strict=True):
        state = np.random.PCG64(np.random.SeedSequence(own)).state["state"]
        row[:] = [(number >> shift) & 0xFFFFFFFF for number in (state["state"], state["inc"]) for shift in (0, 32, 64, 96)]


@kernel
def high_product(a, b):
    """The upper 64 bits of a * b."""
    a0, a1, b0, b1 = a & _LOW, a >> _32, b & _LOW, b >> _32
    middle = a1 * b0 + ((a0 * b0) >> _32)
    other = a0 * b1 + (middle & _LOW)
    return a1 * b1 + (middle >> _32) + (other >> _32)


@kernel
def uniform_of_pcg(g):
    """The next double in [0, 1) of the generator in g (8,)."""
    low, high = np.uint64(g[0]) | (np.uint64(g[1]) << _32), np.uint64(g[2]) | (np.uint64(g[3]) << _32)
    plus_low, plus_high = np.uint64(g[4]) | (np.uint64(g[5]) << _32), np.uint64(g[6]) | (np.uint64(g[7]) << _32)
    high = high_product(low, _MULTIPLIER_LOW) + high * _MULTIPLIER_LOW + low * _MULTIPLIER_HIGH
    low = low * _MULTIPLIER_LOW
    total = low + plus_low
    high = high + plus_high + (_1 if total < low else np.uint64(0))
    g[0], g[1] = np.float64(total & _LOW), np.float64(total >> _32)
    g[2], g[3] = np.float64(high & _LOW), np.float64(high >> _32)
    mixed, turned = high ^ total, high >> _58
    out = (mixed >> turned) | (mixed << ((_64 - turned) & _63))
    return np.float64(out >> _11) * (1.0 / 9007199254740992.0)


@kernel
def start(v, c, b):
    for i in range(4):
        v.physics[b, i] = -0.05 + 0.1 * uniform_of_pcg(v.generator[b])
    v.steps[b] = 0.0


@kernel
def show(v, c, b):
    for i in range(4):
        v.observation[b, i] = np.float64(np.float32(v.physics[b, i]))


@kernel
def reset(v, c):
    """The first start of every copy."""
    for b in range(c.B):
        start(v, c, b)
        show(v, c, b)


@kernel
def step(v, c):
    """One step of every copy, or its next start."""
    for b in range(c.B):
        if v.over[b] == 1.0:
            start(v, c, b)
        else:
            fall(v, c, b)
        show(v, c, b)
    return True


@kernel
def fall(v, c, b):
    x, x_dot, theta, theta_dot = v.physics[b, 0], v.physics[b, 1], v.physics[b, 2], v.physics[b, 3]
    force = _FORCE if v.action[b, 0] == 1.0 else -_FORCE
    cosine, sine = math.cos(theta), math.sin(theta)
    temp = (force + _POLE_LENGTH * (theta_dot * theta_dot) * sine) / _TOTAL
    theta_acc = (_GRAVITY * sine - cosine * temp) / (_LENGTH * (4.0 / 3.0 - _POLE * (cosine * cosine) / _TOTAL))
    x_acc = temp - _POLE_LENGTH * theta_acc * cosine / _TOTAL
    v.physics[b, 0], v.physics[b, 1] = x + _TAU * x_dot, x_dot + _TAU * x_acc
    v.physics[b, 2], v.physics[b, 3] = theta + _TAU * theta_dot, theta_dot + _TAU * theta_acc
    v.steps[b] += 1.0
    v.reward[b] = 1.0
    x, theta = v.physics[b, 0], v.physics[b, 2]
    if x < -_X or x > _X or theta < -_THETA or theta > _THETA:
        v.ended[b] = 1.0
    else:
        v.ended[b] = 2.0 if v.steps[b] >= _LIMIT else 0.0
