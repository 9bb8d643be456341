"""The part of a page that is about a study: question, answer, pictures, statistics, what happened, every run, what it was made with."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

import tomli_w

from asyncnet.runs import durable
from asyncnet.studies import table
from asyncnet.studies.cases import Case
from asyncnet.studies.page.html import code, folded, listed, paragraph, section, text
from asyncnet.studies.page.html import table as html_table
from asyncnet.studies.sweep import Swept

MOST_ROWS = 400  # of the table in the page; all are in table.csv
LARGEST = 16 << 20  # bytes of sweep.json


def head(swept: Swept, answer: str, finished: int) -> str:
    """Question, answer, what was expected, and what the reader has before him."""
    study = swept.study
    title = study.question or f"{study.scenario}: {', '.join(study.columns()) or 'several seeds'}"
    parts = [f"<h1>{text(title)}</h1>", paragraph(answer, "answer")]
    if study.expect:
        parts.append(f"<p><b>Expected, before it was measured:</b> {text(study.expect)}</p>")
    what = f"{finished:,} of {len(swept.rows):,} runs of {study.name}; intervals are 95% bootstrap intervals over seeds."
    return "".join([*parts, paragraph(what, "soft")])


def same(swept: Swept) -> list[str]:
    """Combinations that ended in the same bits, in words."""
    return [table.in_words(swept.study, each) for each in table.same(swept.study, swept.rows)]


def verdicts(swept: Swept) -> str:
    """Verdicts with their reasons, and the runs that failed."""
    counts = Counter(row["verdict"] for row in swept.rows)
    reasons = Counter(reason for row in swept.rows if row["verdict"] in ("fail", "unknown") for reason in row["reasons"].split("; "))
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    out = section("Verdicts", paragraph(said), listed(f"{count} times: {reason}" for reason, count in reasons.most_common(20)))
    failed = swept.failed()
    return out + section("Runs that failed", listed(f"run {row['run']}: {row['reasons']}" for row in failed[:50])) if failed else out


def runs(swept: Swept) -> str:
    """The study's table."""
    columns = [column for column in (swept.rows[0] if swept.rows else {}) if column != "reasons"]
    rows = [[_cell(column, row[column]) for column in columns] for row in swept.rows]
    more = paragraph(f"The first {MOST_ROWS} of {len(rows):,}; all are in table.csv.") if len(rows) > MOST_ROWS else ""
    body = html_table([column.replace("_", " ") for column in columns], rows[:MOST_ROWS], 3 + len(swept.study.columns()), "runs")
    return section("Runs", f'<details class="long"><summary>{len(rows):,} rows</summary>{more}{body}</details>')


def _cell(column: str, value: Any) -> str:
    if column == "digest":
        return str(value)[:16]
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


def made_by(swept: Swept, cases: Sequence[Case]) -> str:
    """The study, a scenario of it with every default, versions, machine, and the command that makes it again."""
    parts = [folded("The study (study.toml)", code(swept.study.toml()))]
    scenario = next((run.scenario for case in cases for run in case.runs if run.scenario is not None), None)
    if scenario is not None:
        varied = f"; {', '.join(swept.study.columns())} and the seed differ from run to run" if swept.study.columns() else "; the seed differs from run to run"
        parts.append(folded(f"The scenario of its first run, every default written out{varied}", code(tomli_w.dumps(scenario.data()))))
    return section("Made by", _last_time(swept), *parts)


def _last_time(swept: Swept) -> str:
    try:
        last = json.loads(durable.read(swept.folder / "sweep.json", LARGEST))[-1]
        return code(command(last["argv"])) + with_what(last["versions"], last.get("commit"), last["machine"], last.get("environment", {}))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""


def command(argv: Sequence[Any]) -> str:
    """A command line as it is typed."""
    words = [str(word) for word in argv]
    return shlex.join(["python", "-m", "asyncnet", *words[1:]] if words[:1] == ["__main__.py"] else words)


def with_what(versions: Any, commit: Any, machine: Any, environment: Any) -> str:
    """Versions, commit and machine in a line."""
    known = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    on = ", ".join(f"{value} cores" if name == "cores" else str(value) for name, value in machine.items() if value)
    variables = ", ".join(f"{name}={value}" for name, value in environment.items())
    return paragraph("; ".join(filter(None, (known, f"commit {commit}" if commit else "", on, variables))))
