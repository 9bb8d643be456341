"""Coordinated exploration: the units of a hidden layer hear each other, so that they try actions together, and learn whom to follow from the one reward.

    P(h | S) ~ exp(h (W^T S + b) + c/2 h U h)       U (H, H) symmetric, 0 on its diagonal: h is a Boltzmann machine's, given the observation S
    unit i, again and again at its own ticks:       h_i = 1 with probability s(S W_i + b_i + c sum_j U_ij h_j)
    dW_ki = alpha d S_k h_i     db_i = alpha d h_i     dU_ij = alpha d c h_i h_j,  i != j        d: the TD error that all hear
    the output is REINFORCE's: dW_jn = alpha d h_j (A_n - p_n)

In expectation that is the gradient of E[R]: d E[R] / dU_ij = Cov(R, h_i h_j | S) = E[(R - V(S)) h_i h_j], so the critic's V has to depend on the observation.
Both ends of a pair learn from the same product, so U stays symmetric without anybody seeing to it, as long as both have heard the other; an end that has not
heard the other about that observation learns nothing of the pair.

Source: Chung, "Coordinated exploration" (arXiv 2307.13256), by its published summary: equations and derivation are this project's, checked by enumeration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field as Setting

from asyncnet.kernels.arithmetic import dot, sigmoid
from asyncnet.kernels.chance import RESAMPLE, uniform
from asyncnet.kernels.kernel import kernel, plane_at, row_at, row_in_plane
from asyncnet.kernels.layout import SCRATCH, Field
from asyncnet.kernels.products import add_up
from asyncnet.machines.gibbs import PEERS
from asyncnet.optimizers.parts import annealed
from asyncnet.rules import coagent
from asyncnet.rules.settings import CoagentSettings
from asyncnet.team.ports import ACTIVITIES, INPUTS, REWARD_AS_CREDIT, Kind

if TYPE_CHECKING:
    from asyncnet.scenario.schema import Scenario

NAME = "coordinated-exploration"
LINE = "hidden units hear each other and sample together; they learn from the one reward whom to follow"
UNITS, OUTPUTS, FREE_LOGITS = ("bernoulli",), ("softmax", "bernoulli", "sign"), False
HIDDEN = Kind("asyncnet.machines.gibbs", __name__, hears=(INPUTS, REWARD_AS_CREDIT, PEERS), says=(ACTIVITIES,))
OUTPUT = Kind("asyncnet.machines.sampled", "asyncnet.rules.coagent", hears=(INPUTS, REWARD_AS_CREDIT), says=(ACTIVITIES,))

MOST_DRAWS = 4096  # for one observation


class Settings(CoagentSettings):
    name: Literal["coordinated-exploration"]
    credit: Literal["stamped"] = Setting("stamped", description="pairs of values are found by the stamp that they were said with")
    lambda_: Literal[0.0] = Setting(0.0, alias="lambda", description="there is no trace over decisions")
    coupling: Annotated[float, Setting(ge=0.0, le=100.0)] = Setting(0.25, description="c, how strongly units hear each other")
    sweeps: Annotated[int, Setting(ge=1, le=MOST_DRAWS)] = Setting(5, description="how often a unit samples for an observation before it holds its value")
    start: Literal["silent", "hold"] = Setting("silent", description="what a unit counts for that has not sampled for an observation yet: 0, or what it held")

    def check(self, scenario: Scenario, table: str) -> tuple[str, str] | None:
        """What does not fit the rest of the scenario: (key, why)."""
        if len(scenario.network.hidden) != 1:
            return "network.hidden", f"{NAME} is derived for one hidden layer; got {len(scenario.network.hidden)}"
        return None


def values(settings: Settings, layer: int) -> dict[str, float]:
    """What this rule adds to the settings of a node of that layer."""
    return {"power": 0.0, "after": 1, "coupling": settings.coupling, "sweeps": settings.sweeps, "holds": int(settings.start == "hold")}


FIELDS = (
    *coagent.FIELDS,
    Field("lateral", "O H"),  # U, the rows of its own units
    Field("slots_lateral", "Y O H"),
    Field("gradient_lateral", "H", lies=SCRATCH),
    Field("squares_lateral", "H", lies=SCRATCH),  # of eligibilities, for an optimiser that asks
)
SETTINGS = (*coagent.SETTINGS, ("coupling", float))


@kernel
def resample(v, c, slot, stamp, n):
    """Sample each of its units, one after another, for the archived inputs and the newest values of the layer: draw n (0, 1, ...) for that observation."""
    first = int(v.unit0[0])
    add_up(plane_at(v.archive_x, slot), v.weight, v.bias, v.pot)
    for b in range(c.B):
        pot, mean, y, peers = row_at(v.pot, b), row_at(v.mean, b), row_at(v.y, b), row_at(v.peers, b)
        for j in range(c.O):
            pot[j] = (pot[j] + c.coupling * dot(v.lateral[j], peers)) / c.temperature
            mean[j] = sigmoid(pot[j])
            y[j] = 1.0 if uniform(c.seed, RESAMPLE, first + j, b, stamp * MOST_DRAWS + n) < mean[j] else 0.0
            peers[c.own + j] = y[j]
            v.archive_y[slot, b, j] = y[j]
            v.archive_e[slot, b, j] = y[j] / c.temperature  # E[d h_i x] is the gradient, for d is centred by V(S)


@kernel
def respond(v, c, slot, stamp):
    """Sample for a new observation."""
    resample(v, c, slot, stamp, 0)


@kernel
def pair_up(v, c, slot, b, first, count, e, credit):
    """Add stream b's gradient of the lateral weights from `count` units of the layer; squared eligibilities, too."""
    peers = row_in_plane(v.archive_peers, slot, b)
    for h in range(first, first + count):
        v.gradient_lateral[h] += credit * e * peers[h]
        v.squares_lateral[h] += (e * peers[h]) ** 2 / c.B


@kernel
def learn(v, c, slot, on, feedback):
    """One update of the weights as REINFORCE's with e = h, and of U from the pairs (h_i, h_j) archived under that stamp."""
    coagent.learn(v, c, slot, on, feedback)
    rate = annealed(c.rate, c.rate_end, c.anneal, v.updates[0])
    gradient, squares, share = v.gradient_lateral, v.squares_lateral, 1.0 / c.B
    for j in range(c.O):
        gradient[:] = 0.0
        squares[:] = 0.0
        for b in range(c.B):
            e = c.coupling * v.archive_e[slot, b, j]
            for peer in range(c.T):
                if v.peer_stamp[slot, peer] == v.archive_stamp[slot]:
                    pair_up(v, c, slot, b, int(v.peer[peer, 0]), int(v.peer[peer, 1]), e, share * v.credit[b, j])
            pair_up(v, c, slot, b, c.own, j, e, share * v.credit[b, j])
            pair_up(v, c, slot, b, c.own + j + 1, c.O - j - 1, e, share * v.credit[b, j])
        c.optimizer.ascend(v, c, v.lateral[j], v.slots_lateral, j * c.H, gradient, v.squares_lateral, rate)
    return False
