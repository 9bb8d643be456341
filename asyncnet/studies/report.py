"""Studies and runs as one page: self-contained, opened from disk, readable in print, light and dark; and its figures as files for a paper.

report.html               question, answer, pictures, statistics, what happened to messages, clocks and actions, runs, scenario, versions, the command
figures/NAME.svg          and .pdf and .png, for one column; NAME-wide for two; where there are several parts NAME begins with theirs, numbered if two are alike
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count
from pathlib import Path

from asyncnet.runs import durable, opened
from asyncnet.runs.opened import Opened
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.studies import cases as made_of
from asyncnet.studies import comparisons, figures, happened, sweep, table
from asyncnet.studies.cases import Case, has_curve, outcome_of
from asyncnet.studies.figures import MOST_CURVES, PAGE, Picture
from asyncnet.studies.page import compared, html, inline
from asyncnet.studies.page import happened as pages_happened
from asyncnet.studies.page import runs as pages_runs
from asyncnet.studies.page import study as pages_study
from asyncnet.studies.pictures import comparison, degradation, learning, traffic
from asyncnet.studies.pictures import search as search_picture
from asyncnet.studies.sweep import Swept
from asyncnet.text import in_a_line

MOST_RUNS = 200  # of run directories on one page


def report(*paths: str | Path, outcome: str = "", threshold: float | None = None, to: str | Path | None = None, trust: bool = False) -> Path:
    """Write report.html and figures/ about studies (their folders) and runs (their directories); returns the page.

    It is written into the folder `to`: by default that of the one study or run, or `report` where there are several. `outcome` is the figure that it is
    about, by default what the tasks are scored by; `threshold` a score to be reached. `trust` as in resume. Raises ScenarioError.
    """
    sweep.needs()
    table.check(outcome)
    if threshold is not None and not math.isfinite(threshold):
        raise ScenarioError("--threshold", "", f"a score, got {threshold}")
    studies, runs = [], []
    for path in different(paths):
        if is_study(path):
            studies.append(sweep.load(path))
        elif (path / "run.json").is_file():
            runs.append(opened.open(path, trust=trust))
        else:
            raise ScenarioError(str(path), "", "is neither the folder of a study (there is no index.json in it) nor the directory of a run (no run.json)")
    if not studies and not runs:
        raise ScenarioError("report", "", "of which studies or runs?")
    if len(runs) > MOST_RUNS:
        raise ScenarioError("report", "", f"{len(runs)} runs on one page; at most {MOST_RUNS}")
    several = len(studies) + bool(runs) > 1 or len(runs) > 1
    folder = Path(to) if to is not None else Path("report") if several else studies[0].folder if studies else runs[0].path
    return _written(folder, studies, runs, outcome, threshold)


def different(paths: Iterable[str | Path]) -> list[Path]:
    """The folders and directories, each once: runs/latest is a run that runs/* names already, and would count as two."""
    return [*{path.resolve(): path for path in map(Path, reversed([*paths]))}.values()][::-1]


def is_study(path: Path) -> bool:
    """Whether a folder is that of a study."""
    return (path / "index.json").is_file()


def curves_of(runs: Sequence[Opened], outcome: str = "") -> list[Picture]:
    """The learning curves of runs, if they have any."""
    asked = outcome or outcome_of(runs)
    picture = learning.curves(made_of.of_runs(runs, asked), asked)
    return [] if picture is None else [picture]


def _written(folder: Path, studies: Sequence[Swept], runs: Sequence[Opened], outcome: str, threshold: float | None) -> Path:
    parts = [(swept.study.name, about_study(swept, outcome, threshold)) for swept in studies]
    parts += [("runs", about_runs(runs, outcome, threshold))] if runs else []
    try:
        durable.make(folder / "figures")
        articles = []
        alike = len({name for name, _ in parts}) < len(parts)  # studies of one name, from two folders, and their figures go into one
        for number, (name, part) in enumerate(parts):
            prefix = f"{number + 1}-{name}-" if alike else f"{name}-" if len(parts) > 1 else ""
            articles.append(f'<article id="part-{number}">{part.page(folder / "figures", prefix, f"p{number}")}</article>')
        names = [name for name, _ in parts]
        title = names[0] if len(names) == 1 else ", ".join(names)
        contents = " \u00b7 ".join(f'<a href="#part-{number}">{html.text(name)}</a>' for number, name in enumerate(names))
        durable.replace(folder / "report.html", html.page(title, [f"<nav>{contents}</nav>" if len(names) > 1 else "", *articles]).encode())
    except OSError as error:
        raise ScenarioError(str(folder), "", f"no report can be written there: {in_a_line(error)}") from None
    return folder / "report.html"


class Part:
    """What a page says of a study, or of some runs: what comes before the pictures, the pictures, what comes after them."""

    def __init__(self, head: str, pictures: Iterator[Picture | None], tail: str) -> None:
        self.head, self.tail = head, tail
        self.pictures = [picture for picture in pictures if picture is not None]

    def page(self, folder: Path, named: str, prefix: str) -> str:
        """Its HTML; figures are saved in a folder, their files' names beginning with `named`; `prefix` makes the names within the page its own."""
        shown = []
        for picture, number in zip(self.pictures, count(), strict=False):
            for width in picture.widths:
                drawn = picture.drawn(width)
                for kind in figures.FORMATS:
                    data = figures.encoded(drawn, kind)
                    durable.replace(folder / figures.file_name(f"{named}{picture.name}", f"{figures.WIDTHS[width]}.{kind}"), data)
                    if kind == "svg" and width == picture.widths[0]:
                        shown.append(inline.figure(picture, drawn, data.decode(), f"{prefix}-{number}", wide=width == PAGE))
        return f'{self.head}<div class="pictures">{"".join(shown)}</div>{self.tail}'


def about_study(swept: Swept, outcome: str = "", threshold: float | None = None) -> Part:
    """A study's part of the page. Raises ScenarioError if nothing has finished."""
    search = swept.study.search
    asked = table.outcome(swept.rows, outcome or (search.outcome if search else ""))
    cases = made_of.of_study(swept, asked)
    if not cases:
        raise ScenarioError(str(swept.folder), "", f"no run of it has a {asked.replace('_', ' ')} yet")
    finished = sum(len(case.runs) for case in cases)
    columns = swept.study.columns()
    known = _Known(cases, columns, asked, threshold)
    middle = [known.compared(), pages_happened.made_no_difference(pages_study.same(swept)), known.happened(), pages_study.verdicts(swept)]
    head = pages_study.head(swept, compared.answer(cases, asked), finished)
    pictures = chain([search_picture.trials(swept.folder, search)] if search else [], known.pictures())
    return Part(head, pictures, "".join([*middle, pages_study.runs(swept), pages_study.made_by(swept, cases)]))


def about_runs(runs: Sequence[Opened], outcome: str = "", threshold: float | None = None) -> Part:
    """The part of the page about run directories."""
    asked = outcome or outcome_of(runs)
    cases = [case for case in made_of.of_runs(runs, asked) if case.scores(asked)]
    if not cases:
        raise ScenarioError(str(runs[0].path), "", f"no run has a {asked.replace('_', ' ')}")
    known = _Known(cases, [made_of.CASE] if len(cases) > 1 else [], asked, threshold)
    nodes = [pages_happened.nodes(case, found) for case, found in zip(cases, known.rates, strict=True)]
    middle = [pages_runs.listing(runs), known.compared() if len(runs) > 1 else "", known.happened(), *(nodes if len(cases) == 1 else [])]
    return Part(pages_runs.head(runs, cases, compared.answer(cases, asked)), known.pictures(), "".join([*middle, pages_runs.made_by(runs)]))


class _Known:
    """What is known of cases, computed once for pictures and tables."""

    def __init__(self, cases: Sequence[Case], columns: Sequence[str], outcome: str, threshold: float | None) -> None:
        if threshold is not None and not has_curve(outcome):
            raise ScenarioError("--threshold", "", f"a run says its {outcome.replace('_', ' ')} at its end only, so when it was reached is not known")
        self.cases, self.columns, self.outcome, self.asked = cases, columns, outcome, threshold
        self.ways = [happened.on_their_way(case) for case in cases]
        self.firings = [happened.firings(case, ways) for case, ways in zip(cases, self.ways, strict=True)]
        self.rates = [happened.rates(case) for case in cases]
        self.differences = comparisons.differences(cases, columns, outcome)
        self.threshold = comparisons.middle(cases, outcome) if threshold is None else threshold

    def pictures(self) -> Iterator[Picture | None]:
        """All pictures that these cases have."""
        cases, outcome = self.cases, self.outcome
        yield from degradation.of_grid(cases, self.columns, outcome)
        for column in dict.fromkeys(one.column for one in self.differences):
            if any(one.difference.n > 1 for one in self.differences if one.column == column):
                yield comparison.paired(self.differences, column, outcome)
        few = len(cases) <= MOST_CURVES
        if few:
            yield learning.curves(cases, outcome)
        if few and len(cases) > 1 and all(len(case.runs) >= 3 for case in cases):
            yield learning.profiles(cases, outcome)
            yield comparison.improvement(cases, outcome)
        yield from self._traffic(few)

    def _traffic(self, few: bool) -> Iterator[Picture | None]:
        late = {case.label: shares for case in self.cases if (shares := happened.late(case)) is not None}
        if few:
            yield traffic.lateness(late)
            yield traffic.ways({case.label: ways for case, ways in zip(self.cases, self.ways, strict=True)})
            yield traffic.rates({case.label: rates for case, rates in zip(self.cases, self.rates, strict=True)})
        for case in self.cases:
            for run in case.runs[:1] if len(self.cases) == 1 else ():
                yield traffic.wire(run.summary.get("measured", {}).get("wire_us", {}))

    def compared(self) -> str:
        """Statistics, paired differences, thresholds."""
        reached = comparisons.reached(self.cases, self.outcome, self.threshold) if self.threshold is not None else []
        parts = [compared.figures(self.cases, self.columns, self.outcome), compared.differences(self.differences, self.outcome)]
        return "".join([*parts, compared.thresholds(reached, self.threshold, self.outcome, asked=self.asked is not None)])

    def happened(self) -> str:
        """Faults, messages, clocks."""
        parts = [pages_happened.faults(self.cases, self.columns, self.firings), pages_happened.messages(self.cases, self.columns, self.ways)]
        return "".join([*parts, pages_happened.clocks(self.cases, self.columns, self.rates)])
