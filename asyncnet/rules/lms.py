"""LMS, the delta rule: one layer of linear units that is told its error.

    y = x W + b,     dW_ij = alpha * d_j * x_i,     db_j = alpha * d_j,     d = y* - y

No noise, no hidden layer: a control, and the place to look at step sizes (optimizers/idbd.py). It hears the signed error as its reward, so the task has to tell
that (`task.reward = "error"`). Source: Widrow & Hoff 1960.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from asyncnet.kernels.kernel import kernel
from asyncnet.kernels.products import add_up
from asyncnet.optimizers import Optimizer, sgd
from asyncnet.rules import coagent
from asyncnet.rules.settings import LearnerSettings, PerLayer
from asyncnet.team.ports import ACTIVITIES, INPUTS, REWARD_AS_CREDIT, Kind

if TYPE_CHECKING:
    from asyncnet.scenario.schema import Scenario

NAME = "lms"
LINE = "the delta rule: one layer of linear units that hears its signed error; weights and error, no noise"
UNITS, OUTPUTS, FREE_LOGITS = (), ("linear",), False  # it knows no hidden units
HIDDEN = OUTPUT = Kind("asyncnet.machines.sampled", __name__, hears=(INPUTS, REWARD_AS_CREDIT), says=(ACTIVITIES,))

CODES = {"linear": coagent.LINEAR}
FIELDS = coagent.FIELDS
SETTINGS = (*coagent.SETTINGS, ("biased", int))


class Settings(LearnerSettings):
    name: Literal["lms"]
    temperature: ClassVar[PerLayer] = (1.0,)  # nothing is sampled
    optimizer: Optimizer = Field(sgd.Settings(name="sgd"), description="how a weight follows its gradient: sgd (the delta rule), idbd, ... (optimizers/)")
    bias: bool = Field(True, description="whether units have a bias; without one it stays 0")

    def check(self, scenario: Scenario, table: str) -> tuple[str, str] | None:
        """What does not fit the rest of the scenario: (key, why)."""
        if getattr(scenario.task, "reward", "") != "error":
            return "task.reward", f'{NAME} learns from the signed error; needed: a task with reward = "error" (tracking, regression)'
        if scenario.critic:
            return "critic", f"{NAME} learns from the signed error itself; a critic has no place"
        return None


def values(settings: Settings, layer: int) -> dict[str, float]:
    """What this rule adds to the settings of a node of that layer."""
    return {"power": 0.0, "after": 1, "biased": int(settings.bias)}


@kernel
def initialise(v, c):
    """Weights and biases 0, as a state begins."""


@kernel
def respond(v, c, slot, stamp):
    """y = x W + b; of the eligibility x is archived already, and dy / dpot is 1."""
    add_up(v.x, v.weight, v.bias, v.y)
    for b in range(c.B):
        for j in range(c.O):
            v.archive_e[slot, b, j] = 1.0


@kernel
def learn(v, c, slot, on, feedback):
    """One update from v.credit, the error."""
    any_feedback = coagent.learn(v, c, slot, on, feedback)
    if c.biased == 0:
        v.bias[:] = 0.0
    return any_feedback
