"""What a report is about: cases, each the runs that differ in nothing but their seed, of a study or of run directories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from asyncnet.loop.ledger import COLUMNS
from asyncnet.runs import columns, stored
from asyncnet.runs.opened import Opened
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.schema import Scenario, check
from asyncnet.studies import table
from asyncnet.studies.sweep import Swept

CASE = "case"  # the column that tells cases of run directories apart
CURVES = {  # the figure of a row of progress that stands for an outcome, and its name
    "return": ("rollout/ep_rew_mean", "mean return of the last 100 episodes"),
    "error": ("rollout/mean_squared_error", "mean squared error lately"),
    "reward": ("rollout/mean_reward", "mean reward lately"),
}


class Ran(NamedTuple):
    """A finished run: its seed, its scenario (None where that is not known), its summary, the ledger of each link, and (decisions, score) as it learned."""

    seed: int
    scenario: Scenario | None
    summary: Mapping[str, Any]
    ledger: Mapping[str, Mapping[str, Any]]
    curve: tuple[np.ndarray, np.ndarray]


class Case(NamedTuple):
    """Runs that differ in nothing but their seed: the values that tell this case from the others, in words, its runs, and how many more repeat one of them."""

    values: tuple[Any, ...]
    label: str
    runs: Sequence[Ran]
    repeated: int = 0

    def scores(self, outcome: str) -> list[float]:
        """The outcome of each run that has one."""
        return [run.summary[outcome] for run in self.runs if run.summary.get(outcome) is not None]

    def by_seed(self, outcome: str) -> dict[int, float]:
        """The same by seed."""
        return {run.seed: run.summary[outcome] for run in self.runs if run.summary.get(outcome) is not None}


def outcome_of(runs: Sequence[Opened]) -> str:
    """What runs are scored by: the first of table.OUTCOMES that all of them have but those that have none, for they were stopped before there was one."""
    had = [figures for run in runs if (figures := {figure for figure in table.OUTCOMES if run.summary.get(figure) is not None})]
    return next((figure for figure in table.OUTCOMES if had and all(figure in figures for figures in had)), table.OUTCOMES[-1])


def has_curve(outcome: str) -> bool:
    """Whether a run's progress tells of an outcome; what else is asked for (actions on time, say) is known at the end only."""
    return any(word in outcome for word in CURVES)


def curve_name(outcome: str) -> tuple[str, str]:
    """The figure of a row of progress that stands for an outcome, or for what is learned where none does, and its name in words."""
    return next(found for word, found in CURVES.items() if word in outcome or word == "reward")


