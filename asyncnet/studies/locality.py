"""What the nodes of a brief run hear and do, found out by giving each its inbox again, alone.

A node is built anew, on no team, and given what the node of that name heard. That it comes to the same state, to the bit, says that its future depends on its
inbox alone: nobody else's state was read. Meanwhile it is noted what each message carries and which events move its weights; and of what it tells its inputs,
whether that changes when its weights do (moved so that what it answers stays what it is), and whether a unit is told anything while its own outgoing weights
stand still.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from asyncnet.loop.message import CHANNEL_NAMES, FEEDBACK
from asyncnet.nodes.node import Node
from asyncnet.rules.contract import Taped
from asyncnet.scenario.schema import Scenario
from asyncnet.team.build import build
from asyncnet.team.draw import plan
from asyncnet.team.network import DST, IN, SRC, Plan, brings

DECISIONS = 200  # of the brief run of a few nodes,
FEW = 30  # and of one of many
MANY = 8  # nodes
TRIED = 40  # messages upstream of which it is tried whether they read the weights
NEIGHBOURS = ("below", "above", "layer")
STEP = 0.5  # how far weights are moved to see whether feedback reads them


class Port(NamedTuple):
    """What the nodes of a layer hear at a port: from which layers, and of one message the numbers for each stream.

    `most`: as many as a neighbour's connections account for (one a unit of the sender; from above one a unit of the hearer, or one a pair of units).
    `beyond` are those further ones that ever changed.
    """

    layer: str
    port: str
    relation: str
    channel: str
    senders: tuple[str, ...]
    numbers: float
    most: float
    beyond: int
    messages: int


class Heard(NamedTuple):
    """What came out: `apart` names the first node that did not come to the same bits alone, "" if none; `told` is None where nobody is told anything."""

    decisions: int
    nodes: int
    apart: str
    ports: tuple[Port, ...]
    updates: tuple[float, float]  # events that move a node's weights, a credited decision: of the node with the fewest, and with the most
    alike: bool  # whether all were told the same number of a decision
    told: int  # messages upstream
    reads: float | None  # share of those tried that change with the weights
    still: float | None  # share of the numbers that are told while the hearer's outgoing weights stand still

    @property
    def scalars(self) -> float:
        """How many numbers of a decision, for each stream, a node hears of those that are no neighbours, at most."""
        each: dict[str, float] = {}
        for port in self.ports:
            if port.relation not in NEIGHBOURS:
                each[port.layer] = each.get(port.layer, 0.0) + port.numbers
        return max(each.values(), default=0.0)


def heard(scenario: Scenario, decisions: int = 0) -> Heard:
    """Run so many decisions of a scenario (0: fewer of one of many nodes) in the loop to read, and give every learning node of the actor its inbox again."""
    decisions = decisions or (DECISIONS if len(plan(scenario).nodes) <= MANY else FEW)
    loop = Taped(scenario.replace({"task.decisions": decisions}))
    loop.run()
    loop.nodes[0].close()
    learning = [i for i in loop.tapes if loop.plan.layer_of(i).team == "actor"]  # a critic is no part of the rule
    again = [_Alone(scenario.replace({"task.decisions": decisions}), loop.plan, i) for i in learning]
    for one, i in zip(again, learning, strict=True):
        one.play(loop.tapes[i])
    apart = next((one.node.name for one, i in zip(again, learning, strict=True) if one.node.state.tobytes() != loop.nodes[i].state.tobytes()), "")
    updates = [one.moved / max(1, len(one.credited)) for one in again]
    tried, changed = (sum(getattr(one, name) for one in again) for name in ("tried", "changed"))
    numbers, still = (sum(getattr(one, name) for one in again) for name in ("numbers", "still"))
    return Heard(
        decisions=int(loop.score.decisions),
        nodes=len(learning),
        apart=apart,
        ports=_ports(loop.plan, scenario.task.streams, again),
        updates=(min(updates), max(updates)),
        alike=_alike(again),
        told=sum(one.told for one in again),
        reads=changed / tried if tried else None,
        still=still / numbers if numbers else None,
    )


class _Alone:
    """A node on no team, which is given an inbox."""

    def __init__(self, scenario: Scenario, plan: Plan, number: int) -> None:
        self.plan, self.number = plan, number
        self.node: Node = build(scenario, plan, plan.nodes[number])
        self._tries: Node = build(scenario, plan, plan.nodes[number])
        self.layer = plan.layer_of(number)
        inputs = self.layer.kind.hearing("inputs")
        brought = dict(zip(plan.senders(number, "inputs"), brings(scenario, plan, plan.nodes[number], inputs), strict=True)) if inputs else {}
        # By whom of those it tells something: which of its inputs these are, the first and how many.
        self._inputs = [brought[int(plan.links[link, DST])][:2] for link in plan.outgoing(number, FEEDBACK)]
        self.first: dict[int, np.ndarray] = {}  # link -> the first payload
        self.changing: dict[int, np.ndarray] = {}  # which of its numbers ever were others
        self.count: dict[int, int] = {}
        self.credited: set[int] = set()  # stamps of credit
        self.broadcast: dict[int, bytes] = {}  # stamp -> what was told by nobody of its neighbours
        self.moved = self.told = self.tried = self.changed = self.numbers = self.still = 0
        self._random = np.random.default_rng(number)

    def play(self, tape: list[tuple[Any, ...]]) -> None:
        after = self._weights(self.node)
        for verb, *event in tape:
            if verb == "hear":
                self._note(*event)
            before, state = after, self.node.state.copy() if self._inputs and self.tried < TRIED else None
            said = getattr(self.node, verb)(*event)
            after = self._weights(self.node)
            self.moved += int(any(not np.array_equal(one, other) for one, other in zip(before, after, strict=True)))
            feedback = [message for message in said if message.channel == FEEDBACK]
            if feedback:
                self.told += len(feedback)
                self._stood(before, after, feedback)
                if state is not None and self._try(state, verb, event, feedback):
                    self.tried += 1

    @staticmethod
    def _weights(node: Node) -> list[np.ndarray]:
        return [array for _, array in sorted(node.learned().items())]

    def _note(self, now: int, channel: int, port: int, seq: int, stamp: int, payload: np.ndarray) -> None:
        link = int(self.plan.arrived(np.array([self.number]), np.array([channel]), np.array([port]))[0])
        if link in self.first:
            self.changing[link] |= payload != self.first[link]
            self.count[link] += 1
        else:
            self.first[link], self.changing[link], self.count[link] = payload.copy(), np.zeros(payload.size, dtype=bool), 1
        heard_at = self.layer.kind.hears[self.plan.links[link, IN]]
        if heard_at.name == "credit":
            self.credited.add(stamp)
        if heard_at.relation not in NEIGHBOURS and heard_at.name == "credit":
            self.broadcast[stamp] = payload.tobytes()

    def _stood(self, before: list[np.ndarray], after: list[np.ndarray], feedback: list[Any]) -> None:
        """Count what is told, and how much of it while the weights from that input stand still: nodes hear it in the order of the inputs."""
        weight = sorted(self.node.learned()).index("weight")
        rows = (before[weight] != after[weight]).any(axis=1)
        for message in feedback:
            at, units = self._inputs[max(0, message.link)]
            told = (message.payload[: message.payload.size // units * units].reshape(units, -1) != 0.0).any(axis=1)
            self.numbers += int(told.sum())
            self.still += int((told & ~rows[at : at + units]).sum())

    def _try(self, state: np.ndarray, verb: str, event: list[Any], feedback: list[Any]) -> bool:
        """Whether it could be tried; counted in `changed` if the node tells otherwise when two of its weights are others, and what it answers is not."""
        x = self.node.view.x[0]
        active = np.flatnonzero(x)
        if active.size < 2:
            return False
        one, other = self._random.choice(active, 2, replace=False)
        self._tries.move_to(state.copy(), 0)
        unit = int(self._random.integers(self._tries.view.weight.shape[1]))
        self._tries.view.weight[one, unit] += STEP / x[one]
        self._tries.view.weight[other, unit] -= STEP / x[other]
        said = [message for message in getattr(self._tries, verb)(*event) if message.channel == FEEDBACK]
        there, here = (np.concatenate([message.payload for message in messages]) for messages in (feedback, said))
        self.changed += int(there.shape != here.shape or np.abs(there - here).max() > 1e-9 * max(1.0, np.abs(there).max()))
        return bool(np.abs(there).max() > 0.0) or there.shape != here.shape


def _ports(plan: Plan, streams: int, again: list[_Alone]) -> tuple[Port, ...]:
    found: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    for one in again:
        for link, payload in one.first.items():
            port = one.layer.kind.hears[plan.links[link, IN]]
            src = int(plan.links[link, SRC])
            size = payload.size / streams
            mine, theirs = plan.nodes[one.number].part[1], plan.nodes[src].part[1]
            if port.relation == "above":
                most = float(mine * (theirs if size >= mine * theirs else 1))
                beyond = int(one.changing[link][int(most) * streams :].sum())
            elif port.relation in NEIGHBOURS:
                said = plan.layer_of(src)
                size -= 1.0  # the episode of the stream
                most, beyond = float(theirs + said.values - said.columns), 0
            else:
                most, beyond = 1.0, 0
                size -= 1.0 * (CHANNEL_NAMES[int(plan.links[link, 0])] == "activity")
            found.setdefault((one.layer.name, port.name), []).append(
                (port.relation, CHANNEL_NAMES[int(plan.links[link, 0])], _name(plan, src), size, most, beyond, one.count[link], one.number)
            )
    out = []
    for (layer, name), rows in found.items():
        relation, channel = rows[0][:2]
        senders = tuple(dict.fromkeys(row[2] for row in rows))
        each: dict[int, float] = {}
        for row in rows:
            each[row[7]] = each.get(row[7], 0.0) + row[3]
        numbers = max(each.values()) if relation not in NEIGHBOURS else max(row[3] for row in rows)
        out.append(
            Port(layer, name, relation, channel, senders, numbers, max(row[4] for row in rows), max(row[5] for row in rows), sum(row[6] for row in rows))
        )
    return tuple(out)


def _name(plan: Plan, node: int) -> str:
    return plan.layer_of(node).name if node else "world"


def _alike(again: list[_Alone]) -> bool:
    """Whether all nodes that were told of a decision by no neighbour were told the same."""
    first: dict[int, bytes] = {}
    return all(first.setdefault(stamp, told) == told for one in again for stamp, told in one.broadcast.items())
