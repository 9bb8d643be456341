"""What a plan of a team is: which nodes there are, which links join them, and what follows from that for the shape of each.

A plan is plain data and the same on every machine; draw.py draws it, build.py makes the nodes that a loop hosts. Nodes are numbered in the
order world, layers from first to output, critic, dopamine; that number, not the order of construction, breaks ties between simultaneous events.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from asyncnet.loop.message import FEEDBACK, TICK
from asyncnet.optimizers import OPTIMIZERS
from asyncnet.team.ports import In, Kind, Out

if TYPE_CHECKING:
    from asyncnet.scenario.schema import Scenario

OBSERVATION = "observation"
LARGEST = 1_000_000  # links between layers
AT_A_TIME = 512  # weights: enough for the processor's widest steps, few enough to stay at hand
MOST_WEIGHTS = 100_000_000  # each takes 24 bytes with its moments, as much again with a trace for each stream


class Layer(NamedTuple):
    """A layer of a team: `columns` units with `values` outputs (a softmax may have one output more), cut into parts (first unit, units).

    The world's observation and the dopamine node are layers of one node, too.
    """

    name: str
    number: int
    units: str
    columns: int
    values: int
    sources: tuple[str, ...]
    parts: tuple[tuple[int, int], ...]
    team: str  # world | actor | critic | dopamine
    kind: Kind
    place: int = 0  # in its team, from 0
    last: bool = True  # the output

    @property
    def learns(self) -> bool:
        """Whether its nodes are learning nodes."""
        return self.team in ("actor", "critic")


class NodePlan(NamedTuple):
    """One node: its name, its number, its identity in the key of its draws, its layer (position among the layers), and which of its units it is."""

    name: str
    index: int
    identity: int
    layer: int = 0
    part: tuple[int, int] = (0, 1)


# Columns of a link: its channel, sender, receiver, its number at the receiver and at the sender among those of the channel; which of the receiver's ports it
# leads to, and which of the sender's outs it takes.
CHANNEL, SRC, DST, PORT, SLOT, IN, OUT = range(7)


class Plan:
    """The team: its layers, its nodes, and its links as rows of numbers, those of one sender and channel side by side in the order of their slots.

    `arriving` are the same links in the order of receivers, channels and ports; `archives` says how many samples a node of each layer keeps (lateness.py).
    """

    archives: dict[str, int]

    def __init__(self, layers: tuple[Layer, ...], nodes: tuple[NodePlan, ...], links: list[tuple[int, ...]], actions: int) -> None:
        self.layers, self.nodes, self.inputs, self.actions = layers, nodes, layers[0].values, actions
        rows = np.array(links, dtype=np.int32).reshape(-1, 7)
        self.links = rows[np.lexsort((rows[:, SLOT], rows[:, OUT], rows[:, CHANNEL], rows[:, SRC]))]
        self.arriving = np.lexsort((self.links[:, PORT], self.links[:, CHANNEL], self.links[:, DST])).astype(np.int32)
        self._leaving = self._starts(self.links, SRC)
        self._coming = self._starts(self.links[self.arriving], DST)

    @property
    def learning(self) -> tuple[Layer, ...]:
        """The layers of learning nodes."""
        return tuple(layer for layer in self.layers if layer.learns)

    def layer_of(self, node: int) -> Layer:
        """The layer of a node."""
        return self.layers[self.nodes[node].layer]

    def _starts(self, links: np.ndarray, end: int) -> np.ndarray:
        """Where the links of each (node, channel) begin among links sorted by them."""
        keys = np.arange(len(self.nodes) * TICK + 1)
        return np.searchsorted(links[:, end].astype(np.int64) * TICK + links[:, CHANNEL], keys).astype(np.int32)

    def outgoing(self, node: int, channel: int) -> range:
        """The links by which a node sends on a channel."""
        key = node * TICK + channel
        return range(int(self._leaving[key]), int(self._leaving[key + 1]))

    def leaving(self, node: int) -> np.ndarray:
        """All links by which a node sends, as rows."""
        return self.links[self._leaving[node * TICK] : self._leaving[(node + 1) * TICK]]

    def senders(self, node: int, port: str) -> list[int]:
        """The nodes that a node hears at a port of that name, in order."""
        names = [each.name for each in self.layer_of(node).kind.hears]
        if port not in names:
            return []
        rows = self.links[self.arriving[self._coming[node * TICK] : self._coming[(node + 1) * TICK]]]
        return rows[rows[:, IN] == names.index(port), SRC].tolist()

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


class Site(NamedTuple):
    """Where a node stands: what its machine, its rule and its optimiser are told when they give their settings."""

    scenario: Scenario
    plan: Plan
    node: NodePlan
    layer: Layer
    learner: Any  # the settings by which it learns


def site_of(scenario: Scenario, plan: Plan, node: NodePlan) -> Site:
    """Where a node stands."""
    layer = plan.layers[node.layer]
    return Site(scenario, plan, node, layer, learner_of(scenario, layer))


def learner_of(scenario: Scenario, layer: Layer) -> Any:
    """The settings by which a layer learns."""
    return scenario.critic if layer.team == "critic" else scenario.rule


def reach_of(scenario: Scenario, layer: Layer) -> int:
    """How many units of each source a unit of that layer hears at most: network.reach is for the actor's hidden layers."""
    return scenario.network.reach or LARGEST if layer.team == "actor" and not layer.last else LARGEST


