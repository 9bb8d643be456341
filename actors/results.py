"""What a run on Ray leaves: one record, made of what its hosts hand over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from asyncnet.loop import ledger
from asyncnet.loop.gauge import Gauge
from asyncnet.loop.loop import digest
from asyncnet.runs.metrics import Score
from asyncnet.runs.record import Record
from asyncnet.team.network import Plan

MOST_WIRES = 64  # actors whose wires are told one by one
BEHIND = 0.9  # a node with a smaller share of its ticks could not keep its clock


def remains(stopped: str, told: dict[str, Any], seconds: float) -> Record:
    """What is left of a run whose world is gone: the score as it was told last, and of its nodes nothing."""
    score = told.get("score") or Score(None, None).summary()
    return Record(
        stopped=stopped,
        score=score | {key: told[key] for key in ("decisions", "episodes") if key in told},
        returns=[],
        digest="",
        seconds=seconds,
        weights={},
        nodes={},
        links={},
        ledger=np.zeros((len(ledger.COLUMNS), 0), dtype=np.int64),
        fields={},
    )


def total(books: Iterable[bytes]) -> np.ndarray:
    """The ledger of a run: the sum of those of its loops."""
    return sum(np.frombuffer(one, dtype=np.int64).reshape(len(ledger.COLUMNS), -1) for one in books)


def whole(left: Record, plan: Plan, handed: list[dict[str, Any]], tick: int | None, measured: dict[str, Any], lost: Mapping[str, int]) -> Record:
    """`left`, with all that the hosts handed over; `tick` in microseconds, None in simulated time. It has a digest if every node is there and nobody failed.

    `lost` are the microseconds, by node, of which nothing is left because it has gone back to an earlier state.
    """
    nodes = {name: row for result in handed for name, row in result["nodes"].items()}
    world = next((result for result in handed if result["score"]), None)
    elapsed = world["elapsed"] if world else max((result["elapsed"] for result in handed), default=0)
    measured = _measured(plan, handed, nodes, elapsed, tick, lost) | measured
    if not handed:
        return replace(left, measured=measured)
    table = total(result["ledger"] for result in handed)
    states = {i: np.frombuffer(state, dtype="<f8") for result in handed for i, state in result["states"].items()}
    return replace(
        left,
        score=world["score"] if world else left.score,
        seconds=world["seconds"] if world and plan.nodes[0].name not in lost else left.seconds,  # a world that has come back knows those of its last life
        returns=world["returns"] if world else [],
        lengths=world["lengths"] if world else [],
        ends=world["ends"] if world else [],
        rewards=[tuple(row) for row in world["rewards"]] if world else [],
        digest=digest(states) if len(states) == len(plan.nodes) and "failures" not in measured else "",
        weights={
            name: {key: np.frombuffer(data, dtype="<f8").reshape(shape).copy() for key, (shape, data) in arrays.items()}
            for result in handed
            for name, arrays in result["weights"].items()
        },
        nodes=nodes,
        links=_links(plan, table, handed),
        ledger=table,
        struck=np.sum([result["struck"] for result in handed], axis=0, dtype=np.int64).tolist(),
        fields={name: digests for result in handed for name, digests in result["fields"].items()},
        measured=measured,
        elapsed=elapsed,
    )


def _measured(
    plan: Plan, handed: list[dict[str, Any]], nodes: dict[str, dict[str, Any]], elapsed: int, tick: int | None, lost: Mapping[str, int]
) -> dict[str, Any]:
    """What only a wire and real clocks have: rates of ticks, who could not keep its clock, who stood still, frames that did not get through."""
    off = {}
    for name, row in nodes.items():
        if tick is not None and np.isfinite(row["period"]):
            gone = lost.get(name, 0)
            row["tick_rate"] = row["ticks"] * row["period"] * tick / max(1, elapsed - gone)  # 1: as declared
            if "missed" in row:  # something befalls it: what it missed, or was slow for, is not the machine's doing
                skipped = max(0, row["skipped"] - round(gone / (row["period"] * tick)))
                row["tick_rate"] = 1.0 - skipped / max(1, row["ticks"] + row["missed"] + skipped)
            if elapsed > 100 * row["period"] * tick and row["tick_rate"] < BEHIND:
                off[name] = f"could not keep its clock: {row['tick_rate']:.0%} of its ticks"
        else:
            del row["period"]
    measured = {name: sum(result[name] for result in handed) for name in ("malformed", "outlived")}
    measured |= {"off_clock": off, "elapsed_s": elapsed / 1e6}
    if tick is not None:
        named = {", ".join(result["nodes"]) or plan.nodes[0].name: result for result in handed}
        measured["pauses"] = {name: result["pauses"] for name, result in named.items() if result["pauses"]}
        if len(named) <= MOST_WIRES:
            measured["wire_us"] = {name: _spreads(result["measured"]) for name, result in named.items()}
    return measured


def _spreads(measured: dict[str, Any]) -> dict[str, list[tuple[float, int]]]:
    """How long messages took to an actor, by channel: (microseconds, messages) for each bin of its gauge that is not empty."""
    return {channel: spread for channel, (bins, _) in measured.items() if (spread := Gauge.spread(bins))}


def _links(team: Plan, table: np.ndarray, handed: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The ledger added up by channel, with what the wire really took beside it."""
    out: dict[str, dict[str, Any]] = ledger.by_channel(team, table)
    for channel, row in out.items():
        gauge = Gauge()
        for result in handed:
            gauge.merge(*result["measured"][channel])
        if gauge.count:
            row |= {"wire_mean_us": gauge.mean, "wire_p50_us": gauge.quantile(0.5), "wire_p99_us": gauge.quantile(0.99)}
    return out
