"""Which nodes and which links a fault strikes: the words of a scenario (scenario/faults.py) looked up in a team's plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from asyncnet.kernels.chance import CHOICE, uniform_of
from asyncnet.loop.message import CHANNELS
from asyncnet.scenario.faults import OfNodes
from asyncnet.scenario.mistakes import ScenarioError, near
from asyncnet.team.lateness import clock_of, longest_tick
from asyncnet.team.network import CHANNEL, DST, OBSERVATION, SRC, Plan

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncnet.scenario.faults import AnyFault
    from asyncnet.scenario.schema import Scenario


def links_of(scenario: Scenario, plan: Plan, number: int) -> np.ndarray:
    """Which links (links,) that fault of the scenario strikes; raises ScenarioError with the key if a name is no node's, or if there is no such link."""
    fault = scenario.faults[number]
    if isinstance(fault, OfNodes):  # while a node is down nothing comes to it; what else befalls it is no matter of its links
        return drawn(scenario, plan, number)[plan.links[:, DST]] & (fault.kind in ("crash", "pause"))
    key, found = f"faults.{number}", np.ones(len(plan.links), dtype=np.bool_)
    if fault.channel is not None:
        found &= plan.links[:, CHANNEL] == CHANNELS[fault.channel]
    for names, end, word in ((fault.senders, SRC, "from"), (fault.hearers, DST, "to")):
        if names is not None:
            found &= _named(plan, names, f"{key}.{word}")[plan.links[:, end]]
    if not (fault.nodes is None and fault.fraction is None and fault.count is None):
        inside = drawn(scenario, plan, number)
        leaves, enters = (inside[plan.links[:, one]] & ~inside[plan.links[:, other]] for one, other in ((SRC, DST), (DST, SRC)))
        found &= (leaves & (fault.way != "in")) | (enters & (fault.way != "out"))
    if not found.any():
        raise ScenarioError("", key, f"strikes no link: there is none like that in this team of {len(plan.nodes)} nodes")
    return found


def drawn(scenario: Scenario, plan: Plan, number: int) -> np.ndarray:
    """Which nodes (nodes,) a fault is about: those it names (the learning ones, if none), or as many of these as it says, by keyed draws."""
    fault = scenario.faults[number]
    key = f"faults.{number}"
    if fault.nodes is None:
        inside = np.array([plan.layers[node.layer].learns for node in plan.nodes])
    else:
        inside = _named(plan, fault.nodes, f"{key}.nodes")
    if isinstance(fault, OfNodes):
        inside = _able(scenario, plan, fault, inside, f"{key}.nodes")
    named = np.flatnonzero(inside)
    if fault.fraction is None and fault.count is None:
        return inside
    count = max(1, round(fault.fraction * len(named))) if fault.count is None else fault.count
    if not len(named):
        return inside
    if count > len(named):
        raise ScenarioError("", f"{key}.count", f"draws {count} of {len(named)} nodes")
    lots = [float(uniform_of(scenario.seed, CHOICE, number, plan.nodes[i].identity, 0)) for i in named.tolist()]
    inside = np.zeros(len(plan.nodes), dtype=np.bool_)
    inside[named[np.lexsort((named, lots))[:count]]] = True
    return inside


def _able(scenario: Scenario, plan: Plan, fault: AnyFault, inside: np.ndarray, key: str) -> np.ndarray:
    """Those of these nodes to which that can happen; raises ScenarioError for one that is named and is none of them."""
    if inside[0]:
        cannot = "has no mailbox" if fault.kind == "mailbox" else f"cannot {fault.kind}"
        raise ScenarioError("", key, f"the world holds the task and {cannot}; what it says and hears can be cut, lost or held")
    if fault.kind in ("slow", "skip", "shift", "mailbox"):
        acts = [i for i in np.flatnonzero(inside).tolist() if longest_tick(clock_of(scenario, plan.nodes[i].name)[1]) == 0.0]
        if acts and fault.nodes is not None:
            why = "nothing waits for it" if fault.kind == "mailbox" else f"it has no ticks to {fault.kind}"
            raise ScenarioError("", key, f"{plan.nodes[acts[0]].name} acts on arrival: {why}")
        inside[acts] = False
    return inside


def _named(plan: Plan, names: Iterable[str], key: str) -> np.ndarray:
    """Which nodes (nodes,) have one of these names, or are of a layer or a team that has."""
    words = [{node.name, plan.layers[node.layer].name, plan.layers[node.layer].team} - {OBSERVATION} for node in plan.nodes]
    found = np.zeros(len(words), dtype=np.bool_)
    for name in names:
        inside = np.array([name in each for each in words])
        if not inside.any():
            raise ScenarioError("", key, f"no node, layer or team is called {name}; {near(name, sorted(set().union(*words)))}")
        found |= inside
    return found
