"""What a plan of a team is: which nodes there are, which links join them, and what follows from that for the shape of each.

A plan is plain data and the same on every machine; team.py draws it, node.py builds the nodes that a loop hosts. Nodes are numbered in the
order world, layers from first to output, critic, dopamine; that number, not the order of construction, breaks ties between simultaneous events.
"""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from asyncnet.message import ACTIVITY, FEEDBACK, REWARD, TICK
from asyncnet.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from asyncnet.scenario import Scenario

OBSERVATION = "observation"
LARGEST = 1_000_000  # links between layers
AT_A_TIME = 512  # weights: enough for the processor's widest steps, few enough to stay at hand
MOST_GRADED = 64  # answers graded in one interval
MOST_WEIGHTS = 100_000_000  # each takes 24 bytes with its moments, as much again with a trace for each stream


class Layer(NamedTuple):
    """A layer of a team: `columns` units with `values` outputs (a softmax may have one output more), cut into parts (first unit, units)."""

    name: str
    number: int
    units: str
    columns: int
    values: int
    sources: tuple[str, ...]
    parts: tuple[tuple[int, int], ...]
    team: str  # actor | critic
    place: int  # in its team, from 0
    last: bool  # the output
    settles: bool  # whether feedback drives its units while their credit is the reward


class NodePlan(NamedTuple):
    """One node: its name, its number, its identity in the key of its draws, and its role world | agent | critic | dopamine."""

    name: str
    index: int
    identity: int
    role: str
    layer: int = -1  # position among the layers
    part: tuple[int, int] = (0, 0)


CHANNEL, SRC, DST, PORT, SLOT = range(5)  # columns of a link: its kind of message, sender, receiver, its number at the receiver and at the sender


class Plan:
    """The team: its layers, its nodes, and its links as rows of numbers, those of one sender and channel side by side in the order of their slots.

    `arriving` are the same links in the order of receivers, channels and ports; `archives` says how many samples a node of each layer keeps (lateness.py).
    """

    archives: dict[str, int]

    def __init__(self, layers: tuple[Layer, ...], nodes: tuple[NodePlan, ...], links: list[tuple[int, ...]], inputs: int, actions: int) -> None:
        self.layers, self.nodes, self.inputs, self.actions = layers, nodes, inputs, actions
        rows = np.array(links, dtype=np.int32).reshape(-1, 5)
        self.links = rows[np.lexsort((rows[:, SLOT], rows[:, CHANNEL], rows[:, SRC]))]
        self.arriving = np.lexsort((self.links[:, PORT], self.links[:, CHANNEL], self.links[:, DST])).astype(np.int32)
        self._leaving = self._starts(self.links, SRC)
        self._coming = self._starts(self.links[self.arriving], DST)

    def _starts(self, links: np.ndarray, end: int) -> np.ndarray:
        """Where the links of each (node, channel) begin among links sorted by them."""
        keys = np.arange(len(self.nodes) * TICK + 1)
        return np.searchsorted(links[:, end].astype(np.int64) * TICK + links[:, CHANNEL], keys).astype(np.int32)

    def outgoing(self, node: int, channel: int) -> range:
        """The links by which a node sends on a channel."""
        key = node * TICK + channel
        return range(int(self._leaving[key]), int(self._leaving[key + 1]))

    def senders(self, node: int, channel: int) -> list[int]:
        """The nodes that send to a node on a channel, in the order of their ports."""
        places = self.incoming(node, channel)
        return self.links[self.arriving[places.start : places.stop], SRC].tolist()

    def link(self, channel: int, src: int, dst: int) -> int:
        """The link by which one node sends to another on a channel; raises KeyError if there is none."""
        for link in self.outgoing(src, channel):
            if self.links[link, DST] == dst:
                return link
        raise KeyError((channel, src, dst))

    def arrived(self, node: np.ndarray, channel: np.ndarray, port: np.ndarray) -> np.ndarray:
        """The links by which messages have come."""
        return self.arriving[self._coming[node * TICK + channel] + port]

    def incoming(self, node: int, channel: int) -> range:
        """Places in `arriving` of the links by which a node hears a channel, one for each port."""
        key = node * TICK + channel
        return range(int(self._coming[key]), int(self._coming[key + 1]))


def settles(rule: ModuleType) -> bool:
    """Whether the rule's feedback drives the nodes that hear it, while their credit is the reward itself; else it is their credit."""
    return rule.TELLS and rule.HEARS_REWARD == "all"


def learner_of(scenario: Scenario, layer: Layer) -> Any:
    """The settings by which a layer learns."""
    return scenario.rule if layer.team == "actor" else scenario.critic


def reach_of(scenario: Scenario, layer: Layer) -> int:
    """How many units of each source a unit of that layer hears at most: network.reach is for the actor's hidden layers."""
    return scenario.network.reach or LARGEST if layer.team == "actor" and not layer.last else LARGEST


