"""Nodes driven by hand, message by message, in the order that a lock-step run has: teams whose samples are given, and a critic."""

from typing import NamedTuple

import numpy as np

from asyncnet.kernels.chance import identity
from asyncnet.kernels.kernel import entry
from asyncnet.loop.message import ACTIVITY, FEEDBACK, REWARD
from asyncnet.machines import sampled
from asyncnet.nodes.family import bind
from asyncnet.nodes.node import Node
from asyncnet.optimizers import adam
from asyncnet.rules import coagent, value
from asyncnet.team.network import NodePlan
from support import golden_rule

UNITS = {"bernoulli": coagent.BERNOULLI, "sign": coagent.SIGN, "softmax": coagent.SOFTMAX}
ADAM = (0.9, 0.999, 1e-8)
RING = 8


ascend = adam.ascend


class Counted(NamedTuple):
    updates: np.ndarray


class AdamSettings(NamedTuple):
    beta1: float
    beta2: float
    epsilon: float


@entry
def adam_steps(gradients, rates, eps, out):
    """The step that Adam takes at each call, from zero moments and with the usual decays; gradients and out are (calls, parameters)."""
    v, c, w, slots = Counted(np.zeros(1)), AdamSettings(0.9, 0.999, eps), np.zeros(out.shape[1]), np.zeros((2, out.shape[1]))
    for t in range(out.shape[0]):
        v.updates[0] += 1.0
        w[:] = 0.0
        ascend(v, c, w, slots, 0, gradients[t], w, rates[t])
        out[t] = w


def _made(level, rule, dims, settings, *, streams, credit, decay, betas, fed_back=0):
    """An on-arrival node that hears one source and one sender of credit."""
    stamped = credit == "stamped"
    dims = {
        "V": 0,
        "B": streams,
        "K": RING if stamped else 1,
        "C": RING,
        "S": 1,
        "D": 1,
        "J": 1,
        "M": 1,
        "F": fed_back,
        "Z": streams if decay or not stamped else 0,
    } | dims
    settings |= {
        "seed": 1,
        "timeout": 4,
        "lag": 2,
        "revise": 0,
        "on_arrival": 1,
        "repeats": 1,
        "stamped": int(stamped),
        "decay": decay,
        "anneal": 0,
    }
    settings |= zip(("beta1", "beta2", "epsilon"), betas, strict=True)
    dims["Y"] = adam.SLOTS
    dims["R"] = 3 * dims["O"]
    plan = NodePlan(f"node.{level}", level + 1, identity(level + 1, 0), level + 1, (0, dims["O"]))
    room = 3, streams * (2 * dims["I"] + 1 + dims["N"])  # feedback as it is kept and as it is sent, activity
    given = {"source": np.array([[0, dims["I"], 0]]), "sender": np.array([[0, 1]]), "feedback_port": np.zeros(fed_back)}
    return Node(plan, bind(sampled, rule=rule, optimizer=adam), dims, settings, room, given)


class Team:
    """Layers of units, a node each, from the given weights (a softmax output has one action more than columns)."""

    def __init__(self, weights, biases, out="bernoulli", *, power=2.0, after=1, rates=0.0, temperature=1.0, decay=0.0, credit="stamped", streams=1, adam=ADAM):
        self.streams, self.power, self.depth = streams, power, len(weights)
        rates, temperature = (np.broadcast_to(values, self.depth).tolist() for values in (rates, temperature))
        self.nodes, self.sequence = [], 0
        for level, (w, b) in enumerate(zip(weights, biases, strict=True)):
            units = out if level == self.depth - 1 else "bernoulli"
            dims = {"I": w.shape[0], "O": w.shape[1], "N": w.shape[1] + (units == "softmax")}
            settings = {"units": UNITS[units], "fan_out": w.shape[1], "temperature": temperature[level]}
            settings |= {"rate": rates[level], "rate_end": rates[level], "power": power, "after": after}
            common = {"streams": streams, "credit": credit, "decay": decay, "betas": adam}
            node = _made(level, golden_rule, dims, settings, **common, fed_back=int(level > 0 and power > 0.0))
            node.view.unit0[:] = identity(level + 1, 0)
            node.begin()
            node.view.weight[:], node.view.bias[:] = w, b
            self.nodes.append(node)
        self.start = [node.state.copy() for node in self.nodes]
        self.unit_reward = [None] * self.depth

    def reset(self):
        """Back to the state after construction."""
        for node, start in zip(self.nodes, self.start, strict=True):
            node.state[:] = start

    def observe(self, now, stamp, x, draws, episode=None):
        """Show (streams, inputs) to the first layer; every layer takes its values from `draws` and says them to the next."""
        self.sequence += 1
        episode = np.zeros(self.streams) if episode is None else episode
        payload = np.concatenate((episode, np.ravel(x)))
        for node, draw in zip(self.nodes, draws, strict=True):
            node.view.script[:] = draw
            (said,) = node.hear(now, ACTIVITY, 0, self.sequence, stamp, payload)
            assert (said.channel, said.stamp) == (ACTIVITY, stamp)
            payload = said.payload

    def reward(self, now, stamp, reward):
        """Tell the output layer its reward, (streams,), and each layer below what the one above tells it; without feedback tell all the same."""
        self.sequence += 1
        channel, payload = REWARD, np.array(reward, dtype=np.float64)
        for level in reversed(range(self.depth)):
            messages = self.nodes[level].hear(now, channel, 0, self.sequence, stamp, payload)
            self.unit_reward[level] = self.nodes[level].view.credit.copy()
            if self.power and level:
                (told,) = messages
                assert (told.channel, told.stamp) == (FEEDBACK, stamp)
                channel, payload = FEEDBACK, told.payload
            else:
                assert not messages

    def weights(self):
        return [array.copy() for node in self.nodes for array in (node.view.weight, node.view.bias)]

    def parameters(self):
        """What is learned, layer by layer: (weight, bias), and Adam's moments of both."""
        for node in self.nodes:
            v = node.view
            (mw, vw), (mb, vb) = v.slots_weight, v.slots_bias
            yield {"W": v.weight, "b": v.bias, "adam_mw": mw, "adam_vw": vw, "adam_mb": mb, "adam_vb": vb}

    def traces(self):
        for node in self.nodes:
            yield {"wtr": node.view.z_weight, "btr": node.view.z_bias}

    def values(self):
        """Values of every layer; the fixed logit 0 of a softmax is its last potential."""
        for node in self.nodes:
            v = node.view
            pot = np.zeros(v.y.shape)
            pot[:, : v.pot.shape[1]] = v.pot
            yield {"h": v.y, "mean": v.mean, "pot": pot, "in": v.x}


