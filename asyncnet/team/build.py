"""Building nodes from a plan: both engines call it, and nothing else makes nodes.

What a node's kernels read is put together from those who know: the scenario at large here, the rest by its machine, its rule and its optimiser.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np

from asyncnet import tasks
from asyncnet.loop import clock
from asyncnet.loop.message import FEEDBACK
from asyncnet.nodes import world
from asyncnet.nodes.family import Family, bind
from asyncnet.nodes.node import Node, World, shared
from asyncnet.optimizers import OPTIMIZERS
from asyncnet.rules import CRITICS, RULES
from asyncnet.rules.settings import per_layer
from asyncnet.runs.metrics import Score
from asyncnet.scenario.schema import Scenario
from asyncnet.team import lateness, network
from asyncnet.team.network import OUT, SLOT, NodePlan, Plan, Site, site_of


def build(scenario: Scenario, plan: Plan, node: NodePlan) -> Node:
    """A node of the team with its state filled; the only place where nodes are made."""
    site = site_of(scenario, plan, node)
    return (_agent if site.layer.learns else _world if site.layer.team == "world" else _dopamine)(site)


def family_of(scenario: Scenario, plan: Plan, node: NodePlan) -> Family:
    """The machine of a node, bound to what it works with."""
    layer = plan.layers[node.layer]
    machine = importlib.import_module(layer.kind.machine)
    if layer.learns:
        optimizer = OPTIMIZERS[network.learner_of(scenario, layer).optimizer.name]
        return bind(machine, rule=importlib.import_module(layer.kind.kernels), optimizer=optimizer)
    return bind(machine, task=tasks.kernels(scenario.task)) if layer.team == "world" else bind(machine)


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


def on_arrival(site: Site) -> bool:
    """Whether a node acts whenever a message comes."""
    return clock_of(site.scenario, site.node)[0] == clock.ON_ARRIVAL


def _made(kind: type[Node], site: Site, values: dict[str, float], given: dict[str, Any] | None = None, **more: object) -> Any:
    dims = network.dimensions(site)
    room = network.room_of(site.plan, site.scenario.task.streams, site.node, dims)
    return kind(site.node, family_of(site.scenario, site.plan, site.node), dims, values, room, given or {}, **more)


def _world(site: Site) -> Node:
    scenario = site.scenario
    settings, tick = scenario.task.world, scenario.tick
    task = tasks.build(scenario.task, scenario.seed)
    phased = any(getattr(learner, "rounds", 0) for learner in (scenario.rule, scenario.critic))
    values = {
        "seed": scenario.seed,
        "waits": int(settings.waits),
        "late": {"use": world.USE, "withhold": world.WITHHOLD, "grade-by-stamp": world.GRADE}[settings.late],
        "interval": max(1, round(settings.interval * tick)),
        "repeat": tick if scenario.repeats() else 0,
        "timeout": 0 if phased else max(1, round(settings.timeout * tick)),  # phases count messages: none is said twice
        "answers": {"softmax": world.ONE_HOT, "linear": world.REAL}.get(scenario.network.output, world.SIGN),
        "clip": getattr(scenario.task, "reward_clip", None) or math.inf,
        "dopamine": int(scenario.critic is not None),
        "zero_at_limit": int(getattr(scenario.task, "truncation", "zero") == "zero"),
        "by_episode": int(scenario.task.episodes is not None),
        **task.values,
    }
    score = Score(scenario.task.decisions, scenario.task.episodes, squared_error=getattr(tasks.kernels(scenario.task), "SQUARED_ERROR", False))
    made = _made(World, site, values, outside=task.outside, score=score)
    if task.fill:
        task.fill(made.view)
    made.begin()
    made.view.look_at[:] = score.look_at
    return made


def _dopamine(site: Site) -> Node:
    outs = site.plan.leaving(site.node.index)[:, OUT].tolist()
    errors = [out.name for out in site.layer.kind.says].index("error")
    values = {"gamma": site.scenario.task.gamma, "on_arrival": int(on_arrival(site)), "critics": outs.count(errors), "hearers": len(outs)}
    made = _made(Node, site, values)
    made.begin()
    return made


def _agent(site: Site) -> Node:
    scenario, plan, node, layer, learner = site
    family = family_of(scenario, plan, node)
    values = {
        "seed": scenario.seed,
        "on_arrival": int(on_arrival(site)),
        "timeout": scenario.network.timeout,
        "lag": scenario.network.lag,
        "stamped": int(learner.credit == "stamped"),
        "gamma": scenario.task.gamma,
        "decay": scenario.task.gamma * learner.lambda_,
        "tick": scenario.tick,
        **({"units": family.kernel("rule", "CODES")[layer.units]} if layer.units else {}),
        "fan_out": min(layer.values, network.reach_of(scenario, layer)),  # values that each input reaches; as released, of a softmax all of them
        "temperature": per_layer(getattr(learner, "temperature", (1.0,)), layer.place),
        "rate": per_layer(learner.learning_rate, layer.place),
        "rate_end": per_layer(learner.learning_rate_end or learner.learning_rate, layer.place),
        "anneal": learner.anneal,
        **OPTIMIZERS[learner.optimizer.name].values(learner.optimizer, learner.EPSILON),
        **family.machine.values(site),
        **(RULES | CRITICS)[learner.name].values(learner, layer.place),
    }
    given = {"feedback_port": plan.links[plan.outgoing(node.index, FEEDBACK), SLOT]}
    for port in layer.kind.hears:
        if port.table:
            given[port.table] = np.array(network.brings(scenario, plan, node, port)).reshape(-1, 3)[:, : 3 if port.relation == "below" else 2]
    made = _made(Node, site, values, given)
    view = made.view
    view.unit0[:] = node.identity
    if fill := getattr(importlib.import_module(layer.kind.kernels), "fill", None):
        fill(view, site)
    made.begin()
    return made
