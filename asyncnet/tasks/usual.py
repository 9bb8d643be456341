"""What holds of a task that says nothing else."""

from asyncnet.kernels.kernel import kernel


@kernel
def grade(v, c, n, b, action):
    """The reward of an answer to question n: nobody asks, only independent questions can be graded late."""
    return 0.0


@kernel
def reward(v, c, b):
    """What the team hears of stream b's reward: all of it."""
    return v.reward[b]
