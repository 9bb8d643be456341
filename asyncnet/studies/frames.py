"""Studies from Python: their tables as pandas frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.schema import Scenario
from asyncnet.studies.search import Searched, run_search
from asyncnet.studies.study import Study, asked, checked
from asyncnet.studies.sweep import Shown, run_study


def sweep(
    study: Study | Scenario | str | Path,
    vary: Mapping[str, Iterable[Any]] | None = None,
    *,
    seeds: int | Iterable[int] | None = None,
    under: str | Iterable[str] = (),
    set: Mapping[str, Any] | None = None,
    search: int | Mapping[str, Any] | None = None,
    name: str = "",
    out: str | Path = "sweeps",
    engine: Literal["local", "ray"] = "local",
    workers: int | None = None,
    address: str | None = None,
    memory: float | None = None,
    reporter: Shown | None = None,
) -> Any:
    """Run a study, or what is varied of a scenario, and return its table as a pandas frame: a row a run, every varied setting a column.

    `study` is a Study, a study file, the name of one that ships, or a scenario (name or file) of which `vary` says what is varied:
    `sweep("multiplexer3-weight-max", {"links.feedback.delay": [0, 1, 5]}, seeds=10)`. `search` is the table [search] of a study file, or how many trials
    that of the study is to take; the frame is then of the scenario untuned and tuned, `frame.attrs["trials"]` the rows of search.csv, `frame.attrs["best"]`
    the settings that were found (docs/studies.md). What is under `out` already is not run again. Raises ScenarioError for a study that cannot be run;
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
    swept = run(asks, out=out, engine=engine, workers=workers, address=address, memory=memory, beside=beside, shown=reporter)
    if swept.interrupted:
        raise KeyboardInterrupt
    frame = swept.frame
    if isinstance(swept, Searched):
        frame.attrs |= {"trials": swept.trial_rows, "best": None if swept.best is None else swept.best.set}
    return frame
