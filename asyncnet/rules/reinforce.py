"""REINFORCE on every unit: the team of agents that share one reward.

    dW_ij = alpha * R * x_i * e_j,     e = d log p(y) / d pot

Every node hears the reward (or TD error) itself, and tells its inputs nothing. Unbiased: E[R d log p(y_l | y_(l-1))] is the gradient of E[R]
with respect to layer l. Source: Williams 1992; Chung & Barto, RLDM 2022.
"""

from typing import Literal

from asyncnet.rules.settings import CoagentSettings
from asyncnet.team.ports import ACTIVITIES, INPUTS, REWARD_AS_CREDIT, Kind

NAME = "reinforce"
LINE = "every unit correlates its own sample with the one broadcast reward; unbiased, high variance"
UNITS, OUTPUTS = ("bernoulli", "sign"), ("softmax", "bernoulli", "sign")  # of hidden and of output units: what it is made for
FREE_LOGITS = False  # whether a softmax has a logit for its last action too, which else is fixed at 0
HIDDEN = OUTPUT = Kind("asyncnet.machines.sampled", "asyncnet.rules.coagent", hears=(INPUTS, REWARD_AS_CREDIT), says=(ACTIVITIES,))


class Settings(CoagentSettings):
    name: Literal["reinforce"]


def values(settings: Settings, layer: int) -> dict[str, float]:
    """What this rule adds to the settings of a node of that layer."""
    return {"power": 0.0, "after": 1}
