"""How a team is shown to whoever watches a run: node by node and link by link, or where these are many added up by layers."""

from __future__ import annotations

import numpy as np

from asyncnet.loop import clock, ledger
from asyncnet.loop.counts import ARRAYS, Counts
from asyncnet.loop.message import CHANNEL_NAMES
from asyncnet.runs.record import Record
from asyncnet.runs.traffic import MOST_LINKS, MOST_NODES, Row, ShownChannel, ShownLayer, ShownLinks, ShownNode, Team
from asyncnet.scenario.links import Links
from asyncnet.scenario.schema import Scenario
from asyncnet.team.build import clock_of
from asyncnet.team.draw import plan
from asyncnet.team.network import CHANNEL, DST, SRC


def mean_delay(links: Links, channel: str, tick: int) -> float:
    """Microseconds that a message takes on average by the conditions of its channel: delays add up; a stale link's depends on what comes later."""
    found = [condition.delay for condition in links.of(channel) if condition.delay]
    return tick * sum(each.value if each.kind == "constant" else 0.5 * (each.low + each.high) if each.kind == "uniform" else each.mean for each in found)


def share_lost(links: Links, channel: str) -> float:
    """The share of messages that is lost on the way at a time: one loss is enough."""
    kept = 1.0
    for condition in links.of(channel):
        kept *= 1.0 - (condition.loss or 0.0)
    return 1.0 - kept


class Picture:
    """How the team of a scenario is shown: `team`, and rows made of what was counted by its own nodes and links."""

    def __init__(self, scenario: Scenario) -> None:
        drawn = plan(scenario)
        layer = np.array([node.layer for node in drawn.nodes])
        whole = len(drawn.nodes) <= MOST_NODES
        ends = drawn.links[:, [CHANNEL, SRC, DST]].astype(np.int64)
        by_layer = not whole or len(ends) > MOST_LINKS
        if by_layer:
            ends[:, 1:] = layer[ends[:, 1:]]
        codes, count = sorted(CHANNEL_NAMES), 1 + int(ends[:, 1:].max(initial=0))
        keys, link = np.unique(((ends[:, 0] - codes[0]) * count + ends[:, 1]) * count + ends[:, 2], return_inverse=True)
        self._names = [node.name for node in drawn.nodes]
        self._node, self._link = (np.arange(len(layer)) if whole else layer), link
        firsts = range(len(drawn.nodes)) if whole else [int(np.argmax(layer == number)) for number in range(len(drawn.layers))]
        periods = [clock.mean_period(clock_of(scenario, drawn.nodes[i])) if i else float("inf") for i in firsts]
        self.team = Team(
            layers=[ShownLayer(name=each.name, team=each.team) for each in drawn.layers],
            nodes=[
                ShownNode(
                    name=drawn.nodes[i].name if whole else drawn.layers[drawn.nodes[i].layer].name,
                    layer=drawn.nodes[i].layer,
                    nodes=1 if whole else len(drawn.layers[drawn.nodes[i].layer].parts),
                    units=drawn.nodes[i].part[1] if whole else drawn.layers[drawn.nodes[i].layer].columns,
                    period=period if np.isfinite(period) else None,
                )
                for i, period in zip(firsts, periods, strict=True)
            ],
            channels=[
                ShownChannel(name=name, delay=mean_delay(scenario.links, name, scenario.tick), loss=share_lost(scenario.links, name))
                for name in (CHANNEL_NAMES[code] for code in codes)
            ],
            by_layer=by_layer,
            links=ShownLinks(channel=(keys // count**2).tolist(), src=(keys // count % count).tolist(), dst=(keys % count).tolist()),
        )

    def _by_node(self, column: np.ndarray) -> np.ndarray:
        return np.bincount(self._node, column, len(self.team.nodes)).astype(np.int64)

    def _by_link(self, column: np.ndarray) -> np.ndarray:
        return np.bincount(self._link, column, len(self.team.links.channel)).astype(np.int64)

    def shown(self, counts: Counts) -> Counts:
        """What was counted, added up as it is shown."""
        by = {name: self._by_node if name in ("ticks", "learned") else self._by_link for name in ARRAYS}
        return counts._replace(**{name: add(getattr(counts, name)) for name, add in by.items()})

    def last(self, record: Record, seconds: float) -> Row:
        """The row of a run's end, with the ledger itself."""
        counts = [record.nodes.get(name, {}) for name in self._names]
        columns = {name: self._by_link(column).tolist() for name, column in zip(ledger.COLUMNS, record.ledger, strict=True)}
        return Row(
            seconds=seconds,
            now=record.elapsed,
            decisions=record.score["decisions"],
            episodes=record.score["episodes"],
            **{name: self._by_node(np.array([each.get(name, 0) for each in counts])).tolist() for name in ("ticks", "learned")},
            wire={name: row["wire_mean_us"] for name, row in record.links.items() if row.get("wire_mean_us") is not None},
            **{name: column for name, column in columns.items() if name in ("sent", "delivered", "lost") or any(column)},
        )
