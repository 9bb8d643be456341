"""Sections that hold cases to one another: statistics, paired differences, decisions until a score is reached; and the answer in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from asyncnet.studies import statistics
from asyncnet.studies.cases import Case
from asyncnet.studies.comparisons import STAY, Difference, Reached
from asyncnet.studies.figures import LESS_IS_BETTER, better, name_of
from asyncnet.studies.page.html import folded, paragraph, section, table

LONG = 24  # rows of a table that is folded


def answer(cases: Sequence[Case], outcome: str) -> str:
    """The answer in a sentence or two: which combination is best and worst, and how sure that is."""
    found = {case.label: (statistics.interval(case.scores(outcome)), case) for case in cases}
    name = name_of(outcome)
    if len(found) == 1:
        ((one, _),) = found.values()
        return f"{name}: {one}{f' over {one.n} seeds' if one.n > 1 else ''}."
    order = sorted(found, key=lambda label: found[label][0].value, reverse=outcome not in LESS_IS_BETTER)
    best, second, worst = order[0], order[1], order[-1]
    surely = statistics.improvement(*better(outcome, found[best][1].scores(outcome), found[second][1].scores(outcome)))
    text = f"Of {len(found)} combinations, {best} has the best {name}, {found[best][0]}; {worst} the worst, {found[worst][0]}."
    unsure = "; so it is not shown to be better" if surely.n > 1 and surely.low <= 0.5 else ""
    return f"{text} A run of the best is better than one of the second ({second}) with probability {surely}{unsure}."


def figures(cases: Sequence[Case], columns: Sequence[str], outcome: str) -> str:
    """Mean, interquartile mean and probability of improvement of each case."""
    rows = []
    for case in cases:
        scores = case.scores(outcome)
        mean, middle = statistics.interval(scores), statistics.interval(scores, statistics.iqm)
        pair = better(outcome, scores, cases[0].scores(outcome))
        above = "" if case is cases[0] else _probability(statistics.improvement(*pair))
        rows.append([*map(str, case.values), f"{mean.n}", f"{mean.value:.4g}", span(mean), f"{middle.value:.4g}", span(middle), above])
    head = [*columns, "runs", "mean", "95% interval", "IQM", "95% interval"]
    if len(cases) > 1:
        head += ["P(better than the first)"]
    body = table(head, [row[: len(head)] for row in rows], len(columns), "statistics")
    return section(f"Statistics: {name_of(outcome)}", folded(f"{len(rows)} combinations", body) if len(rows) > LONG else body)


def differences(found: Sequence[Difference], outcome: str) -> str:
    """What each value of a setting changes, seed by seed."""
    rows = []
    for one in found:
        apart = one.difference.n > 1 and (one.difference.low > 0.0 or one.difference.high < 0.0)
        difference = [f"{one.difference.n}", f"{one.difference.value:+.4g}", span(one.difference), "yes" if apart else ""]
        rows.append([one.column, str(one.value), str(one.first), one.others, *difference, _probability(one.improvement)])
    head = ["setting", "value", "against", "all else alike", "pairs", "difference", "95% interval", "excludes 0", "P(better)"]
    body = table(head, rows, 4, "differences")
    note = paragraph("Each run minus the run of the same seed that differs in this setting alone. Intervals are not corrected for how many there are.", "soft")
    return section(f"Paired differences: {name_of(outcome)}", note, folded(f"{len(rows)} differences", body) if len(rows) > LONG else body) if rows else ""


def thresholds(found: Sequence[Reached], threshold: float | None, outcome: str, *, asked: bool) -> str:
    """When runs reached a score."""
    if threshold is None or not found:
        return ""
    rows = [[one.label, f"{one.runs}", f"{one.reached}", *_decisions(one)] for one in found]
    body = table(["combination", "runs", "reached it", "median decisions", "95% interval"], rows, 1, "thresholds")
    how = "" if asked else ", half way from where runs began to where the best combination ended (--threshold says another)"
    note = f"When the learning curve of a run first had a score of {threshold:.4g}{how}, and kept it for {STAY} rows. One that never does is later."
    return section("Decisions to a threshold", paragraph(note, "soft"), folded(f"{len(rows)} combinations", body) if len(rows) > LONG else body)


def _decisions(one: Reached) -> list[str]:
    def said(value: float) -> str:
        return f"> {one.within:,.0f}" if value > one.within else f"{value:,.0f}"

    found = one.decisions
    return [said(found.value), f"{said(found.low)} .. {said(found.high)}" if found.n > 1 else "one run"]


def span(found: statistics.Interval) -> str:
    """An interval as a table has it."""
    return f"{found.low:.4g} .. {found.high:.4g}" if found.n > 1 else "one run"


def _probability(found: statistics.Interval) -> str:
    return f"{found.value:.3g} ({span(found)})"
