"""Whether a run keeps to what its scenario says of its figures: a sentence for each bound that it breaks, or of which nothing is known."""

from __future__ import annotations

from asyncnet.loop import ledger
from asyncnet.runs.record import Record
from asyncnet.scenario.schema import Scenario


def kept(scenario: Scenario, record: Record) -> tuple[list[str], list[str]]:
    """(bounds that are broken, bounds that could not be held to anything), a sentence each; of a run that has not finished all are of the second kind."""
    broken, absent = [], []
    known = figures(record) if record.stopped == "finished" else {}
    bounds = [(name, asked, "at least", 1.0) for name, asked in scenario.checks.at_least.items()]
    bounds += [(name, asked, "at most", -1.0) for name, asked in scenario.checks.at_most.items()]
    for name, asked, words, sign in bounds:
        found = known.get(name)
        if found is None:
            absent.append(f"{name} is not known, {words} {asked:g} was asked for")
        elif not sign * found >= sign * asked:
            broken.append(f"{name} is {found:.4g}, {words} {asked:g} was asked for")
    return broken, absent


def figures(record: Record) -> dict[str, float | None]:
    """The figures that bounds may be given for; None: this run has none."""
    sent, lost = (int(record.ledger[column].sum()) for column in (ledger.SENT, ledger.LOST))
    rows = [row for row in record.nodes.values() if row.get("learned") is not None]
    gone = sum(row["evicted"] + row["late"] for row in rows)
    credits = gone + sum(row["learned"] for row in rows)
    return {**record.score, "lost": lost / sent if sent else None, "evicted": gone / credits if credits else None}
