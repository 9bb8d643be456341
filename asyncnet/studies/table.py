"""The table of a study: a row a run, every varied setting a column, and nothing in it that another execution would change."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asyncnet.runs import durable
from asyncnet.scenario.mistakes import ScenarioError, near
from asyncnet.studies.study import Entry, Study

# Figures of a run's summary, in the order of columns; one that no run has is left out.
FIGURES = (
    "decisions",
    "mean_reward",
    "last_mean_reward",
    "mean_squared_error",
    "last_mean_squared_error",
    "episodes",
    "mean_return",
    "last_mean_return",
    "best_mean_return_50",
    "on_time",
    "missing",
    "final",
    "action_delay",
)
OUTCOMES = ("last_mean_return", "last_mean_squared_error", "last_mean_reward")  # what a study is about, if it does not say: the first that its runs have


def check(outcome: str) -> None:
    """Refuse, with a ScenarioError, a figure that is none; "" is whatever the task is scored by."""
    if outcome and outcome not in FIGURES:
        raise ScenarioError("--outcome", "", f"no figure {outcome}; {near(outcome, FIGURES)}")


def rows(study: Study, entries: Sequence[Entry], found: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each run: `found` holds what came of it, by its number; one that failed says why, and one that is not there was not run."""
    out, ended = [], {}
    for number, entry in enumerate(entries):
        known = found.get(number, {"failed": entry.why} if entry.why else {})
        summary = known.get("summary", {})
        row: dict[str, Any] = {"run": number, "scenario": entry.scenario, "rule": entry.rule, **entry.labels, "seed": entry.seed}
        row |= {figure: summary.get(figure) for figure in FIGURES}
        row["verdict"] = summary.get("verdict", "error" if known else "not run")
        row["reasons"] = "; ".join(summary.get("reasons", ())) or known.get("failed", "")
        row["digest"] = summary.get("digest", "")
        row["same_bits_as"] = ended.setdefault(row["digest"], number) if row["digest"] else None
        if row["same_bits_as"] == number:
            row["same_bits_as"] = None
        out.append(row)
    return [{column: row.get(column) for column in columns(study, out)} for row in out]


def columns(study: Study, made: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns of a table, in order."""
    said = [figure for figure in FIGURES if any(row.get(figure) is not None for row in made)]
    named = dict.fromkeys(["run", "scenario", "rule", *study.columns(), "seed", *said, "verdict", "reasons", "digest", "same_bits_as"])
    return list(named)


def outcome(made: Sequence[Mapping[str, Any]], asked: str = "") -> str:
    """The figure that a study is about."""
    return asked or next((figure for figure in OUTCOMES if any(row.get(figure) is not None for row in made)), OUTCOMES[-1])


def groups(study: Study, made: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    """The rows that differ in nothing but the seed, by the values of the study's columns."""
    out: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in made:
        out.setdefault(tuple(row[column] for column in study.columns()), []).append(row)
    return out


def same(study: Study, made: Sequence[Mapping[str, Any]]) -> list[list[tuple[Any, ...]]]:
    """Combinations whose runs ended in the same bits, seed by seed: what they differ in made no difference."""
    ends: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for values, inside in groups(study, made).items():
        digests = tuple((row["seed"], row["digest"]) for row in inside)
        if all(digest for _, digest in digests):
            ends.setdefault(digests, []).append(values)
    return [several for several in ends.values() if len(several) > 1]


def in_words(study: Study, several: Sequence[tuple[Any, ...]]) -> str:
    """Combinations in words: what they share once, what they differ in with all its values."""
    out = []
    for column, values in zip(study.columns(), zip(*several, strict=True), strict=True):
        out.append(f"{column} = {', '.join(dict.fromkeys(map(str, values)))}")
    return "; ".join(out) or study.name


def as_csv(made: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(made[0]) if made else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: "" if value is None else value for key, value in row.items()} for row in made)
    return text.getvalue().encode()


def frame(made: Sequence[Mapping[str, Any]]) -> Any:
    """The table as a pandas frame; numbers are numbers, and what a run does not have is missing."""
    import pandas

    table = pandas.DataFrame(list(made))
    for column in table.columns:
        if column in FIGURES:
            table[column] = table[column].astype("Int64" if column in ("decisions", "episodes") else "float64")
    if "same_bits_as" in table:
        table["same_bits_as"] = table["same_bits_as"].astype("Int64")
    return table


def write(folder: Path, made: Sequence[Mapping[str, Any]]) -> None:
    """table.csv and table.parquet."""
    durable.replace(folder / "table.csv", as_csv(made))
    parquet = io.BytesIO()
    table = frame(made)
    for column in table.columns:
        if table[column].dtype == object and len({type(value) for value in table[column] if value is not None}) > 1:
            table[column] = table[column].map(lambda value: None if value is None else str(value))  # a column has one type there
    table.to_parquet(parquet, index=False)
    durable.replace(folder / "table.parquet", parquet.getvalue())
