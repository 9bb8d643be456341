"""The team of a scenario: which nodes there are and who hears whom, drawn from the scenario alone and so the same on every machine."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from asyncnet import tasks
from asyncnet.chance import identity
from asyncnet.lateness import archives
from asyncnet.message import ACTIVITY, FEEDBACK, OUTCOME, REWARD
from asyncnet.mistakes import ScenarioError, near
from asyncnet.network import LARGEST, MOST_WEIGHTS, OBSERVATION, Layer, NodePlan, Plan, learner_of, reach_of, settles, within
from asyncnet.rules import RULES

if TYPE_CHECKING:
    from asyncnet.scenario import Scenario


_drawn: dict[int, tuple[weakref.ref[Scenario], Plan]] = {}


def plan(scenario: Scenario) -> Plan:
    """The team of a scenario, drawn once for each; raises ScenarioError where its parts do not fit together."""
    key = id(scenario)  # equal scenarios need not be the same, but this one never changes
    known, made = _drawn.get(key, (None, None))
    if known is None or known() is not scenario:
        made = _draw(scenario)
        _drawn[key] = weakref.ref(scenario, lambda _: _drawn.pop(key, None)), made
    return made


def _draw(scenario: Scenario) -> Plan:
    inputs, actions, real = tasks.spaces(scenario.task)
    actor = _actor(scenario, inputs, actions, real)
    layers = actor + _critic(scenario, len(actor), inputs)

    parts = {layer.name: len(layer.parts) for layer in layers}
    count = sum(parts[layer.name] * min(reach_of(scenario, layer), parts.get(source, 1)) for layer in layers for source in layer.sources)
    if count > LARGEST:
        raise ScenarioError("", "network.split", f"cut like this the network has {count} links; at most {LARGEST}")

    nodes = [NodePlan("world", 0, identity(0, 0), "world")]
    of_layer: dict[str, list[int]] = {}
    for place, layer in enumerate(layers):
        for start, count in layer.parts:
            name = layer.name if len(layer.parts) == 1 else f"{layer.name}.{start}"
            of_layer.setdefault(layer.name, []).append(len(nodes))
            nodes.append(NodePlan(name, len(nodes), identity(layer.number, start), "agent", place, (start, count)))
    agents = range(1, len(nodes))
    above = len(actor) + 1
    critics = [node for node in agents if layers[nodes[node].layer].team == "critic"]
    dopamine = None
    if scenario.critic:
        if not critics:
            critics = [len(nodes)]
            nodes.append(NodePlan("critic", len(nodes), identity(above, 0), "critic"))
        dopamine = len(nodes)
        nodes.append(NodePlan("dopamine", dopamine, identity(above + len(scenario.critic.hidden) + 1, 0), "dopamine"))

    links: list[tuple[int, ...]] = []
    ports: dict[tuple[int, int], int] = {}
    slots: dict[tuple[int, int], int] = {}

    def join(channel: int, src: int, dst: int, slot: int | None = None) -> None:
        port = ports.get((channel, dst), 0)
        ports[channel, dst] = port + 1
        count = slots.get((channel, src), 0)
        slots[channel, src] = count + 1
        links.append((channel, src, dst, port, count if slot is None else slot))

    for layer in layers:
        tells = RULES[learner_of(scenario, layer).name].TELLS
        for node in of_layer[layer.name]:
            port = 0
            for source in layer.sources:
                for src in [0] if source == OBSERVATION else of_layer[source][within(scenario, layers, nodes[node], source, inputs)]:
                    join(ACTIVITY, src, node)
                    if tells and source != OBSERVATION:
                        join(FEEDBACK, node, src, slot=port)
                    port += 1
    for node in of_layer[actor[-1].name]:
        join(ACTIVITY, node, 0)
    broadcaster = 0
    if dopamine is not None:
        if nodes[critics[0]].role == "critic":
            join(ACTIVITY, 0, critics[0])
        join(ACTIVITY, critics[-1], dopamine)
        join(OUTCOME, 0, dopamine)
        for node in critics:  # the first slots: the critic's TD error carries the decision's stamp, the others that of the action used
            join(REWARD, dopamine, node)
        broadcaster = dopamine
    hears_all = RULES[scenario.rule.name].HEARS_REWARD == "all"
    for node in agents:
        layer = layers[nodes[node].layer]
        if layer.team == "actor" and (hears_all or layer.last):
            join(REWARD, broadcaster, node)

    names = {node.name for node in nodes} | {layer.name for layer in layers}
    for name in scenario.clocks:
        if name == "world":
            raise ScenarioError("", 'clocks."world"', "the world's clock is task.world.interval")
        if name != "default" and name not in names:
            raise ScenarioError("", f'clocks."{name}"', f"no node of that name; {near(name, sorted(names - {'world'}))}")
    made = Plan(layers, tuple(nodes), links, inputs, actions)
    if scenario.network.reach:
        for node in nodes[1 : 1 + sum(parts.values())]:
            if not made.outgoing(node.index, ACTIVITY):
                raise ScenarioError("", "network.reach", f"{scenario.network.reach} is too small: nobody hears {node.name}")
    made.archives = archives(scenario, made)
    return made


def _actor(scenario: Scenario, inputs: int, actions: int, real: bool) -> tuple[Layer, ...]:
    network, settling = scenario.network, settles(RULES[scenario.rule.name])
    if real != (network.output == "linear"):
        kind = "real-valued" if real else "discrete"
        raise ScenarioError("", "network.output", f"this task takes {kind} actions; {network.output} units are not made for them")
    if network.output not in ("softmax", "linear") and actions != 2:
        raise ScenarioError("", "network.output", f"one {network.output} unit chooses between two actions; this task has {actions}")
    # The released Weight Maximization holds the last logit of a softmax at 0, the released MAP Propagation leaves all free.
    sizes = [*network.hidden, {"softmax": actions - (not settling), "linear": actions}.get(network.output, 1)]
    names = [f"actor.{number}" for number in range(1, len(sizes) + 1)]
    if network.reach and network.split != "unit":
        raise ScenarioError("", "network.reach", 'only single units have a place of their own: split = "unit"')
    hears = {name: (names[i - 1] if i else OBSERVATION,) for i, name in enumerate(names)}
    for name, sources in network.inputs.items():
        key = f'network.inputs."{name}"'
        if name not in hears:
            raise ScenarioError("", key, f"no layer of that name; there are {', '.join(names)}")
        if not sources or len(set(sources)) < len(sources):
            raise ScenarioError("", key, "name each source once, and at least one")
        for source in sources:
            if source != OBSERVATION and source not in names[:-1]:
                raise ScenarioError("", key, f"no hidden layer {source!r}; there are {OBSERVATION}, {', '.join(names[:-1])}")
            if source != OBSERVATION and names.index(source) >= names.index(name):
                raise ScenarioError("", key, f"{name} hears {source}, which comes after it: the network would be cyclic")
        hears[name] = sources
    heard = {source for sources in hears.values() for source in sources}
    for name in names[:-1]:
        if name not in heard:
            raise ScenarioError("", "network.inputs", f"nobody hears {name}")
    values = [*network.hidden, actions if network.output in ("softmax", "linear") else 1]
    layers = _team("actor", 1, sizes, values, (*network.kinds(), network.output), hears, network.split, settling)
    return _weighed(layers, inputs, "network.hidden")


def _critic(scenario: Scenario, below: int, inputs: int) -> tuple[Layer, ...]:
    """The layers of a critic that is a team of its own: every hidden layer hears the one before, the output is one linear unit."""
    critic = scenario.critic
    if critic is None or critic.name == "backprop":
        return ()
    sizes = [*critic.hidden, 1]
    names = [f"critic.{number}" for number in range(1, len(sizes) + 1)]
    hears = {name: (names[i - 1] if i else OBSERVATION,) for i, name in enumerate(names)}
    return _weighed(
        _team("critic", below + 1, sizes, sizes, (critic.units,) * len(critic.hidden) + ("linear",), hears, scenario.network.split, True),
        inputs,
        "critic.hidden",
    )


def _team(
    team: str, number: int, sizes: list[int], values: list[int], units: tuple[str, ...], hears: dict[str, tuple[str, ...]], split: str | int, settling: bool
) -> tuple[Layer, ...]:
    layers = []
    for place, (name, columns) in enumerate(zip(hears, sizes, strict=True)):
        last = place == len(sizes) - 1
        group = columns if split == "layer" or (last and units[-1] == "softmax") else 1 if split == "unit" else split
        parts = tuple((start, min(group, columns - start)) for start in range(0, columns, group))
        layers.append(Layer(name, number + place, units[place], columns, values[place], hears[name], parts, team, place, last, settling))
    return tuple(layers)


def _weighed(layers: tuple[Layer, ...], inputs: int, key: str) -> tuple[Layer, ...]:
    """The layers, if they are not too many weights."""
    values = {OBSERVATION: inputs} | {layer.name: layer.values for layer in layers}
    weights = sum(layer.columns * sum(values[source] for source in layer.sources) for layer in layers)
    if weights > MOST_WEIGHTS:
        raise ScenarioError("", key, f"{weights:,} weights; at most {MOST_WEIGHTS:,}")
    return layers
