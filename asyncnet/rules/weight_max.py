"""Weight Maximization: each hidden unit is rewarded by the growth of the norm of its own outgoing weights.

    dW^l_ij = alpha * R^l_j * q_ij,          q = x_i e_j, or its decaying trace
    R^L = reward or TD error,                R^l_i = sum_j d|W^(l+1)_ij|^power / dW * R^(l+1)_j q^(l+1)_ij

The layer above sends R as feedback once for each update, so nobody reads another's weights. `lambda` > 0 is the published "with traces".
Source: Chung & Barto, RLDM 2022, equations 4-6; released code (feedback uses the weights after their update).
"""

from typing import Annotated, Literal

from pydantic import Field

from asyncnet.rules.settings import CoagentSettings
from asyncnet.team.ports import ACTIVITIES, CREDIT, FEEDBACK_AS_CREDIT, INPUTS, REWARD_AS_CREDIT, Kind

NAME = "weight-max"
LINE = "each hidden unit is rewarded by the change in the norm of its own outgoing weights, told by the layer above"
UNITS, OUTPUTS, FREE_LOGITS = ("bernoulli", "sign"), ("softmax", "bernoulli", "sign"), False
HIDDEN = Kind("asyncnet.machines.sampled", "asyncnet.rules.coagent", hears=(INPUTS, FEEDBACK_AS_CREDIT), says=(ACTIVITIES, CREDIT))
OUTPUT = HIDDEN.replace("credit", REWARD_AS_CREDIT)


class Settings(CoagentSettings):
    name: Literal["weight-max"]
    power: Annotated[float, Field(gt=0.0, le=10.0)] = Field(2.0, description="exponent of the norm")
    feedback_weights: Literal["after", "before"] = Field("after", description="weights that feedback is computed with: after or before their update")


def values(settings: Settings, layer: int) -> dict[str, float]:
    """What this rule adds to the settings of a node of that layer."""
    return {"power": settings.power, "after": int(settings.feedback_weights == "after")}
