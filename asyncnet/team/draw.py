"""The team of a scenario: which nodes there are and who hears whom, drawn from the scenario alone and so the same on every machine."""

from __future__ import annotations

import weakref
from collections import Counter
from types import ModuleType
from typing import TYPE_CHECKING

from asyncnet import tasks
from asyncnet.kernels.chance import identity
from asyncnet.loop.message import ACTIVITY
from asyncnet.nodes import dopamine, world
from asyncnet.rules import CRITICS, RULES
from asyncnet.scenario.mistakes import ScenarioError, near
from asyncnet.team.lateness import archives
from asyncnet.team.network import CHANNEL, LARGEST, MOST_WEIGHTS, OBSERVATION, Layer, NodePlan, Plan, reach_of, within
from asyncnet.team.ports import as_critic
from asyncnet.team.targets import links_of

if TYPE_CHECKING:
    from asyncnet.scenario.schema import Scenario


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
    critic = _critic(scenario, len(actor) + 1, inputs)
    layers = (Layer(OBSERVATION, 0, "", inputs, inputs, (actor[-1].name,), ((0, inputs),), "world", world.KIND), *actor, *critic)
    if critic:
        number = len(actor) + len(scenario.critic.hidden) + 2
        layers += (Layer("dopamine", number, "", 1, 1, (critic[-1].name,), ((0, 1),), "dopamine", dopamine.KIND),)
    nodes = _nodes(layers)
    made = Plan(layers, nodes, _links(scenario, layers, nodes), actions)

    learning = [node for node in nodes if layers[node.layer].learns]
    names = {node.name for node in nodes} | {layer.name for layer in layers[1:]}
    for name in scenario.clocks:
        if name == "world":
            raise ScenarioError("", 'clocks."world"', "the world's clock is task.world.interval")
        if name != "default" and name not in names:
            raise ScenarioError("", f'clocks."{name}"', f"no node of that name; {near(name, sorted(names - {'world'}))}")
    if scenario.network.reach:
        for node in learning:
            if not made.outgoing(node.index, ACTIVITY):
                raise ScenarioError("", "network.reach", f"{scenario.network.reach} is too small: nobody hears {node.name}")
    for number, fault in enumerate(scenario.faults):
        struck = links_of(scenario, made, number)
        if scenario.task.world.waits and fault.ends_all(scenario.tick) and (made.links[struck, CHANNEL] == ACTIVITY).any():
            what = "somebody it waits for never comes back" if fault.kind == "crash" else "activity is cut off for good"
            why = f"the world waits for an action, and {what}; give stop, or every and lasting"
            raise ScenarioError("", f"faults.{number}", why)
    made.archives = archives(scenario, made)
    return made


def _nodes(layers: tuple[Layer, ...]) -> tuple[NodePlan, ...]:
    nodes: list[NodePlan] = []
    for place, layer in enumerate(layers):
        for part in layer.parts:
            name = "world" if layer.name == OBSERVATION else layer.name if len(layer.parts) == 1 else f"{layer.name}.{part[0]}"
            nodes.append(NodePlan(name, len(nodes), identity(layer.number, part[0]), place, part))
    return tuple(nodes)


def _links(scenario: Scenario, layers: tuple[Layer, ...], nodes: tuple[NodePlan, ...]) -> list[tuple[int, ...]]:
    """The links that the ports of all nodes ask for: each to a node from those that say what it hears."""
    named = {layer.name: layer for layer in layers}
    count = sum(len(layer.parts) * min(reach_of(scenario, layer), len(named[source].parts)) for layer in layers if layer.learns for source in layer.sources)
    count += sum(len(layer.parts) * (len(layer.parts) - 1) for layer in layers if any(port.relation == "layer" for port in layer.kind.hears))
    if count > LARGEST:
        raise ScenarioError("", "network.split", f"cut like this the network has {count} links; at most {LARGEST}")
    of_layer: dict[str, list[int]] = {layer.name: [] for layer in layers}
    for node in nodes:
        of_layer[layers[node.layer].name].append(node.index)
    below: list[list[int]] = []
    above: list[list[tuple[int, int]]] = [[] for _ in nodes]  # who hears a node from below, and as which of its inputs
    for node in nodes:
        layer, sources = layers[node.layer], []
        for source in layer.sources:
            sources += of_layer[source] if len(of_layer[source]) == 1 else of_layer[source][within(scenario, layer, node, named[source])]
        below.append(sources)
        for place, src in enumerate(sources):
            above[src].append((node.index, place))
    everybody = [of_layer["dopamine"][0] if "dopamine" in of_layer else 0]
    said = [{out.name: (which, out.channel) for which, out in enumerate(layer.kind.says)} for layer in layers]

    def related(node: NodePlan, relation: str) -> list[tuple[int, int | None]]:
        """Who stands in that relation to a node; those above: and which of their inputs it is."""
        if relation == "above":
            return above[node.index]
        if relation == "layer":
            found = [other for other in of_layer[layers[node.layer].name] if other != node.index]
        else:
            found = {"below": below[node.index], "broadcast": everybody, "world": [0]}[relation]
        return [(src, None) for src in found]

    links: list[tuple[int, ...]] = []
    ports: Counter[tuple[int, int]] = Counter()
    slots: Counter[tuple[int, int]] = Counter()
    for node in nodes:
        for number, port in enumerate(layers[node.layer].kind.hears):
            if port.relation == "layer" and port.age == 0:
                raise ScenarioError(
                    "", layers[node.layer].name, f"its nodes hear each other ({port.name}) within one step, in a circle; a port of that relation has age = 1"
                )
            for src, place in related(node, port.relation):
                which, channel = said[nodes[src].layer].get(port.out, (-1, -1))
                if which < 0:
                    continue
                slot = slots[src, which] if place is None else place
                links.append((channel, src, node.index, ports[channel, node.index], slot, number, which))
                ports[channel, node.index] += 1
                slots[src, which] += 1
    return links


