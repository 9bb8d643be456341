"""Search for a setting: tuned on some seeds, reported on others, beside the scenario as it is.

Trials are drawn by Optuna's TPE in batches of a fixed size: all trials of a batch are asked before any is told, and they are told in order. So what is drawn
depends on what is asked and on what came of it, not on how many processes there are or when they end; and since every run is kept under its identity as
those of a sweep are, a search that was ended and is asked again draws the same trials, finds what is there, and runs what is not.

sweeps/NAME/search.csv           a row a trial: what was drawn, what came of it on each of the seeds that it is tuned on
            table.csv            a row a run of the report: the scenario as it is and as tuned, on the seeds that it is reported on
            study.toml           what was asked, and what was found (the variants); the rest as of any study
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from asyncnet.runs import durable
from asyncnet.scenario.mistakes import ScenarioError, near
from asyncnet.studies import space, table
from asyncnet.studies.progress import Progress, Shown, length
from asyncnet.studies.sampler import Sampler, quiet
from asyncnet.studies.space import Search
from asyncnet.studies.study import Cell, Study, Variant, cells, each
from asyncnet.studies.study import shown as value_shown
from asyncnet.studies.sweep import ENGINES, Runner, Swept, held, needs, no_room, write_asked

NEEDS = ("optuna",)
UNTUNED, TUNED = "untuned", "tuned"


class Trial(NamedTuple):
    """One setting that was tried: `scores` by seed, in the order of the search's; `score` is their mean, None where it is not complete, and `why` says why."""

    number: int
    values: dict[str, Any]
    set: dict[str, Any]
    scores: tuple[float | None, ...]
    score: float | None
    state: Literal["complete", "failed", "not run"]
    why: str


class Searched(Swept):
    """A search: the runs it is reported by, as of a study with two variants, and all its trials; `best` is None where none has come to an end."""

    def __init__(
        self, study: Study, entries: Sequence[Any], found: Mapping[int, dict[str, Any]], folder: Path, *, interrupted: bool, plan: _Plan, trials: list[Trial]
    ) -> None:
        super().__init__(study, entries, found, folder, interrupted=interrupted)
        self.trials, self.best, self._plan = trials, _best(plan.search, trials), plan

    @property
    def trial_rows(self) -> list[dict[str, Any]]:
        """The rows of search.csv."""
        return rows(self._plan.search, self.trials, self.best)

    @property
    def words(self) -> str:
        """What was found, and on which seeds."""
        complete = sum(trial.score is not None for trial in self.trials)
        came = f"{complete} of {len(self.trials)} trials complete; {self._plan.words}"
        if self.best is None:
            return f"nothing was found: {came}"
        setting = ", ".join(f"{key} = {value_shown(value)}" for key, value in self.best.set.items())
        return f"tuned (trial {self.best.number}): {setting}; {came}"


def run_search(
    study: Study,
    *,
    out: str | Path = "sweeps",
    engine: Literal["local", "ray"] = "local",
    workers: int | None = None,
    address: str | None = None,
    memory: float | None = None,
    beside: Path | None = None,
    shown: Shown | None = None,
) -> Searched:
    """Run what is not there yet of a study's search, then of its report; an interrupt keeps what is finished. Options and errors as of sweep.run_study."""
    needs()
    needs(NEEDS, "search")
    importlib.import_module(ENGINES[engine]).check(address)
    plan = _Plan(study, beside)
    search, folder = plan.search, Path(out) / study.name
    with held(folder), Runner(folder, engine, workers, address, memory) as runner:
        write_asked(folder, study, [])
        report = plan.report(None)
        runs = search.trials * len(search.seeds) + 2 * len(report)
        work = search.trials * len(search.seeds) * length(plan.tuning.scenario) + 2 * sum(length(cell.scenario) for cell in report)
        progress = Progress(shown, runs, work)
        progress.note(f"{search.trials} trials of {study.name}; {plan.words}; in {folder}")
        trials, interrupted = _tuned(plan, runner, progress, folder)
        best = _best(search, trials)
        found: dict[int, dict[str, Any]] = {}
        asked, entries, made = study, [], []
        if not interrupted:
            asked, made = plan.reported(best), plan.report(best)
            entries = [cell.entry() for cell in made]
            write_asked(folder, asked, entries, again=True)
            if best is None:
                progress.passed(len(report), sum(length(cell.scenario) for cell in report))
            found, interrupted = runner.run(made, entries, progress)
        searched = Searched(asked, entries, found, folder, interrupted=interrupted, plan=plan, trials=trials)
        with no_room(folder):
            durable.replace(folder / "search.csv", table.as_csv(rows(search, trials, best)))
            if entries:
                table.write(folder, searched.rows)
    return searched


