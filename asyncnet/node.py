"""A node as its loop sees it: a flat array of state, kernels that change it, and letters that come out.

A node never sleeps, reads a clock, opens a socket or draws a number that is not its own; its future depends on scenario, seed, name and its ordered
inbox, and on nothing else.
"""

from __future__ import annotations

import functools
import importlib
import math
from weakref import WeakValueDictionary

import numpy as np

from asyncnet import clock, dopamine, lateness, layout, network, tasks, world
from asyncnet.family import Family, bind
from asyncnet.machines import archive, hearing, sampled
from asyncnet.message import ACTIVITY, FEEDBACK, OUTCOME, REWARD, TICK, Letter
from asyncnet.metrics import Score
from asyncnet.network import NodePlan, Plan
from asyncnet.optimizers import OPTIMIZERS
from asyncnet.pointer import address
from asyncnet.rules import RULES, coagent, settling, value
from asyncnet.rules.settings import per_layer
from asyncnet.scenario import Scenario

_NOTHING: tuple[Letter, ...] = ()
_NO_PAYLOAD = np.zeros(0)
_UNITS = {"bernoulli": coagent.BERNOULLI, "sign": coagent.SIGN, "softmax": coagent.SOFTMAX}
_UNITS |= {"softplus": settling.SOFTPLUS, "relu": settling.RELU, "linear": settling.LINEAR}


_tuples: dict[tuple, tuple] = {}


def one_of(numbers: tuple) -> tuple:
    """The one tuple with these numbers."""
    return _tuples.setdefault(numbers, numbers)


_shared: WeakValueDictionary[bytes, np.ndarray] = WeakValueDictionary()


def shared(numbers: np.ndarray) -> np.ndarray:
    """The one array with these numbers, which nobody changes: nodes of one shape share their settings, and their clock."""
    return _shared.setdefault(numbers.tobytes(), numbers)


class Node:
    """A node made of kernels: `hear` takes in a message, `act` takes a turn, both return letters.

    `view` names the arrays inside `state`; `config` holds its settings (layout.py).
    """

    def __init__(self, plan: NodePlan, bound: Family, dims: dict[str, int], values: dict[str, float], said: int, told: tuple[int, ...]) -> None:
        self.name, self.index, self.identity, self.role = plan.name, plan.index, plan.identity, plan.role
        self.bound, self.places = bound, layout.places(bound.fields, tuple(dims.items()))
        self.config = shared(bound.config(dims, values))
        self.seat(np.zeros(max(last for _, last, _ in self.places.values())))
        self._handle = bound.handle
        self._begin = bound.begin
        self.sizes = one_of((said, told))  # of where the kernels write what to send
        self.flags = 0  # what the last event called for: the world asks more of its host than to send

    @functools.cached_property
    def _said(self) -> np.ndarray:
        return np.zeros(self.sizes[0])

    @functools.cached_property
    def _told(self) -> np.ndarray:
        return np.zeros(self.sizes[1])

    def seat(self, state: np.ndarray) -> None:
        """Live in this array from now on; its contents are the node's state."""
        self.state = state
        self.view = layout.Views(state, self.places)

    def begin(self) -> None:
        """Fill the state: initial weights, nothing heard."""
        self._begin(self.state, self.config)

    def prepare(self) -> None:
        """Compile what the node will need, or find it compiled."""
        address(self._handle)

    def hear(self, now: int, channel: int, port: int, seq: int, stamp: int, payload: np.ndarray) -> list[Letter] | tuple[Letter, ...]:
        """Take in one message (on an on-arrival clock: and act on it)."""
        self.flags = flags = self._handle(self.state, self.config, now, channel, port, seq, stamp, payload, self._said, self._told)
        return self._letters(flags, now, 0) if flags else _NOTHING

    def act(self, now: int) -> list[Letter] | tuple[Letter, ...]:
        """Take the turn of a tick."""
        self.flags = flags = self._handle(self.state, self.config, now, TICK, 1, 0, 0, _NO_PAYLOAD, self._said, self._told)
        return self._letters(flags, now, 2) if flags else _NOTHING

    def _letters(self, flags: int, now: int, ticked: int) -> list[Letter]:
        letters: list[Letter] = []
        while True:
            self._write(flags, letters)
            if not flags & archive.MORE:
                return letters
            self.flags = flags = self._handle(self.state, self.config, now, TICK, ticked, 0, 0, _NO_PAYLOAD, self._said, self._told)

    def _write(self, flags: int, letters: list[Letter]) -> None:
        raise NotImplementedError

    def counts(self) -> dict[str, int]:
        """What the node passed over and did, by name."""
        raise NotImplementedError


