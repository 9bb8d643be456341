"""Verbs about a run that is there: looked at, measured, done again."""

from __future__ import annotations

import shlex
import sys
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from asyncnet import api, interrupts
from asyncnet.commands.shared import EXIT, Flag, Trusts, at_least_one, say
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
        about = stored.about(path)
        if about.status == "running":  # a summary that may be there is from before it went on
            standing = stored.standing(about, stored.held(path))
            print(as_json({"run": str(path), "standing": standing}) if self.json else printable(f"{path}: {standing}"))
            if standing.startswith("dead") and (path / "checkpoints").is_dir():
                print("to go on:", printable(shlex.join(["asyncnet", "resume", str(path)])), sep="\n", file=sys.stderr)
            return EXIT["unknown"]
        summary = stored.summary(path)
        print(as_json(summary)) if self.json else show_summary(summary)
        return EXIT[summary["verdict"]]


@dataclass(frozen=True)
class Plot(Trusts):
    """Save a figure: of runs their learning curves, those that differ in their seed alone as one line with a band; of a study any picture of its report."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Directories of runs, such as runs/latest; or the folder of one study."""
    to: Path = Path("curves.svg")
    """The file; the end of its name says which format: .svg, .pdf or .png."""
    picture: str = ""
    """Which picture of the report; default: the learning curves of runs, the first picture of a study."""
    outcome: str = ""
    """The figure whose curve it is, such as mean_reward; default: what the tasks are scored by."""
    columns: Literal[1, 2] = 1
    """How many columns of a paper it is wide."""

    def __call__(self) -> int:
        from asyncnet.studies.frames import plot

        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", UserWarning)
            plot(*self.paths, to=self.to, picture=self.picture, outcome=self.outcome, columns=self.columns, trust=self.trust)
        for one in said:
            print(printable(str(one.message)), file=sys.stderr)
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
    events: int = api.EVENTS
    """How many at most, from the run's beginning on."""

    def __call__(self) -> int:
        from asyncnet.console import reporter

        at_least_one("--events", self.events)
        with reporter() as shown:
            said = api.timeline(self.run, self.to, events=self.events, trust=self.trust, reporter=shown)
        print(printable(said))
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
        with telling(shown.note), nullcontext() if before is None else interrupts.raised():  # at a prompt Ctrl-C drops a line
            same, found = api.replay(self.run, before, trust=self.trust)
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
