"""Cases held to one another: differences of runs that share a seed, probability of improvement, decisions until a score is reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from asyncnet.studies import statistics
from asyncnet.studies.cases import Case, has_curve, labelled
from asyncnet.studies.figures import LESS_IS_BETTER, better

STAY = 5  # rows of progress for which a score is held before it counts as reached: early ones are means of few decisions


class Difference(NamedTuple):
    """A case against the one that has the first value of a column and all others alike: outcome minus outcome, seed by seed; and P(a run of it is better)."""

    column: str
    others: str
    value: Any
    first: Any
    difference: statistics.Interval
    improvement: statistics.Interval


class Reached(NamedTuple):
    """When the runs of a case reached a score: how many did, and their median of decisions with its interval (beyond `within`: not in the run)."""

    label: str
    runs: int
    reached: int
    decisions: statistics.Interval
    within: float


def differences(cases: Sequence[Case], columns: Sequence[str], outcome: str) -> list[Difference]:
    """For each column what its values change against its first one, all others alike; where columns vary together only, against the first case."""
    out = [found for number in range(len(columns)) for found in _along(cases, columns, number, outcome)]
    if out or len(cases) < 2:
        return out
    name = ", ".join(columns)
    return [_difference(name, "", case.label, cases[0].label, case, cases[0], outcome) for case in cases[1:]]


def _along(cases: Sequence[Case], columns: Sequence[str], number: int, outcome: str) -> list[Difference]:
    first = cases[0].values[number]
    known = {case.values: case for case in cases}
    out = []
    for case in cases:
        held = known.get((*case.values[:number], first, *case.values[number + 1 :]))
        if held is None or held is case:
            continue
        others = labelled(columns, case.values, (columns[number],))
        out.append(_difference(columns[number], others, case.values[number], first, case, held, outcome))
    return out


def _difference(column: str, others: str, value: Any, first: Any, case: Case, held: Case, outcome: str) -> Difference:
    found = statistics.paired(case.by_seed(outcome), held.by_seed(outcome))
    return Difference(column, others, value, first, found, statistics.improvement(*better(outcome, case.scores(outcome), held.scores(outcome))))


def middle(cases: Sequence[Case], outcome: str) -> float | None:
    """A score half way from the first tenth of all runs to the end of the best case's; None where that is no way up, or no curve tells of the outcome."""
    if not has_curve(outcome):
        return None
    sign = -1.0 if outcome in LESS_IS_BETTER else 1.0
    ends = [sign * float(np.mean(case.scores(outcome))) for case in cases if case.scores(outcome)]
    begins = [sign * float(run.curve[1][: -(-run.curve[1].size // 10)].mean()) for case in cases for run in case.runs if run.curve[0].size > 1]
    if not ends or not begins or max(ends) <= np.mean(begins):
        return None
    return sign * 0.5 * (float(np.mean(begins)) + max(ends))


def reached(cases: Sequence[Case], outcome: str, threshold: float) -> list[Reached]:
    """For each case when its runs reached a score."""
    sign = -1.0 if outcome in LESS_IS_BETTER else 1.0
    out = []
    for case in cases:
        runs = [run.curve for run in case.runs if run.curve[0].size > 1]
        if not runs:
            continue
        at = [statistics.to_threshold(list(zip(where, sign * score, strict=True)), sign * threshold, STAY) for where, score in runs]
        within = max(where[-1] for where, _ in runs)
        found = statistics.interval([min(one, within + 1.0) for one in at], np.median)  # never: later than the end
        out.append(Reached(case.label, len(at), int(np.isfinite(at).sum()), found, within))
    return out
