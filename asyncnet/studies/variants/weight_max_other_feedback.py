"""Weight Maximization whose feedback goes through other weights than those that it answers with.

    R_i = 2 sum_j B_ij U_ij,    B_ij ~ U(+-sqrt(6 / (inputs + units of the layer))), drawn once (feedback = "random"), or 0 ("none")

All else is the rule's own: coagent.py.
"""

from typing import Literal

from pydantic import Field as Setting

from asyncnet.kernels.kernel import kernel
from asyncnet.kernels.layout import Field
from asyncnet.rules import coagent, weight_max
from asyncnet.rules.settings import CoagentSettings
from asyncnet.studies.variants.other_weights import draw_other, tell

NAME = "weight-max-other-feedback"
LINE = "Weight Maximization whose feedback goes through fixed random weights, or through none"
UNITS, OUTPUTS, FREE_LOGITS = weight_max.UNITS, weight_max.OUTPUTS, weight_max.FREE_LOGITS
HIDDEN, OUTPUT = weight_max.HIDDEN._replace(kernels=__name__), weight_max.OUTPUT._replace(kernels=__name__)

FIELDS = (*coagent.FIELDS, Field("feedback_weight", "I O"))
SETTINGS = (*coagent.SETTINGS, ("random", int))


class Settings(CoagentSettings):
    name: Literal["weight-max-other-feedback"]
    feedback: Literal["random", "none"] = Setting("random", description="weights that feedback is computed with: drawn once, or all 0")


def values(settings: Settings, layer: int) -> dict[str, float]:
    """What this rule adds to the settings of a node of that layer."""
    return {"power": 2.0, "after": 1, "random": int(settings.feedback == "random")}


@kernel
def initialise(v, c):
    """The weights as ever, and those of the feedback."""
    coagent.initialise(v, c)
    draw_other(v, c)


@kernel
def learn(v, c, slot, on, feedback):
    """One update as ever; the feedback of it is computed anew."""
    wanted = coagent.learn(v, c, slot, on, feedback)
    if wanted:
        some = c.R // c.O
        for b in range(c.B):
            for first in range(0, c.I, some):
                last = min(c.I, first + some)
                coagent.compute_update(v, c, slot, on, b, first, last, False, v.moved)
                for i in range(first, last):
                    for j in range(c.O):
                        tell(v, c, b, i, j, 2.0 * v.feedback_weight[i, j] * v.moved[(i - first) * c.O + j], feedback)
    return wanted
