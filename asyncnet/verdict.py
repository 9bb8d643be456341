"""What a run's record says of what was asked for: "fail" if something broke, "unknown" if it did not take place, else "pass".

One function a concern; each looks at the record alone and returns its reasons, a line each.
"""

from __future__ import annotations

import math

import numpy as np

from asyncnet import ledger
from asyncnet.record import Record
from asyncnet.scenario import Scenario


def judge(scenario: Scenario, record: Record) -> tuple[list[str], list[str]]:
    """(what broke, what did not take place)."""
    broken, absent = _ending(record)
    broken += _weights(record) + _score(record)
    (broken if record.stopped in ("finished", "interrupted") else absent).extend(_books(record))
    absent += [f"{name} {why}" for name, why in record.measured.get("off_clock", {}).items()]
    absent += _losses(scenario, record)
    return broken, absent


def _ending(record: Record) -> tuple[list[str], list[str]]:
    if record.stopped == "interrupted":
        return [], ["interrupted before its end"]
    return ([] if record.stopped == "finished" else [record.stopped]), []


def _weights(record: Record) -> list[str]:
    return [f"{name}: weights are not finite" for name, arrays in record.weights.items() if not all(np.isfinite(array).all() for array in arrays.values())]


def _score(record: Record) -> list[str]:
    wrong = [name for name, value in record.score.items() if isinstance(value, float) and not math.isfinite(value)]
    return [f"the score is not finite: {', '.join(wrong)}"] if wrong else []


def _books(record: Record) -> list[str]:
    left = int(np.abs(ledger.unexplained(record.ledger)).sum())
    return [f"the ledger leaves {left} unexplained"] if left else []


def _losses(scenario: Scenario, record: Record) -> list[str]:
    """Losses that were asked for and never struck."""
    out = []
    for channel, row in record.links.items():
        worst = max((condition.loss or 0.0 for condition in scenario.links.of(channel)), default=0.0)
        # With an expectation of 10 the chance of no loss at all is 1 in 20,000.
        if worst * row["sent"] >= 10 and not row["lost"] and not scenario.links.reliable(channel):
            out.append(f"loss on {channel} never struck in {row['sent']} messages")
    return out