def within(scenario: Scenario, layers: tuple[Layer, ...], node: NodePlan, source: str, inputs: int) -> slice:
    """Which units of a source a node hears: all, or (a hidden one, network.reach) those nearest to its own place in its layer."""
    width = inputs if source == OBSERVATION else next(layer.columns for layer in layers if layer.name == source)
    reach = min(reach_of(scenario, layers[node.layer]), width)
    middle = (node.part[0] + 0.5) / layers[node.layer].columns
    first = min(max(round(middle * width - 0.5 * reach), 0), width - reach)
    return slice(first, first + reach)


def source_slices(scenario: Scenario, plan: Plan, node: NodePlan) -> list[tuple[int, int, int]]:
    """Which inputs each source of an agent feeds, (first, count) for each activity port, and from which of its values on."""
    out, at = [], 0
    for src in plan.senders(node.index, ACTIVITY):
        source, skipped = plan.nodes[src], 0
        width = source.part[1]
        if source.role == "world":
            part = within(scenario, plan.layers, node, OBSERVATION, plan.inputs)
            skipped, width = part.start, part.stop - part.start
        out.append((at, width, skipped))
        at += width
    return out


def credit_slices(plan: Plan, node: NodePlan) -> list[tuple[int, int]]:
    """Which pieces each sender of credit brings: (first, count) for each port."""
    told = [] if plan.layers[node.layer].settles else plan.senders(node.index, FEEDBACK)
    return _slices(plan, told or plan.senders(node.index, REWARD))


def drive_slices(plan: Plan, node: NodePlan) -> list[tuple[int, int]]:
    """The same for the senders of what drives a node."""
    return _slices(plan, plan.senders(node.index, FEEDBACK) if plan.layers[node.layer].settles else [])


def _slices(plan: Plan, senders: list[int]) -> list[tuple[int, int]]:
    # A layer that is one node has summed its pieces already.
    out, at = [], 0
    for src in senders:
        sender = plan.nodes[src]
        width = pieces(plan, sender) if sender.role == "agent" else 1
        out.append((at, width))
        at += width
    return out


def pieces(plan: Plan, node: NodePlan) -> int:
    """How many numbers a node tells each input: one for each of its units, if its layer is cut into several nodes, else their sum."""
    return node.part[1] if len(plan.layers[node.layer].parts) > 1 else 1


def values_of(plan: Plan, node: NodePlan) -> int:
    """How many values a node says for each stream."""
    if node.role == "agent":
        layer = plan.layers[node.layer]
        return node.part[1] + layer.values - layer.columns
    return plan.inputs if node.role == "world" else 1


def payload_size(plan: Plan, streams: int, link: int) -> int:
    """How many numbers a message of a link carries."""
    channel, src, dst, *_ = plan.links[link].tolist()
    source = plan.nodes[src]
    if channel == ACTIVITY:
        return streams + streams * values_of(plan, source)
    if channel == FEEDBACK:
        return streams * (plan.layers[source.layer].settles + plan.nodes[dst].part[1] * pieces(plan, source))
    return streams if channel == REWARD else 1 + 3 * streams


def dimensions(plan: Plan, node: NodePlan, scenario: Scenario) -> dict[str, int]:
    """The dimension letters of a node's layout (layout.py)."""
    streams = scenario.task.streams
    if node.role == "world":
        graded = MOST_GRADED if scenario.task.world.late == "grade-by-stamp" else 0
        numbers = plan.actions if scenario.network.output == "linear" else 1
        return {"B": streams, "I": plan.inputs, "G": graded, "W": max(1024, 2 * streams), "X": numbers}
    if node.role == "dopamine":
        return {"B": streams, "K": plan.archives["dopamine"], "N": 1 + 3 * streams}
    learner = scenario.critic if node.role == "critic" else learner_of(scenario, plan.layers[node.layer])
    stamped = learner.credit == "stamped"
    ring = learner.ring or plan.archives["critic" if node.role == "critic" else plan.layers[node.layer].name]
    optimizer = OPTIMIZERS[learner.optimizer.name]
    dims = {"Y": optimizer.SLOTS, "V": 0}
    dims |= {"B": streams, "K": ring if stamped else 1, "C": ring, "Z": streams if not stamped or learner.lambda_ > 0.0 else 0}
    if node.role == "critic":
        sizes = critic_sizes(plan, scenario)
        dims |= {"I": plan.inputs, "O": 1, "N": 1, "S": 1, "D": 1, "J": 1, "M": 1}
        weights = sum((n + 1) * m for n, m in pairwise(sizes))
        return dims | {"L": len(sizes), "A": sum(sizes[1:]), "P": weights, "V": weights * optimizer.SQUARES}
    sources, senders = source_slices(scenario, plan, node), credit_slices(plan, node)
    above = drive_slices(plan, node)
    if plan.layers[node.layer].settles:
        dims |= {"E": len(above), "Q": sum(width for _, width in above)}
    dims |= {"I": sum(width for _, width, _ in sources), "S": len(sources), "D": len(senders), "J": sum(width for _, width in senders)}
    units = node.part[1]
    some = units * max(1, min(AT_A_TIME // units, dims["I"]))
    return dims | {"O": units, "N": values_of(plan, node), "M": pieces(plan, node), "R": some, "V": some * optimizer.SQUARES}


def critic_sizes(plan: Plan, scenario: Scenario) -> list[int]:
    return [plan.inputs, *scenario.critic.hidden, 1]
