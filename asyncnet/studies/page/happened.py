"""Sections on what happened, case by case: conditions asked for and what they struck, the ledger, ticks against clocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from asyncnet.studies.cases import Case
from asyncnet.studies.happened import Firing, Rate, by_channel, layer_of
from asyncnet.studies.page.html import folded, listed, paragraph, section, table
from asyncnet.studies.transit import Transit

LONG = 12  # rows of a table that is folded
BOOKS = ("sent", "duplicated", "delivered", "lost", "refused", "expired", "in_flight")

Ways = Mapping[tuple[str, str], Transit]


def faults(cases: Sequence[Case], columns: Sequence[str], found: Sequence[Sequence[Firing]]) -> str:
    """Each condition that was asked for, and what it struck."""
    rows = []
    for case, several in zip(cases, found, strict=True):
        for one in several:
            rows.append([*map(str, case.values), one.where, one.asked, one.struck, _percent(one.share), _percent(one.expected)])
    body = table([*columns, "where", "condition", "what it did", "share", "asked"], rows, len(columns) + 3, "faults")
    unknown = [case.label for case, several in zip(cases, found, strict=True) if not several and case.runs[0].scenario is None]
    more = paragraph(f"Not known, for their rules are not here: {'; '.join(unknown)}.") if unknown else ""
    if not rows and not more:
        return section("Faults", paragraph("No condition was asked for: messages arrive at once and none is lost."))
    return section("Faults", folded(f"{len(rows)} conditions and what they did", body) if len(rows) > LONG else body, more)


def messages(cases: Sequence[Case], columns: Sequence[str], ways: Sequence[Ways]) -> str:
    """The ledger by channel, added up over seeds, with how long messages were on their way."""
    rows = []
    for case, known in zip(cases, ways, strict=True):
        for channel, counts in by_channel(case).items():
            delays = [transit.delays for (name, _), transit in known.items() if name == channel]
            every = np.concatenate(delays) if delays else np.zeros(0)
            spread = [f"{value:.3g}" for value in np.quantile(every, (0.5, 0.99))] if every.size else ["", ""]
            rows.append([*map(str, case.values), channel, *(f"{counts[key]:,}" for key in BOOKS), _percent(counts["lost"] / max(1, counts["sent"])), *spread])
    head = [*columns, "channel", *(name.replace("_", " ") for name in BOOKS), "share lost", "ticks, median", "99%"]
    body = table(head, rows, len(columns) + 1, "messages")
    note = paragraph("Sent and duplicated are what was delivered, lost, refused, expired and is in flight. Added up over seeds.", "soft")
    return section("Messages", note, folded(f"By channel, {len(rows)} rows", body) if len(rows) > LONG else body)


def clocks(cases: Sequence[Case], columns: Sequence[str], found: Sequence[Sequence[Rate]]) -> str:
    """Ticks of each layer against what its clock asks for."""
    rows = []
    for case, several in zip(cases, found, strict=True):
        for layer in dict.fromkeys(layer_of(rate.node) for rate in several):
            inside = [rate for rate in several if layer_of(rate.node) == layer]
            ticks, asked = sum(rate.ticks for rate in inside), sum(rate.asked or 0.0 for rate in inside)
            shares = [rate.share for rate in inside if rate.share is not None]
            spread = [_percent(ticks / asked), f"{min(shares):.1%} to {max(shares):.1%}"] if shares else ["", ""]
            rows.append([*map(str, case.values), layer, inside[0].clock, f"{len(inside)}", f"{ticks:,}", f"{asked:,.0f}" if shares else "", *spread])
    head = [*columns, "layer", "clock", "nodes", "ticks", "asked", "achieved", "slowest to fastest node"]
    body = table(head, rows, len(columns) + 2, "clocks")
    return section("Clocks", folded(f"Ticks of {len(rows)} layers", body) if len(rows) > LONG else body)


def nodes(case: Case, found: Sequence[Rate]) -> str:
    """What each node of a case counted, added up over its runs."""
    told = [run.summary.get("nodes", {}) for run in case.runs]
    keys = list(dict.fromkeys(key for each in told for row in each.values() for key, value in row.items() if isinstance(value, int)))
    real = any("late_max_us" in row for each in told for row in each.values())
    rows = []
    for rate in found:
        counts = [sum(int(each.get(rate.node, {}).get(key) or 0) for each in told) for key in keys]
        rows.append([rate.node, rate.clock, *(f"{count:,}" for count in counts), _percent(rate.share), *([_late(told, rate.node)] if real else [])])
    head = ["node", "clock", *(key.replace("_", " ") for key in keys), "of its ticks", *(["ticks late by us: p50, p99, most"] if real else [])]
    body = table(head, rows, 2, "nodes")
    return section("Nodes", folded(f"{len(rows)} nodes", body) if len(rows) > LONG else body)


def made_no_difference(several: Sequence[str]) -> str:
    """Combinations that ended in the same bits."""
    return section("What made no difference", paragraph("These ended in the same bits, seed by seed:"), listed(several)) if several else ""


def _late(told: Sequence[Mapping[str, Mapping[str, Any]]], node: str) -> str:
    """How late a node's ticks were on real clocks, in the run in which they were latest."""
    known = [[each[node].get(f"late_{what}_us") for what in ("p50", "p99", "max")] for each in told if node in each]
    return ", ".join(f"{max(values):,.0f}" for values in zip(*(row for row in known if None not in row), strict=True))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"
