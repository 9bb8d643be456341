"""Studies from Python: their tables as pandas frames, their reports and figures; and what a scenario comes to."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from asyncnet.console.reporter import reporter as suitable
from asyncnet.runs import opened
from asyncnet.scenario.mistakes import ScenarioError, near
from asyncnet.scenario.names import ConditionName, ScenarioName, StudyName
from asyncnet.scenario.reading import find, setting, several
from asyncnet.scenario.schema import Scenario, read
from asyncnet.studies import table
from asyncnet.studies.explain import DECISIONS, explained
from asyncnet.studies.search import Searched, run_search
from asyncnet.studies.study import Study, asked, checked
from asyncnet.studies.sweep import Shown, load, needs, run_study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 10**6  # decisions of a brief run


def sweep(
    study: Study | Scenario | StudyName | ScenarioName | str | Path,
    vary: Mapping[str, Iterable[Any]] | None = None,
    *,
    seeds: int | Iterable[int] | None = None,
    under: ConditionName | str | Iterable[ConditionName | str] = (),
    set: Mapping[str, Any] | None = None,
    search: int | Mapping[str, Any] | None = None,
    name: str = "",
    out: str | Path = "sweeps",
    engine: Literal["local", "ray"] = "local",
    workers: int | None = None,
    address: str | None = None,
    memory: float | None = None,
    reporter: Shown | None = None,
    progress: bool = False,
) -> Any:
    """Run a study, or what is varied of a scenario, and return its table as a pandas frame: a row a run, every varied setting a column.

    `study` is a Study, a study file, the name of one that ships, or a scenario (name or file) of which `vary` says what is varied:
    `sweep("multiplexer3-weight-max", {"links.feedback.delay": [0, 1, 5]}, seeds=10)`. `search` is the table [search] of a study file, or how many trials
    that of the study is to take; the frame is then of the scenario untuned and tuned, `frame.attrs["trials"]` the rows of search.csv, `frame.attrs["best"]`
    the settings that were found (docs/studies.md). What is under `out` already is not run again; `attrs["folder"]` says where that is. `progress` shows how
    it is going, in a terminal or a notebook. Raises ScenarioError for a study that cannot be run;
    KeyboardInterrupt if it was interrupted: what is finished is kept.
    """
    if isinstance(study, Scenario):
        raise ScenarioError(study.name, "", "a study keeps what its runs started from: give the name or the file of a scenario")
    made, beside = (study, None) if isinstance(study, Study) else asked(str(study))
    data = made.data()
    data["vary"] = {**data.get("vary", {}), **{key: tuple(values) for key, values in (vary or {}).items()}}
    data["set"] = {**data.get("set", {}), **(set or {})}
    data["under"] = [*data.get("under", ()), *((under,) if isinstance(under, str) else under)]
    if seeds is not None:
        data["seeds"] = seeds if isinstance(seeds, int) else tuple(seeds)
    if name or (vary and not isinstance(study, Study)):
        data["name"] = name or "__".join([data["name"], *vary])[:128]
    if search is not None:
        data["search"] = {**data.get("search", {}), **({"trials": search} if isinstance(search, int) else search)}
    asks = checked(data, "sweep")
    run = run_study if asks.search is None else run_search
    with suitable() if progress and reporter is None else nullcontext(reporter) as shown:
        swept = run(asks, out=out, engine=engine, workers=workers, address=address, memory=memory, beside=beside, shown=shown)
    if swept.interrupted:
        raise KeyboardInterrupt
    frame = swept.frame
    frame.attrs["folder"] = str(swept.folder)
    if isinstance(swept, Searched):
        frame.attrs |= {"trials": swept.trial_rows, "best": None if swept.best is None else swept.best.set}
    return frame


def report(*what: Any, outcome: str = "", threshold: float | None = None, to: str | Path | None = None, trust: bool = False) -> Path:
    """Write the report of studies and runs, one page and its figures; returns the page.

    Each is a study (its folder, or the frame that `sweep` returned) or a run (its directory, or a result). It is written into the folder `to`: by default
    that of the one study or run, or `report` where there are several. `outcome` is the figure that it is about, by default what the tasks are scored by;
    `threshold` a score to be reached. `trust` as in resume. Raises ScenarioError.
    """
    needs()
    from asyncnet.studies import report as pages

    return pages.report(*map(_path, what), outcome=outcome, threshold=threshold, to=to, trust=trust)


def plot(*what: Any, to: str | Path | None = None, picture: str = "", outcome: str = "", columns: Literal[1, 2] = 1, trust: bool = False) -> Figure:
    """A figure as matplotlib's Figure, as wide as one column of a paper or two, saved `to` a file (.svg, .pdf, .png) if that is given.

    Of runs (directories, results) their learning curves, those that differ in the seed alone as one with a band; of a study (its folder, or the frame that
    `sweep` returned) the first picture of its report. `picture` names another one of the report. `outcome` and `trust` as in report. Raises ScenarioError for
    what is neither, and for a picture that there is not, with the near miss; warns where there are more combinations than can be told apart.
    """
    needs()
    from asyncnet.studies import figures
    from asyncnet.studies import report as pages

    if not what:
        raise ScenarioError("plot", "", "of which study or runs?")
    table.check(outcome)
    paths = pages.different(map(_path, what))
    if len(paths) == 1 and pages.is_study(paths[0]):
        found = pages.about_study(load(paths[0]), outcome).pictures
    else:
        runs = [opened.open(path, trust=trust) for path in paths]
        found = pages.about_runs(runs, outcome).pictures if picture else pages.curves_of(runs, outcome)
    named = {one.name: one for one in found}
    if picture not in (*named, "") or not named:
        raise ScenarioError("plot", picture, f"no such picture; {near(picture, named)}" if named else "there is nothing to draw: no two rows of progress")
    chosen = named[picture] if picture else found[0]
    figure = chosen.drawn(figures.COLUMN if columns == 1 else figures.PAGE)
    if chosen.left:
        warnings.warn(f"{chosen.name} shows {chosen.series} combinations, as many as can be told apart, and leaves {chosen.left} out", stacklevel=2)
    if to is not None:
        figures.save(figure, Path(to))
    return figure


class Explained(dict[str, Any]):
    """Plain data, as `asyncnet explain --json` prints it; as text what the command prints."""

    def __str__(self) -> str:
        from asyncnet.console.tables import explained_text

        return explained_text(self)

    def _repr_html_(self) -> str:
        from asyncnet.console.html import lines

        return lines(str(self))


def explain(
    scenario: Scenario | ScenarioName | str | Path,
    under: ConditionName | str | Iterable[ConditionName | str] = (),
    settings: str | Iterable[str] = (),
    *,
    decisions: int = DECISIONS,
) -> Explained:
    """What a scenario comes to: layers, links with all their conditions, how long things take in a brief run, and what cannot work; raises ScenarioError."""
    if not 1 <= decisions <= MOST:
        raise ScenarioError("decisions", "", f"from 1 to a million, got {decisions}")
    made = scenario if isinstance(scenario, Scenario) else read(find(str(scenario)), under, [setting(text) for text in several(settings)])
    return Explained(explained(made, decisions))


def _path(what: Any) -> Path:
    """The folder of a study or of the frame of one, the directory of a run or of a result."""
    if hasattr(what, "attrs"):
        what = what.attrs.get("folder", "")
    found = getattr(what, "run_dir", getattr(what, "path", what))
    if found is None:
        raise ScenarioError("plot, report", "", "this result was kept nowhere (out=None)")
    return Path(found)
