"""Asynchronous MAP Propagation whose feedback goes through other weights than those that it answers with.

    u_i = sum_j e_j B_ij,    B_ij ~ U(+-sqrt(6 / (inputs + units of the layer))), drawn once (feedback = "random"), or 0 ("none")

All else is the rule's own: settling.py, settling_on_clocks.py.
"""

from typing import Literal

from pydantic import Field as Setting

from asyncnet.kernels.kernel import kernel
from asyncnet.kernels.layout import Field
from asyncnet.rules import map_async, settling, settling_on_clocks
from asyncnet.studies.variants.other_weights import draw_other, project_other

NAME = "map-propagation-async-other-feedback"
LINE = "Asynchronous MAP Propagation whose feedback goes through fixed random weights, or through none"
UNITS, OUTPUTS, FREE_LOGITS = map_async.UNITS, map_async.OUTPUTS, True
HIDDEN = OUTPUT = map_async.HIDDEN._replace(kernels=__name__)

FIELDS = (*settling_on_clocks.FIELDS, Field("feedback_weight", "I O"))
SETTINGS = (*settling_on_clocks.SETTINGS, ("random", int))


class Settings(map_async.Settings):
    name: Literal["map-propagation-async-other-feedback"]
    feedback: Literal["random", "none"] = Setting("random", description="weights that feedback is computed with: drawn once, or all 0")


def values(settings: Settings, layer: int) -> dict[str, float]:
    """What this rule adds to the settings of a node of that layer."""
    return map_async.values(settings, layer) | {"random": int(settings.feedback == "random")}


@kernel
def initialise(v, c):
    """The weights as ever, and those of the feedback."""
    settling.initialise(v, c)
    draw_other(v, c)


@kernel
def backproject(v, c, feedback):
    """e B^T for the inputs: one sum, or (M > 1) one piece for each unit."""
    project_other(v, c, feedback)
