"""REINFORCE with a running mean of the reward as baseline.

    dW_ij = alpha * (R - r) * x_i * e_j,     r <- r + horizon * (R - r)

Source: Williams 1992, section 4 (reinforcement comparison).
"""

from typing import Annotated, Literal

from pydantic import Field as Setting

from asyncnet.kernels.kernel import kernel
from asyncnet.kernels.layout import Field
from asyncnet.rules import coagent
from asyncnet.rules.settings import CoagentSettings
from asyncnet.team.ports import ACTIVITIES, INPUTS, REWARD_AS_CREDIT, Kind

NAME = "reinforce-baseline"
LINE = "REINFORCE that subtracts a running mean of the reward"
UNITS, OUTPUTS = ("bernoulli", "sign"), ("softmax", "bernoulli", "sign")  # of hidden and of output units: what it is made for
FREE_LOGITS = False  # the last logit of a softmax is fixed at 0

# What its nodes are: the machine for units that act once on an observation, kernels in this file; they hear inputs and the one reward, and say their values.
HIDDEN = OUTPUT = Kind("asyncnet.machines.sampled", __name__, hears=(INPUTS, REWARD_AS_CREDIT), says=(ACTIVITIES,))


class Settings(CoagentSettings):
    name: Literal["reinforce-baseline"]
    horizon: Annotated[float, Setting(gt=0.0, le=1.0)] = Setting(0.01, description="share of the newest reward in the running mean")


def values(settings: Settings, layer: int) -> dict[str, float]:
    """What this rule adds to the settings of a node of that layer (0, 1, ...); the kernels read them as c.power and so on."""
    return {"power": 0.0, "after": 1, "horizon": settings.horizon}


FIELDS = (*coagent.FIELDS, Field("baseline", "B"))  # one number a stream, kept in the node's flat state
SETTINGS = (*coagent.SETTINGS, ("horizon", float))


@kernel
def learn(v, c, slot, on, feedback):
    """Replace the credit by its distance from the baseline, then learn as REINFORCE does."""
    for b in range(c.B):
        reward = v.credit[b, 0]
        for j in range(c.O):
            v.credit[b, j] = reward - v.baseline[b]
        v.baseline[b] += c.horizon * (reward - v.baseline[b])
    return coagent.learn(v, c, slot, on, feedback)