def curve_of(outcome: str, rows: Iterable[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """(decisions, score) of a run's rows of progress."""
    key = curve_name(outcome)[0]
    known = [(row["decisions"], row[key]) for row in rows if row.get(key) is not None]
    return np.array([at for at, _ in known], dtype=float), np.array([score for _, score in known], dtype=float)


def labelled(names: Sequence[str], values: Sequence[Any], but: Sequence[str] = ()) -> str:
    """Values in a few words, without those of the columns in `but`."""
    plain = ("under", "variant", "scenario", "rule.name", "task.name", CASE)
    named = [(name, short, value) for name, short, value in zip(names, shortened(names), values, strict=True) if name not in but]
    return ", ".join(f"{value}" if name in plain else f"{short} {value}" for name, short, value in named)


def shortened(names: Sequence[str]) -> list[str]:
    """The end of each dotted key, as much of it as no other of these keys ends in."""
    ends = [[".".join(parts[at:]) for at in reversed(range(len(parts)))] for parts in (name.split(".") for name in names)]
    every = Counter(end for of_one in ends for end in of_one)
    return [next((end for end in of_one if every[end] == 1), of_one[-1]) for of_one in ends]


def of_study(swept: Swept, outcome: str) -> list[Case]:
    """The cases of a study that have finished runs, in its order."""
    out = []
    for values, rows in table.groups(swept.study, swept.rows).items():
        runs = [_cell(row["seed"], came, outcome) for row in rows if row.get(outcome) is not None and (came := swept.came(row["run"])) is not None]
        if runs:
            out.append(Case(values, labelled(swept.study.columns(), values) or swept.study.name, runs))
    return out


def _cell(seed: int, came: Mapping[str, Any], outcome: str) -> Ran:
    try:
        scenario = check(came["scenario"], "scenario") if came.get("scenario") else None
    except ScenarioError:  # a rule from outside that is not here: what needs the scenario is left out
        scenario = None
    books = came["summary"].get("ledger")
    return Ran(seed, scenario, came["summary"], books if _whole(books) else {}, curve_of(outcome, came["rows"]))


def of_runs(runs: Sequence[Opened], outcome: str) -> list[Case]:
    """The cases that run directories belong to, in the order of their first runs.

    Real clocks are another case than simulated time. A run that repeats another of its case to the bit is no second sample, and counts once.
    """
    found: dict[tuple[str, str], list[Opened]] = {}
    for run in runs:
        found.setdefault((run.scenario.replace({"seed": 0}).fingerprint(), _where(run)), []).append(run)
    names = _told_apart([several[0] for several in found.values()])
    made = []
    for name, every in zip(names, found.values(), strict=True):
        once: dict[Any, Opened] = {}
        for run in every:
            once.setdefault(run.summary["digest"] or run.path, run)  # without a digest it is not known to be another's
        several = [*once.values()]
        ran = [Ran(run.scenario.seed, run.scenario, run.summary, _ledger(run.path), _curve(run.path, outcome)) for run in several]
        made.append(Case((name,) if len(names) > 1 else (), name, ran, len(every) - len(several)))
    return made


def _curve(path: Path, outcome: str) -> tuple[np.ndarray, np.ndarray]:
    """The same as curve_of, from progress.csv; nothing where there is none: the run was stopped before its first row."""
    file, key = path / "progress.csv", curve_name(outcome)[0]
    found = columns.read(file, "decisions") if file.is_file() else {}
    if key not in found:
        return np.zeros(0), np.zeros(0)
    known = ~(np.isnan(found[key]) | np.isnan(found["decisions"]))  # a row may not have it
    return found["decisions"][known].astype(float), found[key][known].astype(float)


def _told_apart(runs: Sequence[Opened]) -> list[str]:
    """A name for each: its scenario, what was laid over it, and what was changed, as far as that tells them apart; and on what it ran, if that differs."""
    plain = [run.scenario.name for run in runs]
    said = [" + ".join((run.scenario.name, *run.scenario.under)) for run in runs]
    rules = [f"{words}, {run.scenario.rule.name}" for words, run in zip(said, runs, strict=True)]
    full = [f"{words}, {_changes(run)}" if _changes(run) else words for words, run in zip(said, runs, strict=True)]
    where = [_where(run) for run in runs]
    ends = [f", {words}" for words in where] if len(set(where)) > 1 else [""] * len(runs)
    for short in (plain, said, rules, full):
        names = [f"{name}{end}" for name, end in zip(short, ends, strict=True)]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({number})" for number, name in enumerate(names, 1)]


def _where(run: Opened) -> str:
    """The engine of a run and its time, in words."""
    told = stored.about(run.path)
    return f"{told.engine} in {'real' if stored.time_of(told.engine, told.how) == 'wall' else 'simulated'} time"


def _changes(run: Opened) -> str:
    changed = run.summary.get("changes")
    pairs = changed if isinstance(changed, dict) else {}
    words = zip(shortened(list(pairs)), pairs.values(), strict=True)
    return ", ".join(f"{key} {now[1] if isinstance(now, list) and len(now) == 2 else now}" for key, now in words)[:80]


def _ledger(path: Path) -> dict[str, dict[str, Any]]:
    """ledger.csv: what became of the messages of each link; nothing where there is none."""
    file = path / "ledger.csv"
    if not file.is_file():
        return {}
    found = columns.read(file, *COLUMNS, words="link")
    if broken := [key for key in COLUMNS if found[key].dtype != np.int64]:
        raise ScenarioError(str(file), broken[0], "is not a count in every line")
    counts = zip(*(found[key].tolist() for key in COLUMNS), strict=True)
    return {link: dict(zip(COLUMNS, row, strict=True)) for link, row in zip(found["link"].tolist(), counts, strict=True)}


def _whole(books: Any) -> bool:
    """Whether that is a ledger by link as summaries have it."""
    return isinstance(books, dict) and all(isinstance(row, dict) and {"sent", "lost"} <= row.keys() for row in books.values())
