"""Verbs about a run that is there: looked at, measured, done again."""

from __future__ import annotations

import bdb
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from asyncnet import api, interrupts
from asyncnet.commands.shared import EXIT, Flag, Trusts, say
from asyncnet.interrupts import INTERRUPTED
from asyncnet.scenario.mistakes import ScenarioError, near
from asyncnet.text import as_json, printable


@dataclass(frozen=True)
class Show:
    """Show a finished run's summary again; of one that has not finished, how it stands."""

    run: tyro.conf.Positional[Path]
    """The run's directory, such as runs/latest."""
    json: Flag = False
    """Print one JSON object."""

    def __call__(self) -> int:
        from asyncnet.console import show_summary
        from asyncnet.runs import stored

        path = stored.find(self.run)
        summary = stored.summary(path)
        print(as_json(summary)) if self.json else show_summary(summary)
        return EXIT[summary["verdict"]]


@dataclass(frozen=True)
class Plot(Trusts):
    """Save the learning curves of runs as a figure: runs that differ in their seed alone are one line with a band."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Directories of runs, such as runs/latest."""
    to: Path = Path("curves.svg")
    """The file; the end of its name says which format: .svg, .pdf or .png."""
    outcome: str = ""
    """The figure whose curve it is, such as mean_reward; default: what the tasks are scored by."""
    columns: Literal[1, 2] = 1
    """How many columns of a paper it is wide."""

    def __call__(self) -> int:
        from asyncnet.runs import opened
        from asyncnet.studies import sweep

        if not self.runs:
            raise ScenarioError("plot", "", "of which runs?")
        sweep.needs()
        from asyncnet.studies import cases, figures, table
        from asyncnet.studies.pictures import learning

        if self.outcome and self.outcome not in table.FIGURES:
            raise ScenarioError("--outcome", "", f"no figure {self.outcome}; {near(self.outcome, table.FIGURES)}")
        runs = [opened.open(run, trust=self.trust) for run in self.runs]
        outcome = self.outcome or cases.outcome_of(runs)
        picture = learning.curves(cases.of_runs(runs, outcome), outcome)
        if picture is None:
            raise ScenarioError("plot", "", "none of these runs has two rows of progress")
        figures.save(picture.drawn(figures.COLUMN if self.columns == 1 else figures.PAGE), self.to)
        print(printable(str(self.to)))
        return 0


@dataclass(frozen=True)
class Evaluate(Trusts):
    """Measure what a finished run has learned: its final weights, with learning off, on other draws."""

    run: tyro.conf.Positional[Path]
    """The run's directory, such as runs/latest."""
    episodes: int | None = None
    """How many; default: 100."""
    decisions: int | None = None
    """In their place; default for a task without episodes: 10,000."""
    seed: int | None = None
    """Of the draws; default: derived from the run's."""
    json: Flag = False
    """Print the summary as one JSON object on standard output, and nothing else there."""

    def __call__(self) -> int:
        from asyncnet.console import reporter
        from asyncnet.runs.evaluation import evaluate

        with reporter() as shown:
            result = evaluate(self.run, episodes=self.episodes, decisions=self.decisions, seed=self.seed, trust=self.trust, reporter=shown)
        return say(result, self.json)


@dataclass(frozen=True)
class Timeline(Trusts):
    """Write a run as a timeline for ui.perfetto.dev: a track for each node, a slice for each event, an arrow for each message."""

    run: tyro.conf.Positional[Path]
    """The run's directory, such as runs/latest."""
    to: Path | None = None
    """The file; default: trace.json in the run's directory."""
    events: int = 100_000
    """How many at most, from the run's beginning on."""

    def __call__(self) -> int:
        if self.events < 1:
            raise ScenarioError("--events", "", f"at least 1, got {self.events}")
        print(printable(api.timeline(self.run, self.to, events=self.events, trust=self.trust)))
        return 0


@dataclass(frozen=True)
class Replay(Trusts):
    """Do a run on real clocks again, in one process, from what it recorded: says "identical", or the first node, event and array that differ."""

    run: tyro.conf.Positional[Path]
    """The run's directory, such as runs/latest."""
    until: Annotated[str | None, tyro.conf.arg(metavar="NODE:N|N")] = None
    """Stop before the N-th event of a node, or of all, and open a Python prompt there with `node` and `event`."""
    debug: Annotated[Flag, tyro.conf.arg(name="break")] = False
    """With --until: open the debugger instead, where the node is about to be given the event."""
    json: Flag = False
    """Print one JSON object."""

    def __call__(self) -> int:
        from asyncnet.console import reporter
        from asyncnet.kernels.kernel import telling
        from asyncnet.record.debug import stop_before

        if self.debug and self.until is None:
            raise ScenarioError("--break", "", "needs --until, to say where")
        before = None if self.until is None else stop_before(self.until, debug=self.debug)
        with reporter() as shown:
            shown.note("replaying")
        try:
            with telling(shown.note), nullcontext() if before is None else interrupts.raised():  # at a prompt Ctrl-C drops a line
                same, found = api.replay(self.run, before, trust=self.trust)
        except bdb.BdbQuit:  # "q" in the debugger
            return INTERRUPTED
        if before is not None and not before.reached:
            name, nodes = self.until.rpartition(":")[0], api.nodes_of(self.run)
            why = f"no node {name}; {near(name, nodes)}" if name and name not in nodes else f"there is no event {self.until} in it; {found}"
            raise ScenarioError("--until", "", why)
        print(as_json({"identical": same, "found": found}) if self.json else printable(found))
        return 0 if same else 1


@dataclass(frozen=True)
class Verify(Trusts):
    """Do a run again in one process and compare the bits: one in simulated time is executed again, one in real time replayed."""

    run: tyro.conf.Positional[Path]
    """The run's directory, such as runs/latest."""
    json: Flag = False
    """Print one JSON object."""

    def __call__(self) -> int:
        from asyncnet.console import reporter

        with reporter() as shown:
            same, found = api.verify(self.run, shown, trust=self.trust)
        print(as_json({"identical": same, "found": found}) if self.json else printable(found))
        return 0 if same else 1
