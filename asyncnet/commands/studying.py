"""Verbs about many runs, and what a scenario comes to."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from asyncnet.commands.shared import EXIT, Brings, Conditions, Flag, Gib, Settings, Trusts, at_least_one
from asyncnet.interrupts import INTERRUPTED
from asyncnet.runs.provenance import arguments
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.reading import find, setting
from asyncnet.scenario.schema import read
from asyncnet.text import as_json, printable


@dataclass(frozen=True)
class Sweep(Brings):
    """Run a study: every combination of what is varied, with several seeds each, on all cores; what is there already is not run again."""

    study: tyro.conf.Positional[str]
    """A study file (TOML), the name of one that ships, or a scenario."""
    vary: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="KEY=A,B,...")] = field(default_factory=list)
    """Vary a setting, such as links.feedback.delay=0,1,5; also under=calm,lossy+straggler and scenario=NAME,NAME; may be given several times."""
    seeds: Annotated[str, tyro.conf.arg(metavar="N|A,B,...")] = ""
    """How many seeds, from the scenario's own on, or which; default: 10, or as the study says."""
    under: Conditions = field(default_factory=list)
    """A hardship to lay over all runs, a name or a TOML file; may be given several times."""
    set: Settings = field(default_factory=list)
    """Change one setting of all runs; may be given several times."""
    mode: Literal["grid", "zip"] | None = None
    """Every value with every other (default), or the first values of all, the second ones of all, and so on."""
    search: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Search for a setting in N trials: the study has a [search] table, which says what is searched for, by which outcome, and on which seeds it is tuned."""
    outcome: str = ""
    """The figure that the table on standard output is about, such as on_time; default: what the task is scored by, at the end of a run."""
    name: str = ""
    """The study's name, and that of its folder."""
    engine: Literal["local", "ray"] = "local"
    """Processes of this machine, or Ray tasks, a run each."""
    workers: int | None = None
    """Local: processes; default: one for each core."""
    address: str | None = None
    """Ray: the cluster to join, such as auto or HOST:PORT; default: a private one is started and ended."""
    out: Path = Path("sweeps")
    """The folder in which the study's own is made."""
    memory: Gib = None
    """Most memory that the runs may take together; default: four fifths of this machine's."""
    json: Flag = False
    """Print the table's rows as one JSON list on standard output, and nothing else there."""

    def __call__(self) -> int:
        from asyncnet.console import reporter, show_study
        from asyncnet.studies import table
        from asyncnet.studies.search import Searched, run_search
        from asyncnet.studies.study import asked
        from asyncnet.studies.sweep import run_study

        if self.workers is not None:
            at_least_one("--workers", self.workers)
            if self.engine == "ray":
                raise ScenarioError("--workers", "", "is for local processes; Ray places tasks as its cluster has room")
        study, beside = asked(
            self.study,
            vary=self.vary,
            seeds=self.seeds,
            under=self.under,
            settings=[*map(setting, self.set)],
            mode=self.mode,
            trials=self.search,
            name=self.name,
        )
        table.check(self.outcome)
        how = {"out": self.out, "engine": self.engine, "workers": self.workers, "address": self.address, "memory": self.memory, "beside": beside}
        with reporter() as shown:
            swept = run_study(study, **how, shown=shown) if study.search is None else run_search(study, **how, shown=shown)
        outcome = self.outcome or (study.search.outcome if study.search else "")
        if self.json:
            print(as_json(swept.rows))
        elif swept.rows:
            show_study(swept.study, swept.rows, table.outcome(swept.rows, outcome))
        for several in table.same(swept.study, swept.rows):
            print(printable(f"made no difference (the same bits, seed by seed): {table.in_words(swept.study, several)}"), file=sys.stderr)
        for row in swept.failed()[:10]:
            print(f"run {row['run']} failed: {printable(row['reasons'])}", file=sys.stderr)
        if isinstance(swept, Searched):
            print(printable(swept.words), file=sys.stderr)
            print(printable(str(swept.folder / "search.csv")), file=sys.stderr)
        if swept.rows:
            print(printable(str(swept.folder / "table.csv")), file=sys.stderr)
        if swept.interrupted:
            print("interrupted; the same command goes on with what is left:", shlex.join(["asyncnet", *arguments()[1:]]), sep="\n", file=sys.stderr)
            return INTERRUPTED
        lost = swept.failed() or (isinstance(swept, Searched) and swept.best is None)
        return EXIT["fail" if lost else "pass"]


@dataclass(frozen=True)
class Report(Trusts):
    """Write a report of studies and runs: one page with pictures and statistics, and its figures as SVG, PDF and PNG."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of studies, such as sweeps/NAME, and directories of runs, such as runs/latest."""
    outcome: str = ""
    """The figure that it is about, such as on_time; default: what the task is scored by, at the end of a run."""
    threshold: float | None = None
    """A score of which it says when runs reached it; default: half way from where runs begin to where the best end."""
    to: Path | None = None
    """The folder for report.html and figures/; default: that of the one study or run, or report where there are several."""

    def __call__(self) -> int:
        from asyncnet.studies.report import report

        print(printable(str(report(*self.paths, outcome=self.outcome, threshold=self.threshold, to=self.to, trust=self.trust))))
        return 0


@dataclass(frozen=True)
class Explain(Brings):
    """Say what a scenario comes to: nodes, clocks, links with all their conditions; and, from a brief run, how long things take and what cannot work."""

    scenario: tyro.conf.Positional[str]
    """A shipped name or a TOML file."""
    under: Conditions = field(default_factory=list)
    """A hardship to lay over it, a name or a TOML file; may be given several times."""
    set: Settings = field(default_factory=list)
    """Change one setting; may be given several times."""
    vary: Annotated[str, tyro.conf.arg(metavar="KEY=A,B,...")] = ""
    """Values that a sweep is to vary: says which of them end brief runs in the same bits."""
    decisions: int = 300
    """How many the brief run takes."""
    json: Flag = False
    """Print one JSON object."""

    def __call__(self) -> int:
        from asyncnet.console import show_explained
        from asyncnet.kernels.kernel import telling
        from asyncnet.studies import explain
        from asyncnet.studies.study import asked

        if not 1 <= self.decisions <= 10**6:
            raise ScenarioError("--decisions", "", f"from 1 to a million, got {self.decisions}")
        made = read(find(self.scenario), self.under, [*map(setting, self.set)])
        with telling(lambda text: print(text, file=sys.stderr)):
            found = explain.explained(made, self.decisions)
            if self.vary:
                study, beside = asked(self.scenario, vary=[self.vary], seeds="1", under=self.under, settings=[*map(setting, self.set)])
                found["points"] = explain.points(study, beside, self.decisions)
        print(as_json(found)) if self.json else show_explained(found, self.vary)
        return 0
