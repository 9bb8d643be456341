"""The kernels of a task that lives in Python: the world hands it back to its host (tasks/gym.py), which steps it."""

from asyncnet.kernels.kernel import kernel

FIELDS = ()
SETTINGS = ()


@kernel
def reset(v, c):
    """Nothing: the host writes the first observation."""


@kernel
def step(v, c):
    """Not done here."""
    return False
