"""What a scenario comes to: nodes and clocks, links with all their conditions, archives; and, measured in a brief run, how long things take.

Of each learning node it is measured when it answers an observation, when it learns from a decision, and how many later observations it has answered by then.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from asyncnet.loop.loop import Loop
from asyncnet.loop.message import CHANNEL_NAMES
from asyncnet.loop.timekeeper import Virtual
from asyncnet.machines.hearing import LEARNED, SAMPLED
from asyncnet.nodes.node import Node
from asyncnet.nodes.world import ON_TIME
from asyncnet.scenario.faults import OfNodes, words
from asyncnet.scenario.schema import Scenario
from asyncnet.studies.study import Study, cells
from asyncnet.team import network
from asyncnet.team.draw import plan
from asyncnet.team.lateness import archives, clock_of
from asyncnet.team.network import Plan
from asyncnet.team.prospects import prospects
from asyncnet.team.targets import drawn, links_of

DECISIONS = 300  # that a brief run takes


def explained(scenario: Scenario, decisions: int = DECISIONS) -> dict[str, Any]:
    """Plain data: "layers", "links", "archives", of a brief run "world" and "times", and "warnings"; raises ScenarioError as a run would."""
    team = plan(scenario)
    watched = watch(scenario, decisions)
    return {
        "scenario": scenario.name,
        "under": list(scenario.under),
        "layers": [_layer(scenario, layer) for layer in team.layers],
        "links": _links(scenario, team),
        **({"faults": _faults(scenario, team)} if scenario.faults else {}),
        "archives": _archives(scenario, team),
        "world": watched.world(),
        "times": watched.times(),
        "warnings": [*_sums(scenario), *prospects(scenario, team), *watched.warnings()],
    }


def _layer(scenario: Scenario, layer: network.Layer) -> dict[str, Any]:
    row: dict[str, Any] = {"layer": layer.name, "nodes": len(layer.parts), "units": layer.columns}
    if layer.team == "world":
        world = scenario.task.world
        acts = f"{world.interval:g} ticks after an action has come" if world.waits else f"every {world.interval:g} ticks"
        return row | {"layer": "world", "acts": acts, "machine": "world", "rule": "", "credit": ""}
    key, clock = clock_of(scenario, layer.name)
    row["acts"] = clock_words(clock) + (f" ({key})" if key != "clocks.default" else "")
    learner = network.learner_of(scenario, layer) if layer.learns else None
    row["machine"] = layer.kind.machine.rpartition(".")[2]
    return row | {"rule": learner.name if learner else "", "credit": f"{learner.credit}, lambda {learner.lambda_:g}" if learner else ""}


def clock_words(clock: Any) -> str:
    if clock is None or clock.kind == "on-arrival":
        return "when a message comes"
    more = [f"{name} {getattr(clock, name):g}" for name in ("jitter", "drift") if getattr(clock, name, 0.0)]
    if clock.kind == "straggler":
        more.append(f"{clock.slow:g} times slower from {clock.start:g} to {clock.stop:g}")
    return f"{clock.kind}, every {clock.period:g}" + "".join(f", {what}" for what in more)


def _links(scenario: Scenario, team: Plan) -> list[dict[str, Any]]:
    """Links from layer to layer, how many numbers a message has, and all its conditions."""
    out: dict[tuple[str, str, str], dict[str, Any]] = {}
    for link, (channel, src, dst, *_) in enumerate(team.links.tolist()):
        ends = ("world" if node == 0 else team.layer_of(node).name for node in (src, dst))
        name, sender, hearer = key = (CHANNEL_NAMES[channel], *ends)
        row = out.setdefault(key, {"channel": name, "from": sender, "to": hearer, "links": 0, "numbers": 0, "conditions": conditions(scenario, name)})
        row["links"] += 1
        row["numbers"] = max(row["numbers"], network.payload_size(team, scenario.task.streams, link))
    return list(out.values())


def _faults(scenario: Scenario, team: Plan) -> list[dict[str, Any]]:
    """Each fault in words, and how many links it strikes; one of nodes also how many of these."""
    found = []
    for number, fault in enumerate(scenario.faults):
        nodes = {"nodes": int(drawn(scenario, team, number).sum())} if isinstance(fault, OfNodes) else {}
        found.append({"fault": words(fault), **nodes, "links": int(links_of(scenario, team, number).sum())})
    return found


def conditions(scenario: Scenario, channel: str) -> list[str]:
    """All conditions of a channel in words, each with the table that says it."""
    out = []
    for table in ("default", channel):
        for condition in getattr(scenario.links, table):
            if condition.delay is not None:
                numbers = condition.delay.model_dump(exclude={"kind"})
                words = [f"{value:g}" if name == "value" else f"{name} {value:g}" for name, value in numbers.items()]
                kind = "" if condition.delay.kind == "constant" else f"{condition.delay.kind} "
                out.append(f"delay {kind}{', '.join(words)} (links.{table})")
            if condition.loss:
                again = f"sent again after {scenario.links.retry:g}" if scenario.links.reliable(channel) else "for good"
                out.append(f"loss {condition.loss:.3g}, {again} (links.{table})")
            if condition.stale:
                out.append(f"held back until {condition.stale} later ones were sent (links.{table})")
    return out


def _archives(scenario: Scenario, team: Plan) -> dict[str, int]:
    made, out = archives(scenario, team), {}
    for layer in team.learning:
        learner = network.learner_of(scenario, layer)
        out[layer.name] = learner.archive or made[layer.name] if learner.credit == "stamped" else 1
    return out


def _sums(scenario: Scenario) -> list[str]:
    """Delays of a channel add to those of `links.default`."""
    out = []
    for channel in CHANNEL_NAMES.values():
        both = [[condition for condition in getattr(scenario.links, table) if condition.delay] for table in ("default", channel)]
        if all(both):
            parts = " + ".join(what.removeprefix("delay ").partition(" (")[0] for what in conditions(scenario, channel) if what.startswith("delay "))
            out.append(f"links.{channel}: its delay adds to that of links.default: {parts} ticks; --set links.default=[] leaves every channel only its own")
    return out


class Watched:
    """A brief run, and when its nodes did what."""

    def __init__(self, scenario: Scenario, decisions: int) -> None:
        length = {"decisions": decisions, "episodes": None}
        task = scenario.task.model_copy(update={key: value for key, value in length.items() if hasattr(scenario.task, key)})
        self.scenario = scenario.model_copy(update={"task": task})
        self.loop = Loop(self.scenario, Virtual())
        self.shown: dict[int, int] = {}  # stamp -> when it was shown, microseconds
        self.action: list[int] = []  # from an observation to its action
        self.sampled: dict[str, list[tuple[int, int]]] = {}  # node -> (stamp, when)
        self.learned: dict[str, list[tuple[int, int, int]]] = {}  # node -> (stamp, when, newest stamp that it held then)
        for number, node in self.loop.nodes.items():
            if number == 0:
                self._watch(node, self._world)
            elif hasattr(node.view, "pending_state"):
                self.sampled[node.name], self.learned[node.name] = [], []
                self._watch(node, self._learner)

    def _watch(self, node: Node, look: Any) -> None:
        hear, act = node.hear, node.act

        def heard(now: int, *message: Any) -> Any:
            before = look(node, None, now)
            said = hear(now, *message)
            look(node, before, now)
            return said

        def acted(now: int, seq: int = 0) -> Any:
            before = look(node, None, now)
            said = act(now, seq)
            look(node, before, now)
            return said

        node.hear, node.act = heard, acted  # type: ignore[method-assign]

    def _world(self, node: Node, before: Any, now: int) -> Any:
        stamp, heard = int(node.view.stamp[0]), int(node.view.heard_stamp[0])
        if before is not None:
            if stamp > before[0]:
                self.shown[stamp] = now
            if heard > before[1] and heard in self.shown:
                self.action.append(now - self.shown[heard])
        return stamp, heard

    def _learner(self, node: Node, before: Any, now: int) -> Any:
        view = node.view
        if before is None:
            return view.counts.copy(), view.pending_state.copy(), view.pending_stamp.copy()
        counts, state, stamps = before
        held = int(view.stamp[0])
        if view.counts[SAMPLED] > counts[SAMPLED]:
            self.sampled[node.name].append((held, now))
        if view.counts[LEARNED] > counts[LEARNED]:
            done = np.flatnonzero((view.pending_state == 2.0) & ((state != 2.0) | (stamps != view.pending_stamp)))
            self.learned[node.name] += [(int(stamp), now, held) for stamp in view.pending_stamp[done]]
        return None

    def world(self) -> dict[str, Any]:
        """When actions come, in ticks, and the share of decisions that had theirs."""
        counts, tick = self.loop.nodes[0].view.counts, self.scenario.tick
        done = int(self.loop.score.decisions)
        return {
            "decisions": done,
            "interval": self.scenario.task.world.interval,
            "on_time": float(counts[ON_TIME]) / max(1, done),
            "action_after": _spread([one / tick for one in self.action]),
        }

    def times(self) -> list[dict[str, Any]]:
        """For each layer, from an observation to its sample, to learning from it, and from there to the next sample, in ticks; and samples drawn in between."""
        out, tick = [], self.scenario.tick
        for layer in self.loop.plan.learning:
            names = [node.name for node in self.loop.plan.nodes if self.loop.plan.layers[node.layer] is layer and node.name in self.sampled]
            first = [(now - self.shown[stamp]) / tick for name in names for stamp, now in self.sampled[name] if stamp in self.shown]
            credit = [(now - self.shown[stamp]) / tick for name in names for stamp, now, _ in self.learned[name] if stamp in self.shown]
            between = [held - stamp for name in names for stamp, _, held in self.learned[name]]
            row = {"layer": layer.name, "samples_after": _spread(first), "learns_after": _spread(credit), "learned": len(credit)}
            out.append(row | {"between": [min(between), max(between)] if between else None, "spare": self._spare(names)})
        return out

    def _spare(self, names: Iterable[str]) -> float | None:
        """The least time, in ticks, from learning to the next sample of the same node."""
        found = []
        for name in names:
            at = np.array([now for _, now in self.sampled[name]])
            for _, now, _ in self.learned[name]:
                later = at[at > now]
                if later.size:
                    found.append(int(later[0]) - now)
        return min(found) / self.scenario.tick if found else None

    def warnings(self) -> list[str]:
        """What the brief run shows that cannot work, or cannot matter."""
        world, out, silent = self.world(), [], [row["layer"] for row in self.times() if not row["learned"]]
        if world["on_time"] < 0.95 and not self.scenario.task.world.waits and world["action_after"]:
            middle = world["action_after"][1]
            out.append(
                f"task.world.interval: only {world['on_time']:.0%} of the decisions had their action in time: it comes {middle:.1f} ticks after the "
                f"observation, and the world closes a decision every {world['interval']:g}"
            )
        for layer in silent:
            out.append(f"{layer} learned nothing in {world['decisions']} decisions")
        if self._regular():
            out.append(
                "clocks tick without jitter and delays are constant: a message counts at its receiver's next tick, so delays that end before the same tick, or "
                "that change nothing about what a node has answered by then, come to the same bits (--under jittery-clocks tells them apart)"
            )
        return out

    def _regular(self) -> bool:
        """Whether clocks tick without jitter, delays are constant, and the world does not wait."""
        clocks = [clock_of(self.scenario, layer.name)[1] for layer in self.loop.plan.learning]
        links = [condition for channel in CHANNEL_NAMES.values() for condition in self.scenario.links.of(channel)]
        ticking = all(clock is not None and clock.kind == "periodic" and not clock.jitter and not clock.drift for clock in clocks)
        steady = not self.scenario.faults and all(
            not condition.loss and not condition.stale and (condition.delay is None or condition.delay.kind == "constant") for condition in links
        )
        return ticking and steady and not self.scenario.task.world.waits


def watch(scenario: Scenario, decisions: int = DECISIONS) -> Watched:
    """A brief run of a scenario, watched."""
    watched = Watched(scenario, decisions)
    watched.loop.prepare()
    watched.loop.run()
    watched.loop.nodes[0].close()
    return watched


def _spread(values: list[float]) -> list[float] | None:
    """Least, median and most."""
    return [float(np.min(values)), float(np.median(values)), float(np.max(values))] if values else None


def points(study: Study, beside: Path | None = None, decisions: int = DECISIONS) -> list[list[Any]]:
    """The combinations of a study, those side by side that end brief runs in the same bits: no more points than that are measured."""
    found: dict[str, list[Any]] = {}
    for cell in cells(study.model_copy(update={"seeds": 1}), beside):
        ended = watch(cell.scenario, decisions).loop.digest() if cell.scenario is not None else cell.why
        found.setdefault(ended, []).append(", ".join(map(str, cell.labels.values())))
    return list(found.values())
