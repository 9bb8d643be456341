"""Table 1 of the RLDM paper (Chung & Barto 2022) by measurement: what of each rule is ticked or crossed, and by which runs.

OUT/properties.json      marks, figures and the runs that each rests on, as plain data
    runs/                the runs' own directories: `asyncnet show`, `asyncnet verify`
    cells/, table.csv, study.toml ...     a study like any other (sweep.py): what is there is not run again
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from asyncnet.rules import RULES
from asyncnet.runs import durable
from asyncnet.scenario.mistakes import ScenarioError, near
from asyncnet.scenario.reading import Layer
from asyncnet.studies import experiments, locality, marks
from asyncnet.studies.experiments import FREE, IN_STEP, Experiment
from asyncnet.studies.marks import Mark
from asyncnet.studies.statistics import Interval, interval
from asyncnet.studies.study import Study, checked
from asyncnet.studies.sweep import Shown, Swept, directory, run_study
from asyncnet.text import as_json, in_a_line

SEEDS = 5


class Run(NamedTuple):
    """A run that a mark rests on; its score is the mean reward of the last 10%, or the mean return of the last 100 episodes."""

    experiment: str
    seed: int
    score: float | None
    digest: str
    run_dir: str


class Row(NamedTuple):
    """What was found of a rule: the interval of its score in each experiment, its marks, the runs behind them by experiment, and what is to be said."""

    rule: str
    task: str
    scores: dict[str, Interval]
    marks: list[Mark]
    runs: dict[str, list[Run]]
    notes: list[str]

    def behind(self, mark: Mark) -> list[Run]:
        """The runs behind a mark."""
        return [run for name in mark.rests_on for run in self.runs.get(name, ())]


class Properties(NamedTuple):
    """The table: a row a rule, where it is kept, whether it was interrupted."""

    rows: list[Row]
    folder: Path
    interrupted: bool

    def data(self) -> list[dict[str, Any]]:
        """The table as plain data."""
        return [_plain(row) for row in self.rows]

    def failed(self) -> list[Run]:
        """The runs that raised: they have no directory."""
        return [run for row in self.rows for runs in row.runs.values() for run in runs if not run.run_dir]


def properties(
    rules: str | Iterable[str] = (),
    *,
    seeds: int = SEEDS,
    scenario: str = "",
    settings: Iterable[Layer] = (),
    out: str | Path = "properties",
    workers: int | None = None,
    memory: float | None = None,
    reporter: Shown | None = None,
) -> Properties:
    """Measure what is ticked and crossed of these rules (none named: of all that ship); what is under `out` already is not run again.

    `scenario` and `settings` say what a rule is tried on, if not what experiments.py has for it. Raises ScenarioError, before anything is run, for a rule that
    nobody knows, and for one that cannot be run in step.
    """
    names = [rules] if isinstance(rules, str) else list(dict.fromkeys(rules)) or sorted(RULES.shipped, key=list(RULES).index)
    for name in names:
        if RULES.find(name) is None:
            raise ScenarioError(name, "", f"no rule of that name; {near(name, RULES)}")
    layers, folder = list(settings), Path(out)
    planned = {name: experiments.experiments(name, scenario, layers) for name in names}
    refused = {name: {label: why for label, found in tried.items() if (why := _refusal(found))} for name, tried in planned.items()}
    swept = run_study(_study(planned, refused, seeds, folder.name), out=folder.parent, workers=workers, memory=memory, shown=reporter, directories=True)
    rows = []
    for name in names:
        if reporter is not None and not swept.interrupted:
            reporter.note(f"{name}: a brief run in the loop to read, and every node's inbox again, alone")
        rows.append(_row(name, planned[name], refused[name], swept))
    found = Properties(rows, folder, swept.interrupted)
    try:
        durable.replace(folder / "properties.json", (as_json(found.data(), indent=2) + "\n").encode())
    except OSError as error:
        raise ScenarioError(str(folder), "", f"nothing can be written there: {in_a_line(error)}") from None
    return found


def _refusal(experiment: Experiment) -> str:
    """Why an experiment cannot be run; "" if it can."""
    try:
        experiments.made(experiment)
    except ScenarioError as error:
        return f"{error.key}: {error.why}"
    return ""


def _study(planned: Mapping[str, Mapping[str, Experiment]], refused: Mapping[str, Mapping[str, str]], seeds: int, name: str) -> Study:
    variants = [
        {"name": f"{rule}: {label}", "scenario": found.scenario, "set": found.set}
        for rule, tried in planned.items()
        for label, found in tried.items()
        if label not in refused[rule]
    ]
    asked = "Which rules are local, need no symmetric feedback, learn on clocks of their own, online, from one broadcast scalar?"
    return checked({"name": name, "question": asked, "scenario": variants[0]["scenario"], "variants": variants, "seeds": seeds}, "properties")


def _row(rule: str, tried: Mapping[str, Experiment], refused: Mapping[str, str], swept: Swept) -> Row:
    runs: dict[str, list[Run]] = {label: [] for label in tried}
    for number, row in enumerate(swept.rows):
        name, _, label = str(row["variant"]).partition(": ")
        if name == rule and row["verdict"] != "not run":
            summary = swept.found.get(number, {}).get("summary", {})
            path = directory(swept.folder, summary) if summary else None
            score = row.get("last_mean_return")
            score = row.get("last_mean_reward") if score is None else score
            runs[label].append(Run(label, row["seed"], score, row["digest"], str(path or "")))
    scores = {label: {run.seed: run.score for run in found if run.score is not None} for label, found in runs.items()}
    where = IN_STEP if FREE in refused else FREE
    made = experiments.made(tried[where])
    complete = not swept.interrupted and scores[IN_STEP] and scores[experiments.NO_REWARD]
    heard = locality.heard(made) if complete else None
    found = marks.marks(rule, heard, scores, refused, where)
    notes = [f"{label}, seed {run.seed}: failed" for label, each in runs.items() for run in each if not run.run_dir]
    intervals = {label: interval(list(by_seed.values())) for label, by_seed in scores.items() if by_seed}
    return Row(rule, _task(made), intervals, found, runs, [*marks.explained(rule, found), *notes])


def _task(made: Any) -> str:
    hidden = "-".join(map(str, made.network.hidden))
    task = f"{made.task.k}-bit {made.task.name}" if made.task.name == "multiplexer" else made.task.name
    length = f"{made.task.decisions:,} decisions" if made.task.decisions else f"{made.task.episodes:,} episodes"
    return f"{task}, {f'hidden {hidden}' if hidden else 'no hidden units'}, {length}"


def _plain(row: Row) -> dict[str, Any]:
    return {
        "rule": row.rule,
        "task": row.task,
        "scores": {label: found._asdict() for label, found in row.scores.items()},
        "marks": marks.plain(row.marks),
        "runs": {label: [run._asdict() for run in found] for label, found in row.runs.items()},
        "notes": row.notes,
    }
