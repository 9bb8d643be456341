"""What a run will need of memory, computed before anything is made, and how much a run may have.

    states      every node's fields, as its layout says them, and copies for crashes, four times over: a checkpoint is a copy, its parts as bytes, and these put
                together
    messages    what may be under way on the links, by the longest times of lateness.py
    the rest    Python's own for each node and link, and the rewards of all decisions

A run that needs more than SHARE of the machine's memory (of the container's, if that is less) is refused by the key that asks for most of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from asyncnet.kernels import layout
from asyncnet.loop import mishaps
from asyncnet.loop.message import CHANNEL_NAMES
from asyncnet.scenario.schema import Scenario, ScenarioError
from asyncnet.team import network
from asyncnet.team.build import family_of
from asyncnet.team.conditions import mishaps_of
from asyncnet.team.draw import plan
from asyncnet.team.lateness import Delays
from asyncnet.team.network import CHANNEL, SRC, Plan, dimensions, site_of

SHARE = 0.8  # of the machine's memory
ROOM = 0.25  # of what a run may have, for messages under way
COPIES = 4
A_NODE, A_LINK, AN_EVENT, A_DECISION = 6_000, 400, 200, 8  # bytes, about
GIB = 1 << 30
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def most() -> int:
    """Bytes that a run may have here unless told otherwise."""
    limits = [psutil.virtual_memory().total]
    for path in _LIMITS:
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):  # there is none, or it says "max"
            continue
    return int(SHARE * min(limits))


def estimate(scenario: Scenario, team: Plan) -> int:
    """Bytes that a run will need in one process, about."""
    streams = scenario.task.streams
    states = outputs = 0
    befalls = mishaps_of(scenario, team)
    for node in team.nodes:
        dims = dimensions(site_of(scenario, team, node))
        copies = 0 if node.index not in befalls else int((befalls[node.index][:, mishaps.KIND] == mishaps.CRASH).sum())  # one for each that it may suffer
        states += (1 + copies) * layout.end(family_of(scenario, team, node).places(dims))
        outputs += streams * (1 + network.values_of(team, node) + (dims["I"] * dims["M"] if team.layers[node.layer].learns else 3))
    decisions = scenario.task.decisions or 0
    return 8 * (COPIES * states + outputs) + under_way(scenario, team) + A_NODE * len(team.nodes) + A_LINK * len(team.links) + A_DECISION * decisions


def most_events(scenario: Scenario, team: Plan) -> int:
    """How many messages may be under way in one loop before it gives up: for a queue without end the run ends, and not the machine."""
    return int(ROOM * most()) // an_event(scenario, team)


def an_event(scenario: Scenario, team: Plan) -> int:
    """Bytes that a message under way takes at most."""
    return AN_EVENT + 12 * network.widest(team, scenario.task.streams)  # tables grow by halves


def under_way(scenario: Scenario, team: Plan) -> int:
    """Bytes of the messages that may be under way at once."""
    delays, size, events, whole = Delays(scenario, team), an_event(scenario, team), 0.0, math.inf
    if scenario.task.decisions and not delays.waits:
        whole = scenario.task.decisions * delays.period  # nothing is under way for longer than the run
    for channel, name in CHANNEL_NAMES.items():
        links = team.links[team.links[:, CHANNEL] == channel]
        senders: dict[int, int] = {}
        for src in links[:, SRC].tolist():
            senders[src] = senders.get(src, 0) + 1
        for src, count in senders.items():
            every = delays.says(delays.name_of(src)) if name == "activity" else delays.period
            events += count * (1.0 + min(whole, delays.travel(name, every).total()) / every)
    return int(events * size)


def share(limit: float | None = None, runs: int = 1) -> int:
    """Bytes that each of so many `runs` at once may have, of `limit` GiB (None: those of `most`)."""
    if limit is not None and not 0.0 < limit <= 1e9:
        raise ScenarioError("--memory", "", f"GiB, more than none; got {limit}")
    return int((most() if limit is None else limit * GIB) / runs)


def together(scenario: Scenario, limit: float | None, runs: int) -> int:
    """How many such runs, up to `runs`, have room at once; ScenarioError if not even one has."""
    try:
        check(scenario, limit, runs)
    except ScenarioError:
        return check(scenario, limit) // estimate(scenario, plan(scenario))
    return runs


def _words(amount: float) -> str:
    return f"{amount / GIB:,.1f} GiB" if amount >= 0.1 * GIB else f"{amount / (1 << 20):,.1f} MiB"


def check(scenario: Scenario, limit: float | None = None, runs: int = 1) -> int:
    """Bytes that a run may have, as `share` says; ScenarioError if it needs more."""
    allowed = share(limit, runs)
    team = plan(scenario)
    needed = estimate(scenario, team)
    if needed > allowed:
        why = f"the run would need {_words(needed)} of memory and may have {_words(allowed)}" + (f" of {runs} at once" if runs > 1 else "")
        raise ScenarioError(scenario.name, _key(scenario, needed), f"{why}; --memory allows more")
    return allowed


def _key(scenario: Scenario, needed: int) -> str:
    """The key without which a run would need least."""
    found = {"task.decisions": needed - A_DECISION * (scenario.task.decisions or 0)}
    for key, variant in _variants(scenario):
        try:
            found[key] = estimate(variant, plan(variant))
        except ScenarioError:
            continue
    return min(found, key=found.get)


def _variants(scenario: Scenario) -> Iterator[tuple[str, Scenario]]:
    """The scenario with one key at a time as small as it may be."""

    def less(table: str, **changes: Any) -> Scenario:
        return scenario.model_copy(update={table: getattr(scenario, table).model_copy(update=changes)})

    yield "task.streams", less("task", streams=1)
    yield "network.hidden", less("network", hidden=(1,) * len(scenario.network.hidden))
    yield "links", scenario.model_copy(update={"links": type(scenario.links)()})
    yield "faults", scenario.model_copy(update={"faults": ()})
    for table in ("rule", "critic"):
        learner = getattr(scenario, table)
        if learner is not None and learner.archive:
            yield f"{table}.archive", less(table, archive=0)
    if scenario.critic is not None:
        yield "critic.hidden", less("critic", hidden=(1,) * len(scenario.critic.hidden))
