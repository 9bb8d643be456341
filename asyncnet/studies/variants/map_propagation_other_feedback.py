"""MAP Propagation whose feedback goes through other weights than those that it answers with.

    u_i = sum_j e_j B_ij,    B_ij ~ U(+-sqrt(6 / (inputs + units of the layer))), drawn once (feedback = "random"), or 0 ("none")

All else is the rule's own: settling.py, settling_in_phases.py.
"""

from typing import Literal

from pydantic import Field as Setting

from asyncnet.kernels.kernel import kernel
from asyncnet.kernels.layout import Field
from asyncnet.rules import map_propagation, settling, settling_in_phases
from asyncnet.studies.variants.other_weights import draw_other, project_other

NAME = "map-propagation-other-feedback"
LINE = "MAP Propagation whose feedback goes through fixed random weights, or through none"
UNITS, OUTPUTS, FREE_LOGITS = map_propagation.UNITS, map_propagation.OUTPUTS, True
HIDDEN = OUTPUT = map_propagation.HIDDEN._replace(kernels=__name__)

FIELDS = (*settling_in_phases.FIELDS, Field("feedback_weight", "I O"))
SETTINGS = (*settling_in_phases.SETTINGS, ("random", int))


class Settings(map_propagation.Settings):
    name: Literal["map-propagation-other-feedback"]
    feedback: Literal["random", "none"] = Setting("random", description="weights that feedback is computed with: drawn once, or all 0")


def values(settings: Settings, layer: int) -> dict[str, float]:
    """What this rule adds to the settings of a node of that layer."""
    return map_propagation.values(settings, layer) | {"random": int(settings.feedback == "random")}


@kernel
def initialise(v, c):
    """The weights as ever, and those of the feedback."""
    settling.initialise(v, c)
    draw_other(v, c)


@kernel
def backproject(v, c, feedback):
    """e B^T for the inputs: one sum, or (M > 1) one piece for each unit."""
    project_other(v, c, feedback)