class Agent(Node):
    """A learning node (machines/); `tells` are the ports of those sources that its feedback links lead to, in order.

    What a node that settles tells begins with its gate, one number a stream.
    """

    def __init__(self, *args: object, tells: list[int], settles: bool = False) -> None:
        super().__init__(*args)
        self.tells, self.settles = one_of(tuple(tells)), settles

    def slices(self) -> list[tuple[int, int, int]]:
        """Of its inputs, which each feedback link is about: (link, first, count)."""
        ports = self.view.port.astype(int).tolist()
        return [(link, ports[port][hearing.START], ports[port][hearing.WIDTH]) for link, port in enumerate(self.tells)]

    _slices = functools.cached_property(slices)

    def _write(self, flags: int, letters: list[Letter]) -> None:
        if flags & archive.TELL:
            stamp = int(self.view.told_stamp[0])
            for link, start, width in self._slices:
                told = self._told[:, start : start + width].reshape(len(self._told), -1)
                if self.settles:
                    told = np.concatenate((self.view.gate.reshape(-1, 1), told), axis=1)
                letters.append(Letter(FEEDBACK, stamp, told.ravel().copy(), link))
        if flags & archive.SAY:
            letters.append(Letter(ACTIVITY, int(self.view.stamp[0]), self._said.copy()))

    def counts(self) -> dict[str, int]:
        return dict(zip(hearing.COUNT_NAMES, self.view.counts.astype(int).tolist(), strict=True))


class Dopamine(Node):
    """The node that broadcasts the TD error (dopamine.py): to the critic (the first links) under the decision's stamp, to the others under the action's."""

    links = 1
    critics = 1

    def _write(self, flags: int, letters: list[Letter]) -> None:
        if flags & dopamine.SAY:
            stamp, credited = int(self.view.stamp[0]), int(self.view.credited[0])
            error = self._said.copy()
            if credited == stamp:
                letters.append(Letter(REWARD, stamp, error))
                return
            letters += [Letter(REWARD, stamp, error, link) for link in range(self.critics)]
            if credited >= 0:
                letters += [Letter(REWARD, credited, error, link) for link in range(self.critics, self.links)]

    def counts(self) -> dict[str, int]:
        return dict(zip(dopamine.COUNT_NAMES, self.view.counts.astype(int).tolist(), strict=True))


class World(Node):
    """The node that holds the task (world.py); its task, if it lives in Python, is stepped here, and here its score is kept."""

    def __init__(self, *args: object, outside: object, score: Score) -> None:
        super().__init__(*args)
        self.outside, self.score = outside, score
        self.earns = OUTCOME if self.sizes[1][2] > len(self.view.episode) else REWARD

    def _write(self, flags: int, letters: list[Letter]) -> None:
        if flags & world.TELL:
            letters.append(Letter(self.earns, int(self.view.told_stamp[0]), self._told.ravel().copy()))
        if flags & world.SAY:
            letters.append(Letter(ACTIVITY, int(self.view.stamp[0]), self._said.copy()))
        if flags & world.STEP:
            self.outside.step(self.view)

    def take_turn(self) -> int:
        """When the world wants its next turn, once; -1 if it has not said so since the last call."""
        due, self.view.turn[0] = int(self.view.turn[0]), -1.0
        return due

    def look(self, now: int) -> None:
        """Bring the score up to date."""
        self.score.take(self.view, now)

    def counts(self) -> dict[str, int]:
        return dict(zip(world.COUNT_NAMES, self.view.counts.astype(int).tolist(), strict=True))

    def close(self) -> None:
        """Give back what the task holds."""
        if self.outside is not None:
            self.outside.close()


