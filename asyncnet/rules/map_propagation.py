"""MAP Propagation: hidden units take their most probable values, given what they see and the action, before they learn from the reward.

    1. every layer samples in turn; the output's sample is the action
    2. `rounds` times, all hidden layers at once from what they held:   h <- h + step * ((mean - h) + var * sum_k W_jk e_k of the layer above)
    3. dW_ij = alpha * R * x_i e_j at the values reached (with decay, its trace), through Adam; every node hears the one reward or TD error

The synchronous phases are waves of messages between nodes on on-arrival clocks (machines/phased.py): they need every message, in its order, and a world that
waits. As
in the released code the TD error of the decision before is learned from between 1 and 2. With `start = "zero"` hidden units go on from what they held and
`decide` rounds draw the action anew: the released code's asynchronous path.

Source: Chung, MAP Propagation (2021), algorithms 1 and 2; released code. Kernels: settling.py, settling_in_phases.py.
"""

from typing import Annotated, Literal

from pydantic import Field

from asyncnet.rules.settings import SettlingSettings, ValueNetwork, per_layer
from asyncnet.rules.settling import GATES, STARTS
from asyncnet.team.ports import ACTIVITIES, DRIVE, FEEDBACK_AS_DRIVE, INPUTS, REWARD_AS_CREDIT, Kind

NAME = "map-propagation"
LINE = "Gaussian hidden units take their most probable values, in synchronous phases, before all learn from the one reward"
UNITS, OUTPUTS, FREE_LOGITS = ("softplus", "relu", "linear"), ("softmax", "linear"), True
HIDDEN = OUTPUT = Kind(
    "asyncnet.machines.phased", "asyncnet.rules.settling_in_phases", hears=(INPUTS, REWARD_AS_CREDIT, FEEDBACK_AS_DRIVE), says=(ACTIVITIES, DRIVE)
)


class Settings(SettlingSettings):
    name: Literal["map-propagation"]
    rounds: Annotated[int, Field(ge=1, le=4000)] = Field(20, description="steps of every hidden layer for each observation")


class Critic(ValueNetwork, Settings):
    pass


def values(settings: Settings, layer: int) -> dict[str, float]:
    """What this rule adds to the settings of a node of that layer."""
    return common(settings, layer) | {"rounds": settings.rounds}


def common(settings: SettlingSettings, layer: int) -> dict[str, float]:
    """What both forms of the rule add."""
    return {
        "power": 0.0,
        "after": 1,
        "variance": per_layer(settings.variance, min(layer, len(settings.variance) - 1)),
        "step": settings.step,
        "start": STARTS[settings.start],
        "decide": settings.decide,
        "gate": GATES[settings.gate],
    }
