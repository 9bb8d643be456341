"""Asynchronous MAP Propagation: hidden units settle into their most probable values while everything around them goes on.

At each tick of its own a hidden node does one thing, whatever the team is doing:

    h <- h + step * ((mean - h) + var * u),     u_j = sum_k W_jk e_k of the layer above, if it is about the same observation
    archive[stamp] = (x, e);  says h;  tells its inputs e W^T

A new observation starts h anew:

    start = "sample"   h ~ N(mean, var)          "mean"   h = mean          "zero"   goes on from the h before

The output node alone knows the phase: it draws its action for each new observation, `decide` more times at its next ticks, and holds it then. Credit is the
one reward (or TD error), heard by every node. What it is multiplied with, through Adam:

    credit = "stamped"  x_i e_j as archived under the stamp that the credit names; with lambda > 0 the trace over the archive up to it
             "trace"    the trace over observations, without stamps
             "motion"   the manuscript's trace over ticks, which grows mostly while the unit is still:
                        g <- beta g + (1 - beta) dh;     z <- gamma lambda z + x_i e_j / (epsilon + kappa g_j^2)
             "time"     a trace per unit of time:        z <- exp(-dt / tau) z + (dt / tau) x_i e_j

Nobody reads another's weights: the layer above sends the product e W^T. Sources: Chung, MAP Propagation (2021), section 3.2 and algorithm 3 (one rule for
all hidden nodes, the motion-gated trace); starts and stamps are this project's. Kernels: settling.py, settling_on_clocks.py.
"""

from typing import Annotated, Literal

from pydantic import Field

from asyncnet.rules import map_propagation
from asyncnet.rules.settings import SettlingSettings, ValueNetwork
from asyncnet.rules.settling_on_clocks import TRACES

NAME = "map-propagation-async"
LINE = "Gaussian hidden units settle towards their most probable values on their own clocks; all hear the one reward"
UNITS, OUTPUTS, FREE_LOGITS = map_propagation.UNITS, map_propagation.OUTPUTS, True
HIDDEN = OUTPUT = map_propagation.HIDDEN._replace(machine="asyncnet.machines.settling", kernels="asyncnet.rules.settling_on_clocks")


class Settings(SettlingSettings):
    name: Literal["map-propagation-async"]
    credit: Literal["stamped", "trace", "motion", "time"] = Field("stamped", description="what credit is multiplied with (map_async.py)")
    gamma_per: Literal["tick", "decision"] = Field("tick", description="motion: whether gamma multiplies the trace at each tick or at each new observation")
    beta: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.7, description="motion: memory of the running mean of a unit's steps")
    kappa: Annotated[float, Field(ge=0.0, le=1e12)] = Field(1e3, description="motion: how strongly a moving unit's eligibility is held down")
    floor: Annotated[float, Field(gt=0.0, le=1.0)] = Field(1e-5, description="motion: epsilon, the least divisor")
    tau: Annotated[float, Field(gt=0.0, le=1e9)] = Field(4.0, description="time: ticks of the scenario after which a trace has fallen to 1/e")


class Critic(ValueNetwork, Settings):
    pass


def values(settings: Settings, layer: int) -> dict[str, float]:
    """What this rule adds to the settings of a node of that layer."""
    return map_propagation.common(settings, layer) | {
        "accumulates": TRACES.get(settings.credit, 0),
        "lam": settings.lambda_,
        "beta": settings.beta,
        "kappa": settings.kappa,
        "floor": settings.floor,
        "each_tick": int(settings.gamma_per == "tick"),
        "tau": settings.tau,
    }