def clock_of(scenario: Scenario, plan: NodePlan) -> np.ndarray:
    """The clock row of a node: named for it, for its layer, or the default."""
    tick = scenario.tick
    _, spec = lateness.clock_of(scenario, plan.name)
    if spec is None or spec.kind == "on-arrival":
        return clock.row("on-arrival", 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)
    phase = getattr(spec, "phase", None)
    row = clock.row(
        spec.kind,
        spec.period * tick,
        getattr(spec, "jitter", 0.0),
        getattr(spec, "drift", 0.0),
        -1.0 if phase is None else phase,
        getattr(spec, "slow", 1.0),
        getattr(spec, "start", 0.0) * tick,
        getattr(spec, "stop", 0.0) * tick,
    )
    return shared(row)


def family_of(scenario: Scenario, plan: Plan, node: NodePlan) -> Family:
    """The machine of a node, bound to what it works with."""
    if node.role == "world":
        return bind(world, task=tasks.kernels(scenario.task))
    if node.role == "dopamine":
        return bind(dopamine)
    if node.role == "critic":
        return bind(sampled, rule=value, optimizer=OPTIMIZERS[scenario.critic.optimizer.name])
    learner = network.learner_of(scenario, plan.layers[node.layer])
    rule = RULES[learner.name]
    return bind(importlib.import_module(rule.MACHINE), rule=importlib.import_module(rule.KERNELS), optimizer=OPTIMIZERS[learner.optimizer.name])


def build(scenario: Scenario, plan: Plan, node: NodePlan) -> Node:
    """A node of the team with its state filled; the only place where nodes are made."""
    if node.role == "world":
        return _world(scenario, plan, node)
    dims = network.dimensions(plan, node, scenario)
    on_arrival = int(clock_of(scenario, node)[0] == clock.ON_ARRIVAL)
    made = {"critic": _critic, "dopamine": _dopamine, "agent": _agent}[node.role](scenario, plan, node, dims, {"on_arrival": on_arrival})
    made.begin()
    if isinstance(made, Dopamine):
        made.view.critics[:] = made.critics
    return made


def _world(scenario: Scenario, plan: Plan, node: NodePlan) -> Node:
    settings, tick, b = scenario.task.world, scenario.tick, scenario.task.streams
    task = tasks.build(scenario.task, scenario.seed)
    dims = network.dimensions(plan, node, scenario)
    phased = any(getattr(learner, "rounds", 0) for learner in (scenario.rule, scenario.critic))
    values = {
        "seed": scenario.seed,
        "waits": int(settings.waits),
        "late": {"use": world.USE, "withhold": world.WITHHOLD, "grade-by-stamp": world.GRADE}[settings.late],
        "interval": max(1, round(settings.interval * tick)),
        "repeat": tick if scenario.links.repeats() else 0,
        "patience": 0 if phased else max(1, round(settings.patience * tick)),  # phases count messages: none is said twice
        "answers": {"softmax": world.ONE_HOT, "linear": world.REAL}.get(scenario.network.output, world.SIGN),
        "clip": getattr(scenario.task, "reward_clip", None) or math.inf,
        "dopamine": int(scenario.critic is not None),
        "zero_at_limit": int(getattr(scenario.task, "truncation", "zero") == "zero"),
        "by_episode": int(scenario.task.episodes is not None),
        **task.values,
    }
    told = 1 + 3 * b if scenario.critic else b
    score = Score(scenario.task.decisions, scenario.task.episodes)
    made = World(node, family_of(scenario, plan, node), dims, values, b + b * plan.inputs, (1, 1, told), outside=task.outside, score=score)
    task.fill(made.view)
    made.begin()
    made.view.look_at[:] = score.look_at
    made.view.turn[:] = -1.0
    return made