def _actor(scenario: Scenario, inputs: int, actions: int, real: bool) -> tuple[Layer, ...]:
    network, rule = scenario.network, RULES[scenario.rule.name]
    if real != (network.output == "linear"):
        kind = "real-valued" if real else "discrete"
        raise ScenarioError("", "network.output", f"this task takes {kind} actions; {network.output} units are not made for them")
    if network.output not in ("softmax", "linear") and actions != 2:
        raise ScenarioError("", "network.output", f"one {network.output} unit chooses between two actions; this task has {actions}")
    sizes = [*network.hidden, {"softmax": actions - (not rule.FREE_LOGITS), "linear": actions}.get(network.output, 1)]
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
    layers = _team("actor", 1, sizes, values, (*network.kinds(), network.output), hears, network.split, rule)
    return _weighed(scenario, layers, inputs, "network.hidden")


def _critic(scenario: Scenario, number: int, inputs: int) -> tuple[Layer, ...]:
    """The layers of the critic: of a team of its own, in which every hidden layer hears the one before and the output is one linear unit, or one node."""
    critic = scenario.critic
    if critic is None:
        return ()
    rule = (RULES | CRITICS)[critic.name]
    if not hasattr(rule, "HIDDEN"):
        return (Layer("critic", number, "", 1, 1, (OBSERVATION,), ((0, 1),), "critic", as_critic(rule.OUTPUT)),)
    sizes = [*critic.hidden, 1]
    names = [f"critic.{number}" for number in range(1, len(sizes) + 1)]
    hears = {name: (names[i - 1] if i else OBSERVATION,) for i, name in enumerate(names)}
    units = (critic.units,) * len(critic.hidden) + ("linear",)
    return _weighed(scenario, _team("critic", number, sizes, sizes, units, hears, scenario.network.split, rule), inputs, "critic.hidden")


def _team(
    team: str, number: int, sizes: list[int], values: list[int], units: tuple[str, ...], hears: dict[str, tuple[str, ...]], split: str | int, rule: ModuleType
) -> tuple[Layer, ...]:
    layers = []
    for place, (name, columns) in enumerate(zip(hears, sizes, strict=True)):
        last = place == len(sizes) - 1
        group = columns if split == "layer" or (last and units[-1] == "softmax") else 1 if split == "unit" else split
        parts = tuple((start, min(group, columns - start)) for start in range(0, columns, group))
        kind = rule.OUTPUT if last else rule.HIDDEN
        kind = as_critic(kind) if team == "critic" else kind
        layers.append(Layer(name, number + place, units[place], columns, values[place], hears[name], parts, team, kind, place, last))
    return tuple(layers)


def _weighed(scenario: Scenario, layers: tuple[Layer, ...], inputs: int, key: str) -> tuple[Layer, ...]:
    """The layers, if they are not too many weights."""
    values = {OBSERVATION: inputs} | {layer.name: layer.values for layer in layers}
    weights = sum(layer.columns * sum(min(values[source], reach_of(scenario, layer)) for source in layer.sources) for layer in layers)
    if weights > MOST_WEIGHTS:
        raise ScenarioError("", key, f"{weights:,} weights; at most {MOST_WEIGHTS:,}")
    return layers
