"""A study as one page: self-contained, opened from disk, readable in print, light and dark; and its figures as files for a paper.

report.html          question, answer, pictures, statistics, what made no difference, what was lost on links, verdicts, the study, versions, the command
figures/NAME.svg     and .pdf and .png, for one column or two
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from asyncnet.runs import durable
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.studies import figures, statistics, table
from asyncnet.studies.sweep import Swept, needs
from asyncnet.text import in_a_line, printable

MOST_ROWS = 400  # of the table in the page; all are in table.csv
LESS_IS_BETTER = ("mean_squared_error", "last_mean_squared_error", "missing", "action_delay")

STYLE = """
:root { color-scheme: light dark; --ink: #1d1d1b; --soft: #6b6a66; --page: #fdfdfb; --line: #d9d8d2; --tint: #f1f0ea; }
@media (prefers-color-scheme: dark) { :root { --ink: #e9e8e3; --soft: #a3a29b; --page: #191a1b; --line: #3a3b3c; --tint: #232425; } }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62rem; background: var(--page); color: var(--ink);
       font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .5rem; } h2 { font-size: 1.05rem; margin: 2.5rem 0 .5rem; }
.answer { font-size: 1.05rem; } .soft, figcaption { color: var(--soft); }
figure { margin: 1.25rem 0; } figure svg { max-width: 100%; height: auto; color: var(--ink); } figcaption { font-size: .85rem; }
.pictures { display: flex; flex-wrap: wrap; gap: 0 2rem; align-items: flex-start; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; } td.n, th.n { text-align: right; }
pre { background: var(--tint); padding: .75rem 1rem; overflow-x: auto; font-size: .8rem; } details { margin: .5rem 0; } summary { cursor: pointer; }
@media print { body { max-width: none; padding: 0; } figure, tr { break-inside: avoid; } details { display: block; } }
"""


def write(swept: Swept, outcome: str = "") -> Path:
    """Write report.html and figures/ into the study's folder; returns the page. Raises ScenarioError if nothing has finished."""
    needs()
    asked = table.outcome(swept.rows, outcome)
    finished = [row for row in swept.rows if row.get(asked) is not None]
    if not finished:
        raise ScenarioError(str(swept.folder), "", f"no run of it has a {asked.replace('_', ' ')} yet")
    page, shown = swept.folder / "report.html", []
    try:
        durable.make(swept.folder / "figures")
        for picture in figures.pictures(swept, asked):
            made = picture.make()
            for kind in figures.FORMATS:
                figures.save(made, swept.folder / "figures" / f"{picture.name}.{kind}")
            shown.append((picture, _inline((swept.folder / "figures" / f"{picture.name}.svg").read_text())))
        durable.replace(page, _page(swept, asked, finished, shown).encode())
    except OSError as error:
        raise ScenarioError(str(swept.folder), "", f"no report can be written there: {in_a_line(error)}") from None
    return page


def _inline(svg: str) -> str:
    """An SVG for the page: without prologue, in the page's own ink, with names of its own for what it refers to."""
    svg = svg[svg.index("<svg") :].replace(figures.INK, "currentColor")
    return svg.replace("<svg ", '<svg role="img" ', 1)


def answer(swept: Swept, outcome: str) -> str:
    """The answer in a sentence or two: which combination is best and worst, and how sure that is."""
    found = _statistics(swept, outcome)
    name = figures.name_of(outcome)
    if len(found) == 1:
        ((_, one),) = found.items()
        return f"{name}: {one['mean']} over {one['mean'].n} seeds."
    order = sorted(found, key=lambda values: found[values]["mean"].value, reverse=outcome not in LESS_IS_BETTER)
    best, second, worst = order[0], order[1], order[-1]
    pair = (found[best]["scores"], found[second]["scores"])
    better = statistics.improvement(*(pair if outcome not in LESS_IS_BETTER else pair[::-1]))
    text = f"Of {len(found)} combinations, {_named(swept, best)} has the best {name}, {found[best]['mean']}"
    text += f"; {_named(swept, worst)} the worst, {found[worst]['mean']}."
    return f"{text} A run of the best is better than one of the second ({_named(swept, second)}) with probability {better}."


def _named(swept: Swept, values: tuple[Any, ...]) -> str:
    return table.in_words(swept.study, [values])


def _statistics(swept: Swept, outcome: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Mean, interquartile mean and scores of each combination."""
    out = {}
    for values, inside in table.groups(swept.study, swept.rows).items():
        scores = [row[outcome] for row in inside if row.get(outcome) is not None]
        if scores:
            out[values] = {"mean": statistics.interval(scores), "iqm": statistics.interval(scores, statistics.iqm), "scores": scores, "rows": inside}
    return out


def _page(swept: Swept, outcome: str, finished: Sequence[Mapping[str, Any]], shown: Sequence[tuple[figures.Picture, str]]) -> str:
    study = swept.study
    title = study.question or f"{study.scenario}: {', '.join(study.columns()) or 'several seeds'}"
    parts = [f"<h1>{_text(title)}</h1>", f'<p class="answer">{_text(answer(swept, outcome))}</p>']
    if study.expect:
        parts.append(f"<p><b>Expected, before it was measured:</b> {_text(study.expect)}</p>")
    parts.append(f'<p class="soft">{len(finished):,} of {len(swept.rows):,} runs; intervals are 95% bootstrap intervals over seeds.</p><div class="pictures">')
    for picture, svg in shown:
        data = f'data-name="{_text(picture.name)}" data-series="{picture.series}" data-points="{picture.points}"'
        parts.append(f"<figure {data}><h2>{_text(picture.title)}</h2>{svg}<figcaption>{_text(picture.text)}</figcaption></figure>")
    parts += ["</div>", "<h2>Statistics</h2>", _statistics_table(swept, outcome)]
    if several := table.same(study, swept.rows):
        items = "".join(f"<li>{_text(table.in_words(study, each))}</li>" for each in several)
        parts.append(f"<h2>What made no difference</h2><p>These ended in the same bits, seed by seed:</p><ul>{items}</ul>")
    if failed := swept.failed():
        items = "".join(f"<li>run {row['run']}: {_text(row['reasons'])}</li>" for row in failed[:50])
        parts.append(f"<h2>Runs that failed</h2><ul>{items}</ul>")
    parts += [_verdicts(swept), _links(swept), _runs(swept)]
    parts += ["<h2>The study</h2>", f"<pre>{_text(study.toml(), lines=True)}</pre>", _versions(swept)]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{_text(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _statistics_table(swept: Swept, outcome: str) -> str:
    found = _statistics(swept, outcome)
    first = next(iter(found.values()))
    head = [*swept.study.columns(), "runs", f"mean {figures.name_of(outcome)}", "95% interval", "IQM", "95% interval", "better than the first"]
    rows = []
    for one in found.values():
        pair = (one["scores"], first["scores"])
        better = "" if one is first else str(statistics.improvement(*(pair if outcome not in LESS_IS_BETTER else pair[::-1])))
        mean, middle = one["mean"], one["iqm"]
        figures_ = [f"{mean.n}", f"{mean.value:.4g}", _range(mean), f"{middle.value:.4g}", _range(middle), better]
        rows.append([*(str(one["rows"][0][column]) for column in swept.study.columns()), *figures_])
    return _table(head, rows, len(swept.study.columns()))


def _range(found: statistics.Interval) -> str:
    return f"{found.low:.4g} .. {found.high:.4g}" if found.n > 1 else "one run"


def _verdicts(swept: Swept) -> str:
    counts = Counter(row["verdict"] for row in swept.rows)
    reasons = Counter(reason for row in swept.rows if row["verdict"] in ("fail", "unknown") for reason in row["reasons"].split("; "))
    items = "".join(f"<li>{count} times: {_text(reason)}</li>" for reason, count in reasons.most_common(20))
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return f"<h2>Verdicts</h2><p>{_text(said)}</p>" + (f"<ul>{items}</ul>" if items else "")


def _links(swept: Swept) -> str:
    """What became of messages, by combination and channel, added up over seeds."""
    rows = []
    for values, inside in table.groups(swept.study, swept.rows).items():
        added: dict[str, Counter[str]] = {}
        for row in inside:
            for channel, link in swept.found.get(row["run"], {}).get("summary", {}).get("links", {}).items():
                added.setdefault(channel, Counter()).update({key: link.get(key) or 0 for key in ("sent", "delivered", "lost", "in_flight")})
        for channel, counts in added.items():
            lost = f"{counts['lost'] / counts['sent']:.2%}" if counts["sent"] else ""
            rows.append([*map(str, values), channel, *(f"{counts[key]:,}" for key in ("sent", "delivered", "lost", "in_flight")), lost])
    body = _table([*swept.study.columns(), "channel", "sent", "delivered", "lost", "in flight", "share lost"], rows, len(swept.study.columns()) + 1)
    return f"<h2>Messages</h2><details><summary>What became of them, added up over seeds</summary>{body}</details>"


def _runs(swept: Swept) -> str:
    columns = [column for column in (swept.rows[0] if swept.rows else {}) if column not in ("reasons", "digest")]
    rows = [
        ["" if row[column] is None else f"{row[column]:.5g}" if isinstance(row[column], float) else str(row[column]) for column in columns]
        for row in swept.rows
    ]
    more = f"<p>The first {MOST_ROWS} of {len(rows):,}; all are in table.csv.</p>" if len(rows) > MOST_ROWS else ""
    return f"<h2>Runs</h2><details><summary>{len(rows):,} rows</summary>{more}{_table(columns, rows[:MOST_ROWS], 3)}</details>"


def _versions(swept: Swept) -> str:
    try:
        times = json.loads((swept.folder / "sweep.json").read_text())
        last = times[-1]
        lines = [f"{name} {version}" for name, version in last["versions"].items() if version]
        machine = ", ".join(str(value) for value in last["machine"].values() if value)
        command = " ".join(last["argv"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return ""
    return f"<h2>Made by</h2><pre>{_text(command)}</pre><p>{_text(', '.join(lines))}; commit {_text(str(last.get('commit')))}; {_text(machine)}</p>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> str:
    """A table whose first columns are words, and the others numbers."""
    kinds = ['class="n"' if number >= words else "" for number in range(len(head))]
    top = "".join(f"<th {kind}>{_text(name)}</th>" for name, kind in zip(head, kinds, strict=True))
    body = "".join("<tr>" + "".join(f"<td {kind}>{_text(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _text(text: str, *, lines: bool = False) -> str:
    return escape("\n".join(map(printable, text.splitlines())) if lines else printable(text))
