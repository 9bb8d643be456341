"""How long messages were on their way and which a condition struck, drawn again after the run.

Each draw belongs to its message (loop/link.py), so what came of one need not be written down while the run goes: it follows from the scenario and from how
many messages the ledger says were sent. On a channel that says one thing to all, message n of a link has number n; where each hearer is told something of
its own, the numbers go round among the links. Where a node says both on one channel they do not follow, and nothing is said of those links; nor of links that
a fault strikes, for there it matters when a message was sent; nor where the ledger counted more or fewer messages lost for good than are drawn again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from asyncnet.kernels.kernel import entry
from asyncnet.loop.ledger import names
from asyncnet.loop.link import CONSTANT, KIND, LOSS, A, outcome
from asyncnet.loop.message import CHANNEL_NAMES
from asyncnet.scenario.schema import Scenario
from asyncnet.team import network
from asyncnet.team.conditions import LinkModel, always, models_of
from asyncnet.team.draw import plan
from asyncnet.team.network import CHANNEL, DST, OUT, SRC

MOST = 4_000_000  # messages of one run that are drawn again: the first ones of each link
LOST = -1


class Transit(NamedTuple):
    """Of the links of one channel that lead to one layer: delays (messages,) in ticks of those that were delivered or are under way, and which were struck.

    `drawn` messages of `carried` were looked at; of these `struck` lost their first try, and `lost` were lost for good.
    """

    delays: np.ndarray
    drawn: int
    carried: int
    struck: int
    lost: int


@entry
def outcomes(conditions, seed, src, dst, channel, first, step, retry, delays):
    """Write the delays of messages first, first + step, ... in microseconds, LOST where one was lost; returns how many lost their first try."""
    struck, faults = 0, np.zeros(0, dtype=np.int64)
    for n in range(delays.size):
        seq = first + n * step
        delays[n] = outcome(conditions, seed, src, dst, channel, seq, n + 1, 0, 0, retry, 0, faults)[0]
        if delays[n] == LOST or (retry >= 0.0 and outcome(conditions, seed, src, dst, channel, seq, n + 1, 0, 0, -1.0, 0, faults)[0] == LOST):
            struck += 1
    return struck


def transits(scenario: Scenario, ledger: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], Transit]:
    """By (channel, layer that hears): what came of the messages of a run with this ledger, link by link; without those of which it does not follow from it."""
    team = plan(scenario)
    named = list(names(team))
    if any(name not in ledger for name in named):
        return {}  # it was added up by layers, or nothing is known
    models = models_of(scenario, team)
    sent = [int(ledger[name]["sent"] or 0) for name in named]
    share = min(1.0, MOST / max(1, sum(sent)))
    parts: dict[tuple[str, str], list[tuple[np.ndarray, int, int]]] = {}
    unknown = set()
    for link, (name, count) in enumerate(zip(named, sent, strict=True)):
        channel, dst = int(team.links[link, CHANNEL]), int(team.links[link, DST])
        key = (CHANNEL_NAMES[channel], _layer(team, dst))
        model = models.at(link)
        carried = max(0, count - model.stale)  # a stale link holds the last ones back
        delays = np.empty(int(carried * share), dtype=np.int64)
        struck = _draw(scenario, team, link, model, delays)
        if struck is None or (delays.size == carried and int((delays == LOST).sum()) != int(ledger[name]["lost"] or 0)):
            unknown.add(key)
        else:
            parts.setdefault(key, []).append((delays, carried, struck))
    return {key: _together(found, scenario.tick) for key, found in parts.items() if key not in unknown}


def _together(parts: Sequence[tuple[np.ndarray, int, int]], tick: int) -> Transit:
    delays = np.concatenate([each for each, _, _ in parts])
    lost = int((delays == LOST).sum())
    return Transit(delays[delays != LOST] / tick, delays.size, sum(carried for _, carried, _ in parts), sum(struck for *_, struck in parts), lost)


def _draw(scenario: Scenario, team: network.Plan, link: int, model: LinkModel, delays: np.ndarray) -> int | None:
    """Draw the first messages of a link again; returns how many were struck, None if their numbers do not follow."""
    if model.faults:
        return None
    if model.fixed >= 0:
        delays[:] = model.fixed
        return 0
    channel, src, dst = (int(value) for value in team.links[link, [CHANNEL, SRC, DST]])
    links = team.outgoing(src, channel)
    if len(set(team.links[links, OUT].tolist())) > 1:
        return None
    apart = network.out_of(team, link).apart
    first, step = (link - links.start + 1, len(links)) if apart else (1, 1)
    ends = team.nodes[src].identity, team.nodes[dst].identity
    return int(outcomes(model.conditions, scenario.seed, *ends, channel, first, step, model.retry, delays))


def _layer(team: network.Plan, node: int) -> str:
    return "world" if node == 0 else team.layer_of(node).name


def asked_loss(scenario: Scenario, channel: str) -> float:
    """The share of a channel's messages of which the first try is to be lost: one loss of several is enough."""
    rows, _ = always(scenario.links, channel, scenario.tick)
    return float(1.0 - np.prod([1.0 - row[A] for row in rows if row[KIND] == LOSS]))


def random_delays(scenario: Scenario, channel: str) -> bool:
    """Whether messages of a channel take times that are drawn."""
    rows, _ = always(scenario.links, channel, scenario.tick)
    return any(row[KIND] not in (LOSS, CONSTANT) for row in rows)
