"""Tables on standard output: how a run or a study ended, what a scenario comes to, which keys and names there are."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console
from rich.table import Table

from asyncnet.console.output import output, pairs, show, text
from asyncnet.console.summary import ended, number, said_better
from asyncnet.loop.message import CHANNELS


def show_summary(summary: dict[str, Any]) -> None:
    """The end of a run as a table on standard output."""
    console, shown = output(), ended(summary)
    width = min(max(len(name) for name, _ in shown), console.width // 2)
    for name, value in shown:
        line = text(f"{name:{width}}  {value}")
        console.print(line if line.cell_len <= console.width and len(name) <= width else pairs([(name, value)], width))
    if summary["run_dir"]:  # in one line, which a narrow window wraps itself: it can be copied whole
        console.print(text(f"{'run':{width}}  {summary['run_dir']}"), soft_wrap=True)


def show_replicas(summary: dict[str, Any]) -> None:
    """Replicas as a table on standard output: a line for each seed, then mean and standard error."""
    figures = [key for key in summary["mean"] if not said_better(key, summary["mean"])]
    head = [name.replace("_", " ") for name in ("seed", *figures, "digest", "verdict")]
    rows = [[str(run["seed"]), *(number(key, run[key]) for key in figures), run["digest"][:16], run["verdict"]] for run in summary["runs"]]
    for name in ("mean", "standard_error"):
        values = ("" if summary[name][key] is None else number(key, summary[name][key]) for key in figures)
        rows.append([name.replace("_", " "), *values, "", ""])
    show(output(), head, rows, right=head)


def show_findings(found: list[Any]) -> None:
    """What was found out about a machine, on standard output: a line each, and under it what to do."""
    console = output()
    for one in found:
        console.print(text(f"{one.verdict:5}  {one.what:24}  {one.found}"), soft_wrap=True)
        if one.advice:
            console.print(text(f"{'':5}  {'':24}  {one.advice}"), soft_wrap=True)


def show_study(study: Any, rows: list[dict[str, Any]], outcome: str) -> None:
    """A study as a table on standard output: of each combination the outcome's mean, interval and interquartile mean over seeds, and the verdicts."""
    from asyncnet.studies import statistics, table
    from asyncnet.studies.figures import name_of

    scored = ("runs", name_of(outcome), "95% interval", "IQM", "verdicts")
    shown = []
    for values, inside in table.groups(study, rows).items():
        scores = [row[outcome] for row in inside if row.get(outcome) is not None]
        mean, middle = statistics.interval(scores), statistics.interval(scores, statistics.iqm)
        verdicts: dict[str, int] = {}
        for row in inside:
            verdicts[row["verdict"]] = verdicts.get(row["verdict"], 0) + 1
        said = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
        figures = (f"{mean.value:.4g}", f"{mean.low:.4g} .. {mean.high:.4g}" if mean.n > 1 else "one run", f"{middle.value:.4g}") if mean.n else ("-", "-", "-")
        shown.append((*map(str, values), str(mean.n), *figures, said))
    show(output(), (*map(str, study.columns()), *scored), shown, right=scored)


def show_keys(keys: list[Any]) -> None:
    """Keys of a scenario on standard output, a line each."""
    show(output(), ("key", "of", "what", "default", "for"), keys)


def explained_text(found: dict[str, Any]) -> str:
    """What a scenario comes to, as text."""
    console = Console(file=io.StringIO(), width=160, force_jupyter=False)  # which would show it itself
    show_explained(found, console=console)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def show_explained(found: dict[str, Any], varied: str = "", console: Console | None = None) -> None:
    """What a scenario comes to, on standard output."""
    console, layers = console or output(), []
    times = {row["layer"]: row for row in found["times"]}
    for row in found["layers"]:
        time = times.get(row["layer"], {})
        between = time.get("between")
        meanwhile = (
            "" if not between else f"{between[0]} sample{'s' * (between[0] != 1)}" if between[0] == between[1] else f"{between[0]} to {between[1]} samples"
        )
        kept = str(found["archives"].get(row["layer"], ""))
        figures = (_ticks(time.get("samples_after")), _ticks(time.get("learns_after")), meanwhile)
        layers.append((row["layer"], f"{row['nodes']:,}", f"{row['units']:,}", row["acts"], row["machine"], row["rule"], row["credit"], kept, *figures))
    head = ("layer", "nodes", "units", "acts", "machine", "rule", "credit", "archive", "answers after", "learns after", "meanwhile")
    show(console, head, layers, right=("nodes", "units", "archive"))
    console.print()
    links = [
        (row["channel"], row["from"], row["to"], f"{row['links']:,}", f"{row['numbers']:,}", "; ".join(row["conditions"]) or "at once")
        for row in found["links"]
    ]
    show(console, ("channel", "from", "to", "links", "numbers", "conditions"), links, right=("links", "numbers"))
    for row in found.get("faults", []):
        counts = [f"{row[kind]:,} {kind[:-1]}{'s' * (row[kind] != 1)}" for kind in ("nodes", "links") if row.get(kind)]
        console.print(text(f"fault: {row['fault']}: {', '.join(counts)}"))
    world = found["world"]
    after = f"; an action comes {_ticks(world['action_after'])} after its observation" if world["action_after"] else ""
    console.print()
    console.print(text(f"in {world['decisions']:,} decisions: {world['on_time']:.1%} of the actions in time{after} (median, and the most, in ticks)"))
    for line in found["warnings"]:
        console.print(text(f"- {line}"))
    if "points" in found:
        points = " | ".join(", ".join(values) for values in found["points"])
        key, many = varied.partition("=")[0], len(found["points"])
        table = key.removeprefix("links.").partition(".")[0]
        why = "; what stands together ended in the same bits" if any(len(values) > 1 for values in found["points"]) else ""
        if why and key.startswith("links.") and table in CHANNELS and table not in {row["channel"] for row in found["links"]}:
            why += f": this team has no {table} links"
        elif why and any("without jitter" in line for line in found["warnings"]):
            why += ", for clocks without jitter round it to one tick (above)"
        console.print(text(f"{key}: {many} distinct point{'s' if many > 1 else ''} in {world['decisions']:,} decisions: {points}{why}"))


def _ticks(spread: list[float] | None) -> str:
    """Median and most of some times in ticks."""
    return "" if spread is None else f"{spread[1]:.1f} ({spread[2]:.1f})"


def show_lists(lists: dict[str, dict[str, str]], groups: dict[str, str]) -> None:
    """Names with one line each, by kind, on standard output; names that belong to a group stand under it."""
    console = output()
    for kind, names in lists.items():
        table = Table(show_header=False, box=None, pad_edge=False, title=kind, title_justify="left", title_style="bold")
        for _ in range(2):
            table.add_column(overflow="fold")
        group = ""
        for name in sorted(names, key=lambda name: groups.get(name, "")):
            if groups.get(name, "") != group:
                group = groups[name]
                table.add_row(text(f"  {group}"), "", style="italic")
            table.add_row(text(f"  {'  ' if group else ''}{name}"), text(names[name]))
        console.print(table)