class _Plan:
    """A search that makes sense: each end of each range and each value of each list is one that its scenario may have."""

    def __init__(self, study: Study, beside: Path | None) -> None:
        if study.search is None:
            raise ScenarioError(study.name, "search", "missing: a search needs the table of what is searched for (docs/studies.md)")
        if varied := [key for key in ("vary", "variants", "factors") if getattr(study, key)]:
            raise ScenarioError(study.name, varied[0], "a study that searches varies nothing else; it varies search.space")
        self.study, self.search, self._beside = study, study.search, beside
        if self.search.outcome not in table.FIGURES:
            raise ScenarioError(study.name, "search.outcome", f"no figure {self.search.outcome}; {near(self.search.outcome, table.FIGURES)}")
        as_it_is = cells(study.model_copy(update={"search": None}), beside)
        self.seeds = tuple(cell.seed for cell in as_it_is)
        space.check(self.search, study.name, self.seeds)
        self.data = as_it_is[0].scenario.data()
        self._tuned_on = study.model_copy(update={"search": None, "seeds": self.search.seeds, "set": {**study.set, **self.search.set}})
        self.tuning = cells(self._tuned_on, beside)[0]
        for key, values in sorted(self.search.space.items()):
            for one in values if isinstance(values, tuple) else (space.value(values, values.low), space.value(values, values.high)):
                self._fits(key, one)

    def _fits(self, key: str, one: Any) -> None:
        (cell, *_) = self.cells({key: one}, 0)
        if cell.scenario is None and cell.key not in self.search.space.keys() - {key}:  # of those some other value may fit this one
            raise ScenarioError(self.study.name, f'search.space."{key}"', f"{value_shown(one)} does not fit: {cell.why}")

    @property
    def words(self) -> str:
        """The seeds, and what differs beside them."""
        only = ", ".join(f"{key} = {value}" for key, value in self.search.set.items())
        return f"tuned on seeds {space.numbered(self.search.seeds)}{f' ({only})' if only else ''}, reported on seeds {space.numbered(self.seeds)}"

    def cells(self, values: Mapping[str, Any], number: int) -> list[Cell]:
        """The runs of a trial."""
        variant = Variant(name=f"trial {number}", set=space.settings(self.search, values, self.data))
        return each(self._tuned_on.model_copy(update={"variants": (variant,)}), self._beside)

    def reported(self, best: Trial | None) -> Study:
        """The study of what is reported."""
        tuned = () if best is None else (Variant(name=TUNED, set=best.set),)
        return self.study.model_copy(update={"variants": (Variant(name=UNTUNED), *tuned)})

    def report(self, best: Trial | None) -> list[Cell]:
        """The runs of what is reported."""
        return each(self.reported(best), self._beside)


def _tuned(plan: _Plan, runner: Runner, progress: Progress, folder: Path) -> tuple[list[Trial], bool]:
    """All trials, and whether they were interrupted."""
    search, trials = plan.search, list[Trial]()
    with quiet():
        asked = Sampler(search, plan.data)
        while len(trials) < search.trials:
            drawn = asked.batch()[: search.trials - len(trials)]
            batch, made = [], []
            for values in drawn:
                inside = [runner.fitting(cell) for cell in plan.cells(values, len(trials) + len(batch))]
                batch.append((values, slice(len(made), len(made) + len(inside))))
                made += inside
            entries = [cell.entry() for cell in made]
            found, interrupted = runner.run(made, entries, progress)
            came = table.rows(plan.reported(None), entries, found)
            for values, part in batch:
                trials.append(_trial(plan, len(trials), values, came[part]))
            if interrupted:
                return trials, True
            asked.tell([trial.score for trial in trials[-len(batch) :]])
            with no_room(folder):
                durable.replace(folder / "search.csv", table.as_csv(rows(search, trials, _best(search, trials))))
    return trials, False


def _trial(plan: _Plan, number: int, values: dict[str, Any], came: Sequence[Mapping[str, Any]]) -> Trial:
    """What came of a trial's runs."""
    scores = tuple(row.get(plan.search.outcome) for row in came)
    lost = [row for row, score in zip(came, scores, strict=True) if score is None or not math.isfinite(score)]
    meant = space.settings(plan.search, values, plan.data)
    if not lost:
        return Trial(number, values, meant, scores, math.fsum(scores) / len(scores), "complete", "")
    broken = next((row for row in lost if row["verdict"] != "not run"), None)
    if broken is None:
        return Trial(number, values, meant, scores, None, "not run", "")
    why = broken["reasons"] or f"no {plan.search.outcome}"
    return Trial(number, values, meant, scores, None, "failed", f"seed {broken['seed']}: {why}")


def _best(search: Search, trials: Sequence[Trial]) -> Trial | None:
    """The trial of the best score, the first of several."""
    sign = 1.0 if search.direction == "maximize" else -1.0
    return max((trial for trial in trials if trial.score is not None), key=lambda trial: (sign * trial.score, -trial.number), default=None)


def rows(search: Search, trials: Sequence[Trial], best: Trial | None) -> list[dict[str, Any]]:
    """A row a trial: what was drawn, the outcome on each seed and its mean; where it has none, why."""
    out = []
    for trial in trials:
        row: dict[str, Any] = {"trial": trial.number, **{key: value_shown(value) for key, value in trial.values.items()}}
        row |= {f"{search.outcome}, seed {seed}": score for seed, score in zip(search.seeds, trial.scores, strict=True)}
        out.append(row | {search.outcome: trial.score, "state": trial.state, "best": best is not None and trial.number == best.number, "reasons": trial.why})
    return out