def _dopamine(scenario: Scenario, plan: Plan, node: NodePlan, dims: dict[str, int], values: dict[str, float]) -> Node:
    values |= {"gamma": scenario.task.gamma}
    made = Dopamine(node, family_of(scenario, plan, node), dims, values, dims["B"], (1, 1, 1))
    heard_by = [plan.nodes[dst] for dst in plan.links[plan.outgoing(node.index, REWARD), network.DST].tolist()]
    made.links = len(heard_by)
    made.critics = sum(other.role == "critic" or plan.layers[other.layer].team == "critic" for other in heard_by)
    return made


def _learner(scenario: Scenario, learner: object, values: dict[str, float], *, settles: bool = False) -> dict[str, float]:
    ready = scenario.network.ready
    return values | {
        "seed": scenario.seed,
        "patience": scenario.network.patience,
        "lag": scenario.network.lag,
        "revise": int(ready == "revise" or (ready == "auto" and not values["on_arrival"] and not settles)),
        "repeats": int(scenario.links.repeats()),
        "stamped": int(learner.credit == "stamped"),
        "decay": scenario.task.gamma * learner.lambda_,
        "anneal": learner.anneal,
        **OPTIMIZERS[learner.optimizer.name].values(learner.optimizer, learner.EPSILON),
    }


def _critic(scenario: Scenario, plan: Plan, node: NodePlan, dims: dict[str, int], values: dict[str, float]) -> Node:
    learner = scenario.critic
    values = _learner(scenario, learner, values) | {"layer0": len(plan.layers) + 1}
    made = Agent(node, family_of(scenario, plan, node), dims, values, 2 * dims["B"], (1, 1, 1), tells=[])
    rates = [per_layer(learner.learning_rate, i) for i in range(dims["L"] - 1)]
    ends = [per_layer(learner.learning_rate_end or learner.learning_rate, i) for i in range(dims["L"] - 1)]
    view = made.view
    view.sizes[:], view.rate[1:], view.rate_end[1:] = network.critic_sizes(plan, scenario), rates, ends
    view.port[:, hearing.WIDTH], view.sender[:, 1] = plan.inputs, 1
    return made


def _agent(scenario: Scenario, plan: Plan, node: NodePlan, dims: dict[str, int], values: dict[str, float]) -> Node:
    layer = plan.layers[node.layer]
    learner = network.learner_of(scenario, layer)
    rule = RULES[learner.name]
    tells = plan.links[plan.outgoing(node.index, FEEDBACK), network.SLOT].tolist()
    values = _learner(scenario, learner, values, settles=layer.settles) | {
        "units": _UNITS[layer.units],
        "fan_out": min(layer.values, network.reach_of(scenario, layer)),  # values that each input reaches; as released, of a softmax all of them
        "temperature": per_layer(learner.temperature, layer.place),
        "rate": per_layer(learner.learning_rate, layer.place),
        "rate_end": per_layer(learner.learning_rate_end or learner.learning_rate, layer.place),
        "tells": int(bool(tells)),
        "gamma": scenario.task.gamma,
        "tick": scenario.tick,
        "below": sum(plan.nodes[src].role == "agent" for src in plan.senders(node.index, ACTIVITY)),
        "awaits": int(scenario.critic is not None),
        "foretells": int(layer.team == "critic"),
        "gated": int(getattr(learner, "gate", "none") != "none"),
        **rule.values(learner, layer.place),
    }
    inputs = network.source_slices(scenario, plan, node)
    senders = network.credit_slices(plan, node)
    above = network.drive_slices(plan, node)
    b = dims["B"]
    made = Agent(node, family_of(scenario, plan, node), dims, values, b + b * dims["N"], (b, dims["I"], dims["M"]), tells=tells, settles=layer.settles)
    made.view.unit0[:] = node.identity
    made.view.port[:, : hearing.SKIPS + 1], made.view.sender[:] = inputs, senders
    if above:
        made.view.drive_from[:] = [(first, first + width) for first, width in above]
    return made
