"""Kernels of tasks that know the right answer: the error, and what the team hears of it."""

from asyncnet.kernels.kernel import kernel


@kernel
def measure(v, c):
    """missed = answer - action, reward = -missed^2, of each stream."""
    for b in range(c.B):
        v.missed[b] = v.answer[b] - v.action[b, 0]
        v.reward[b] = -v.missed[b] * v.missed[b]


@kernel
def reward(v, c, b):
    """What the team hears: the signed error, or minus its square."""
    return v.missed[b] if c.signed == 1 else v.reward[b]