class Critic:
    """The value network inside one node, driven in the same way."""

    def __init__(self, weights, biases, *, rates=0.0, decay=0.0, credit="stamped", streams=1, adam=ADAM):
        self.streams, self.depth, self.sequence = streams, len(weights), 0
        self.sizes = [weights[0].shape[0], *(w.shape[1] for w in weights)]
        dims = {"I": self.sizes[0], "O": 1, "N": 1, "L": len(self.sizes), "A": sum(self.sizes[1:]), "P": sum(w.size + w.shape[1] for w in weights)}
        common = {"streams": streams, "credit": credit, "decay": decay, "betas": adam}
        node = _made(0, value, dims, {"relu": 0}, **common)
        node.view.sizes[:], node.view.rate[1:], node.view.rate_end[1:] = self.sizes, rates, rates
        node.begin()
        node.view.weight[:] = np.concatenate([part for w, b in zip(weights, biases, strict=True) for part in (w.ravel(), b)])
        self.node = node

    def observe(self, now, stamp, x, draws=None, episode=None):
        """Show (streams, inputs)."""
        assert not draws, "a critic draws nothing"
        self.sequence += 1
        episode = np.zeros(self.streams) if episode is None else episode
        (said,) = self.node.hear(now, ACTIVITY, 0, self.sequence, stamp, np.concatenate((episode, np.ravel(x))))
        assert (said.channel, said.stamp) == (ACTIVITY, stamp)
        assert np.array_equal(said.payload[self.streams :], self.node.view.y.ravel())

    def reward(self, now, stamp, reward):
        """Tell it the TD error, (streams,)."""
        self.sequence += 1
        assert not self.node.hear(now, REWARD, 0, self.sequence, stamp, np.array(reward, dtype=np.float64))

    def _cut(self, vectors):
        """(..., P) cut into (weights, biases) of each layer."""
        at = 0
        for n, m in zip(self.sizes, self.sizes[1:], strict=False):
            yield vectors[..., at : at + n * m].reshape(*vectors.shape[:-1], n, m), vectors[..., at + n * m : at + (n + 1) * m]
            at += (n + 1) * m

    def parameters(self):
        v = self.node.view
        for (w, b), (mw, mb), (vw, vb) in zip(*(self._cut(x) for x in (v.weight, *v.slots_weight)), strict=True):
            yield {"W": w, "b": b, "adam_mw": mw, "adam_vw": vw, "adam_mb": mb, "adam_vb": vb}

    def traces(self):
        for w, b in self._cut(self.node.view.z):
            yield {"wtr": w, "btr": b}

    def values(self):
        """Values of every layer; the slope f'(pot) stands for the potential, which is not kept."""
        v = self.node.view
        below, at = v.x, 0
        for m in self.sizes[1:]:
            h = v.archive_h[int(v.stamp[0]) % len(v.archive_h), :, at : at + m]
            yield {"h": h, "mean": h, "slope": v.slope[:, at : at + m], "in": below}
            below, at = h, at + m