def within(scenario: Scenario, layer: Layer, node: NodePlan, source: Layer) -> slice:
    """Which units of a source a node hears: all, or (a hidden one, network.reach) those nearest to its own place in its layer."""
    width = source.columns
    reach = min(reach_of(scenario, layer), width)
    middle = (node.part[0] + 0.5) / layer.columns
    first = min(max(round(middle * width - 0.5 * reach), 0), width - reach)
    return slice(first, first + reach)


def brings(scenario: Scenario, plan: Plan, node: NodePlan, port: In) -> list[tuple[int, int, int]]:
    """What each sender of a port brings, (first, how many, with which of its values it begins) for each.

    Inputs from below one after another, partial sums from above likewise, those of its own layer in their places.
    """
    out, at = [], 0
    for src in plan.senders(node.index, port.name):
        sender, layer = plan.nodes[src], plan.layer_of(src)
        if port.relation == "layer":
            out.append((*sender.part, 0))
            continue
        skipped, width = 0, partial_sums(plan, sender)
        if port.relation == "below":
            width = sender.part[1]
            if layer.name == OBSERVATION:
                part = within(scenario, plan.layers[node.layer], node, layer)
                skipped, width = part.start, part.stop - part.start
        out.append((at, width, skipped))
        at += width
    return out


def partial_sums(plan: Plan, node: NodePlan) -> int:
    """How many numbers a node has for each unit of its inputs: one for each of its own units, if its layer is cut into several nodes, else their sum."""
    return node.part[1] if len(plan.layers[node.layer].parts) > 1 else 1


def values_of(plan: Plan, node: NodePlan) -> int:
    """How many values a node says for each stream."""
    layer = plan.layers[node.layer]
    return node.part[1] + layer.values - layer.columns


def out_of(plan: Plan, link: int) -> Out:
    """What is said by a link."""
    return plan.layer_of(plan.links[link, SRC]).kind.says[plan.links[link, OUT]]


def payload_size(plan: Plan, streams: int, link: int) -> int:
    """How many numbers a message of a link carries."""
    source = plan.nodes[plan.links[link, SRC]]
    dims = {"B": streams, "N": values_of(plan, source), "M": partial_sums(plan, source), "U": plan.nodes[plan.links[link, DST]].part[1]}
    return out_of(plan, link).numbers(dims)


def sizes(plan: Plan, streams: int, links: np.ndarray) -> np.ndarray:
    """How many numbers a message of each of these links has at most: as many as the longest of its kind between these layers."""
    layer = np.array([node.layer for node in plan.nodes])  # the first part of a layer is the largest
    rows = np.column_stack((plan.links[links, OUT], layer[plan.links[links, SRC]], layer[plan.links[links, DST]]))
    _, first, kind = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return np.array([payload_size(plan, streams, link) for link in links[first].tolist()], dtype=np.int64)[kind.ravel()]


def widest(plan: Plan, streams: int) -> int:
    """How many numbers the longest message of a team has."""
    return int(sizes(plan, streams, np.arange(len(plan.links))).max(initial=1))


def room_of(plan: Plan, streams: int, node: NodePlan, dims: dict[str, int]) -> tuple[int, int]:
    """How many messages a node emits at once at most, and how many numbers these have together, with what it keeps beside them (outbox.py)."""
    sizes = {"B": streams, "N": values_of(plan, node), "M": partial_sums(plan, node)}
    rows, numbers = 2, streams * dims.get("I", 0) * dims.get("M", 0)
    links = plan.leaving(node.index)
    for number, out in enumerate(plan.layers[node.layer].kind.says):
        hearers = links[links[:, OUT] == number, DST].tolist()
        if out.apart:
            rows += len(hearers)
            numbers += sum(out.numbers(sizes | {"U": plan.nodes[dst].part[1]}) for dst in hearers)
        else:
            rows += 1
            numbers += out.numbers(sizes)
    return rows, numbers


def dimensions(site: Site) -> dict[str, int]:
    """The dimension letters of a node's layout (layout.py): those of its ports, those of its layer, and those that its machine and its kernels add."""
    scenario, plan, node, layer, learner = site
    dims = {"B": scenario.task.streams}
    if layer.learns:
        archive = learner.archive or plan.archives[layer.name]
        stamped = learner.credit == "stamped"
        dims |= {"O": node.part[1], "N": values_of(plan, node), "M": partial_sums(plan, node), "Y": OPTIMIZERS[learner.optimizer.name].SLOTS, "V": 0}
        dims |= {"K": archive if stamped else 1, "C": archive, "Z": dims["B"] if not stamped or learner.lambda_ > 0.0 else 0}
        dims["F"] = int((plan.leaving(node.index)[:, CHANNEL] == FEEDBACK).sum())
    for port in layer.kind.hears:
        if port.senders:
            brought = brings(scenario, plan, node, port)
            dims[port.senders] = len(brought)
            dims[port.width] = layer.columns if port.relation == "layer" else sum(width for _, width, _ in brought)
    if "O" in dims:
        dims["R"] = dims["O"] * max(1, min(AT_A_TIME // dims["O"], dims["I"]))
        dims["V"] = dims["R"] * OPTIMIZERS[learner.optimizer.name].SQUARES
    for name in (layer.kind.machine, layer.kind.kernels):
        if name and hasattr(module := importlib.import_module(name), "dimensions"):
            dims |= module.dimensions(site)
    return dims
