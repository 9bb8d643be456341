"""The part of a page that is about run directories: what each asked, how it went, and how to make it again."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

from asyncnet.runs import stored
from asyncnet.runs.opened import Opened
from asyncnet.runs.stored import SHOWN
from asyncnet.studies.cases import Case
from asyncnet.studies.figures import name_of
from asyncnet.studies.page.html import code, folded, listed, paragraph, section, table, text
from asyncnet.studies.page.study import command, with_what


def head(runs: Sequence[Opened], cases: Sequence[Case], answer: str) -> str:
    """Questions, answer, and what there is."""
    questions = list(dict.fromkeys(run.scenario.question or run.scenario.name for run in runs))
    title = questions[0] if len(questions) == 1 else f"{len(runs)} runs of {len(questions)} scenarios"
    asked = listed(questions) if len(questions) > 1 else ""
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in Counter(run.summary["verdict"] for run in runs).items())
    of = "one case" if len(cases) == 1 else f"{len(cases)} cases"
    counted, repeated = sum(len(case.runs) for case in cases), sum(case.repeated for case in cases)
    again = f"; {repeated} of them the same as another to the bit, and not counted" if repeated else ""
    what = f"{len(runs)} runs of {of}: {verdicts}" if len(runs) > 1 else f"One run: {runs[0].summary['verdict']}"
    note = "intervals are 95% bootstrap intervals over seeds" if counted > len(cases) else "it says nothing about other seeds"
    return f"<h1>{text(title)}</h1>{asked}{paragraph(answer, 'answer')}{paragraph(f'{what}{again}; {note}.', 'soft')}"


def listing(runs: Sequence[Opened]) -> str:
    """Every run with its verdict and its figures."""
    figures = [figure for figure in SHOWN if any(run.summary.get(figure) is not None for run in runs)]
    rows = []
    for run in runs:
        summary, scenario = run.summary, run.scenario
        values = [summary.get(figure) for figure in figures]
        words = [scenario.name, scenario.rule.name, " + ".join(scenario.under), summary["verdict"], str(scenario.seed), f"{summary['decisions']:,}"]
        rows.append([*words, *("" if value is None else f"{value:,.5g}" for value in values), summary["digest"][:16]])
    head = ["scenario", "rule", "under", "verdict", "seed", "decisions", *map(name_of, figures), "digest"]
    reasons = [f"{run.path.name}: {reason}" for run in runs for reason in run.summary["reasons"]]
    return section("Runs", table(head, rows, 4, "runs"), listed(reasons))


def made_by(runs: Sequence[Opened]) -> str:
    """Of each run the command, the scenario with every default, versions and machine."""
    parts = []
    for run in runs:
        told = stored.about(run.path)
        path, kept = shlex.quote(str(run.path)), shlex.quote(str(run.path / "config.toml"))
        typed = [command(told.argv)] if told.argv else []
        lines = [*typed, "# from the scenario that it has kept, and with the bits compared:", f"asyncnet run {kept}{_how(told)}", f"asyncnet verify {path}"]
        changed = run.summary.get("changes")
        said = [_changed(key, both) for key, both in changed.items()] if isinstance(changed, dict) else []
        parts.append(f"<h3>{text(run.path.name)}</h3>")
        parts.append(code("\n".join(lines)) + with_what(told.versions, told.commit, told.machine, told.environment))
        if said:
            parts.append(paragraph("Changed against the scenario that ships:") + listed(said))
        parts.append(folded("The scenario, every default written out", code(run.scenario.toml())))
    return section("Made by", *parts)


def _changed(key: str, both: Any) -> str:
    """A setting as it ships, and as it was."""
    if not isinstance(both, list) or len(both) != 2:
        return key
    return f"{key} = {'not set' if both[1] is None else both[1]}; as shipped: {'not set' if both[0] is None else both[0]}"


def _how(told: stored.About) -> str:
    time = told.how.get("time")
    return f" --engine {told.engine}{f' --time {time}' if time else ''}" if told.engine != "embedded" or time not in (None, "virtual") else ""
