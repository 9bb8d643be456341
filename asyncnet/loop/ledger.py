"""What became of every message, link by link:

    sent + duplicated = delivered + lost + refused + expired + in flight

lost, duplicated: by a condition. refused: by a wire whose queue was full. expired: under way when a run on real clocks was cut, and gone when it was resumed,
or heard by nodes that went back to an earlier state when their process was lost; what such a cut lets be said twice is duplicated, too. In flight: on an
agenda, at a node until its next tick, held back by a stale link, or on the wire.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from asyncnet.loop import underway
from asyncnet.loop.message import CHANNEL_NAMES, CHANNELS
from asyncnet.team.network import CHANNEL, DST, SRC, Plan

if TYPE_CHECKING:
    from asyncnet.loop.loop import Loop

COLUMNS = ("sent", "duplicated", "delivered", "lost", "refused", "expired", "in_flight")
SENT, DUPLICATED, DELIVERED, LOST, REFUSED, EXPIRED, IN_FLIGHT = range(7)
MOST_ROWS = 256  # in a summary; longer ledgers are added up by layer there, and whole in ledger.csv


class Books:
    """What a loop counts of its messages, a number for each link: `sent`, and `came` in the order of `plan.arriving`.

    What a team's links cannot have costs nothing: `lost`, `doubled` and `refused` are empty unless opened, `expired` unless a state brings it.
    """

    def __init__(self, plan: Plan, *, loses: bool, doubles: bool) -> None:
        self._arriving, links = plan.arriving, len(plan.links)
        self.sent, self.came = np.zeros(links, dtype=np.int64), np.zeros(links, dtype=np.int64)
        self.lost = np.zeros(links if loses else 0, dtype=np.int64)
        self.doubled = np.zeros(links if doubles else 0, dtype=np.int64)
        self.refused, self._expired = np.zeros((2, 0), dtype=np.int64)

    def may_refuse(self) -> None:
        """Open the column of messages that found no room."""
        self.refused = np.zeros(len(self.sent), dtype=np.int64) if not self.refused.size else self.refused

    def mend(self, expired: np.ndarray, doubled: np.ndarray) -> None:
        """Add what went with a process that hosted nodes of this loop before, and what these say twice since then."""
        self._expired = self._expired + expired if self._expired.size else expired.copy()
        self.doubled = self.doubled + doubled if self.doubled.size else doubled.copy()

    def table(self) -> np.ndarray:
        """All of it as a ledger (7, links), nothing in flight."""
        table = np.zeros((len(COLUMNS), len(self.sent)), dtype=np.int64)
        table[SENT], table[DELIVERED, self._arriving] = self.sent, self.came
        for column, counted in ((LOST, self.lost), (REFUSED, self.refused), (DUPLICATED, self.doubled), (EXPIRED, self._expired)):
            table[column, : len(counted)] = counted
        return table

    def restore(self, table: np.ndarray) -> None:
        """Go on from a ledger."""
        self.sent[:], self.came[:] = table[SENT], table[DELIVERED, self._arriving]
        columns = (LOST, self.lost), (DUPLICATED, self.doubled), (REFUSED, self.refused), (EXPIRED, self._expired)
        self.lost, self.doubled, self.refused, self._expired = (table[column].copy() if table[column].any() else own for column, own in columns)


def account(loop: Loop) -> np.ndarray:
    """The ledger (7, links) of a loop, columns first: what was sent from here, and what was delivered here or waits here."""
    table = loop.books.table()
    rows = loop.under_way().rows
    np.add.at(table[IN_FLIGHT], loop.plan.arrived(*rows[rows[:, underway.SIZE] >= 0][:, [underway.DST, underway.KIND, underway.PORT]].T), 1)
    for link, messages in loop.held.items():
        table[IN_FLIGHT, link] += len(messages)
    return table


def unexplained(table: np.ndarray) -> np.ndarray:
    """What the ledger does not explain, for each link: zero."""
    return table[SENT] + table[DUPLICATED] - table[DELIVERED] - table[LOST] - table[REFUSED] - table[EXPIRED] - table[IN_FLIGHT]


def by_channel(plan: Plan, table: np.ndarray) -> dict[str, dict[str, int]]:
    """The ledger added up by channel."""
    channels = plan.links[:, CHANNEL]
    return {name: _row(table[:, channels == CHANNELS[name]].sum(axis=1)) for code, name in CHANNEL_NAMES.items() if (channels == code).any()}


def by_link(plan: Plan, table: np.ndarray) -> dict[str, dict[str, int]]:
    """The ledger of each link, `activity world -> actor.1`."""
    return {name: _row(column) for name, column in zip(names(plan), table.T, strict=True)}


def shown(plan: Plan, table: np.ndarray) -> dict[str, dict[str, int]]:
    """The same if it is not too long, else added up by the layers at both ends; nothing if nothing is known."""
    if not table.size:
        return {}
    if len(plan.links) <= MOST_ROWS:
        return by_link(plan, table)
    rows: dict[str, np.ndarray] = {}
    layer = [plan.layers[node.layer].name if node.layer else node.name for node in plan.nodes]
    for (channel, src, dst, *_), column in zip(plan.links.tolist(), table.T, strict=True):
        name = f"{CHANNEL_NAMES[channel]} {layer[src]} -> {layer[dst]}"
        rows[name] = rows[name] + column if name in rows else column
    return {name: _row(row) for name, row in rows.items()}


def names(plan: Plan) -> Iterable[str]:
    """The name of each link."""
    return (f"{CHANNEL_NAMES[c]} {plan.nodes[src].name} -> {plan.nodes[dst].name}" for c, src, dst in plan.links[:, [CHANNEL, SRC, DST]].tolist())


def _row(column: np.ndarray) -> dict[str, int]:
    return dict(zip(COLUMNS, column.tolist(), strict=True))
