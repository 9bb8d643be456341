"""What a run's record says of what was asked for: "fail" if something broke, "unknown" if it did not take place, else "pass".

One function a concern; each looks at the record alone and returns its reasons, a line each.
"""

from __future__ import annotations

import math

import numpy as np

from asyncnet.loop import ledger
from asyncnet.runs.checks import kept
from asyncnet.runs.record import Record
from asyncnet.scenario.faults import words
from asyncnet.scenario.schema import Scenario

DIVERGED = 1e4  # a weight beyond: those that are learned stay far below a hundred
SUBSTANTIAL = 0.05  # the share of credits or decisions beyond which a run is not the one that was asked for


def assess(scenario: Scenario, record: Record) -> tuple[list[str], list[str]]:
    """(what broke, what did not take place)."""
    broken, absent = _ending(record)
    broken += _weights(record) + _score(record)
    (broken if record.stopped in ("finished", "interrupted") else absent).extend(_books(record))
    absent += [f"{name} {why}" for name, why in record.measured.get("off_clock", {}).items()]
    absent += _interruptions(record)
    absent += _losses(scenario, record)
    absent += _faults(scenario, record)
    absent += _actions(record)
    absent += _learning(scenario, record)
    out_of_bounds, unknown = kept(scenario, record)
    return broken + out_of_bounds, absent + unknown


def _ending(record: Record) -> tuple[list[str], list[str]]:
    if record.stopped == "interrupted":
        return [], ["interrupted before its end"]
    return ([] if record.stopped == "finished" else [record.stopped]), []


def _weights(record: Record) -> list[str]:
    out = []
    for name, arrays in record.weights.items():
        largest = max((float(np.abs(array).max(initial=0.0)) for array in arrays.values()), default=0.0)
        if not np.isfinite(largest):
            out.append(f"{name}: weights are not finite")
        elif largest > DIVERGED:
            out.append(f"{name}: weights have diverged, up to {largest:.2g}")
    return out


def _score(record: Record) -> list[str]:
    wrong = [name for name, value in record.score.items() if isinstance(value, float) and not math.isfinite(value)]
    return [f"the score is not finite: {', '.join(wrong)}"] if wrong else []


def _books(record: Record) -> list[str]:
    left = int(np.abs(ledger.unexplained(record.ledger)).sum())
    return [f"the ledger leaves {left} unexplained"] if left else []


def _interruptions(record: Record) -> list[str]:
    """Actors that stood still or kept silent, and what the wire did not carry: a scenario asks for none of it."""
    measured = record.measured
    out = []
    for name, pauses in measured.get("pauses", {}).items():
        at, longest = max(pauses, key=lambda pause: pause[1])
        out.append(f"{name} stood still for {longest:.1f} s at {at:.1f} s{f', and {len(pauses) - 1} times more' if len(pauses) > 1 else ''}")
    out += [f"{name} took {took:.1f} s to answer" for name, took in measured.get("slow_answers", {}).items() if name not in measured.get("pauses", {})]
    refused = int(record.ledger[ledger.REFUSED].sum()) if record.ledger.size else 0
    # Whoever should have read some was lost, and is back; and who counted some of these may have gone back itself, to when it had not.
    refused = max(0, refused - measured.get("unread", 0))
    for count, what in ((refused, "found no room on the wire"), (measured.get("malformed", 0), "were malformed")):
        if count:
            out.append(f"{count:,} messages {what}")
    return out


def _losses(scenario: Scenario, record: Record) -> list[str]:
    """Losses that were asked for and never struck."""
    out = []
    for channel, row in record.links.items():
        worst = max((condition.loss or 0.0 for condition in scenario.links.of(channel)), default=0.0)
        # With an expectation of 10 the chance of no loss at all is 1 in 20,000.
        if worst * row["sent"] >= 10 and not row["lost"] and not scenario.links.reliable(channel):
            out.append(f"loss on {channel} never struck in {row['sent']} messages")
    return out


def _faults(scenario: Scenario, record: Record) -> list[str]:
    """Faults that never struck, and were to: a share of 0 is kept to."""
    found = enumerate(zip(scenario.faults, record.struck, strict=False))  # of a run whose world is gone nothing is known
    return [f"faults.{number} ({words(fault)}) never struck" for number, (fault, count) in found if not count and getattr(fault, "share", 1.0)]


def _actions(record: Record) -> list[str]:
    """Decisions that were closed before any action had come."""
    missing = record.score["missing"]
    return [f"{missing:.0%} of the decisions had no action to use"] if missing > SUBSTANTIAL else []


def _learning(scenario: Scenario, record: Record) -> list[str]:
    """Nodes that never sampled or never learned, and those whose credits came too late for their archives (lateness.py) or their traces."""
    out = []
    lost = any(condition.loss and not scenario.links.reliable(channel) for channel in ("activity", "transition") for condition in scenario.links.of(channel))
    lost = lost or bool(scenario.faults)
    for name, row in record.nodes.items():
        learned, sampled = row.get("learned"), row.get("sampled")
        if learned is None:
            if not lost and row["missed"] > SUBSTANTIAL * record.score["decisions"]:
                out.append(f"{name} missed {row['missed']:,} of {record.score['decisions']:,} transitions")
        elif not sampled:
            out.append(f"{name} sampled nothing")
        elif not learned:
            out.append(f"{name} learned nothing from {sampled:,} samples" + (f": {row['evicted']:,} credits came too late" if row["evicted"] else ""))
        elif (gone := row["evicted"] + row["late"]) > SUBSTANTIAL * (learned + gone):
            out.append(f"{name} had no sample left for {gone:,} of {learned + gone:,} credits (rule.archive)")
        elif (gone := row["overtaken"]) > SUBSTANTIAL * (learned + gone):
            out.append(f"{name} could not use {gone:,} of {learned + gone:,} credits: later ones had come before them (rule.lambda)")
    return out
