"""REINFORCE on every unit: the team of agents that share one reward.

    dW_ij = alpha * R * x_i * e_j,     e = d log p(y) / d pot

Every node hears the reward (or TD error) itself, and tells its inputs nothing. Unbiased: E[R d log p(y_l | y_(l-1))] is the gradient of E[R]
with respect to layer l. Source: Williams 1992; Chung & Barto, RLDM 2022.
"""

from typing import Literal

from asyncnet.rules.settings import CoagentSettings

NAME = "reinforce"
LINE = "every unit correlates its own sample with the one broadcast reward; unbiased, high variance"
KERNELS = "asyncnet.rules.coagent"
MACHINE = "asyncnet.machines.sampled"
UNITS = ("bernoulli", "sign")  # kinds of hidden units it is made for
HEARS_REWARD = "all"  # which layers hear the reward: "all" or "output"
TELLS = False  # whether nodes send feedback to their inputs


class Settings(CoagentSettings):
    name: Literal["reinforce"]


def values(settings: Settings, layer: int) -> dict[str, float]:
    """What this rule adds to the settings of a node of that layer."""
    return {"power": 0.0, "after": 1}
