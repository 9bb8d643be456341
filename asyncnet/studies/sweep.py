"""Run a study: its cells on all cores or as Ray tasks, each kept as soon as it is finished, and the table of all.

sweeps/NAME/study.toml           what is asked                      table.csv, table.parquet      a row a run
            cells/ID.json        what came of one: summary, progress, returns; ID is the fingerprint of its scenario, so a study that is
                                 asked again, or asked for more, runs what is not there yet
            sweep.json           versions and machine of every time that it was run
            runs/                the runs' own directories, where they are asked for; a cell whose directory is gone, or is another run's, is run again
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from asyncnet.interrupts import raised
from asyncnet.kernels.kernel import telling
from asyncnet.runs import durable, provenance, stored
from asyncnet.runs.memory import GIB, share, together
from asyncnet.runs.memory import check as check_memory
from asyncnet.runs.stored import Summed
from asyncnet.scenario import outside
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.model import Model
from asyncnet.scenario.schema import Scenario
from asyncnet.studies import table
from asyncnet.studies.crew import Crew
from asyncnet.studies.progress import Progress, Shown, length
from asyncnet.studies.study import MOST_CELLS, Cell, Entry, Study, cells, read_study
from asyncnet.text import as_json, in_a_line

NEEDS = ("matplotlib", "pandas", "pyarrow", "scipy")
LARGEST = 256 << 20  # bytes of one cell's file
LONGEST = 2**53  # decisions
FARTHEST = sys.float_info.max
ENGINES = {"local": "asyncnet.studies.worker", "ray": "asyncnet.actors.tasks"}


class Came(Model):
    """What came of a run, in its file."""

    id: str
    scenario: dict[str, Any] | None = None
    summary: Summed
    rows: list[dict[str, float | int | None]]
    returns: list[float | None]

    @model_validator(mode="after")
    def _figures(self) -> Came:
        """Every figure is a number that a column holds, and every row says after how many decisions."""
        figures = [(self.summary.model_extra or {}).get(figure) for figure in table.FIGURES]
        if not all(value is None or _is_number(value) for value in chain(figures, *(row.values() for row in self.rows))):
            raise ValueError("a figure is no number")
        if not all(isinstance(at := row.get("decisions"), int) and 0 <= at <= LONGEST for row in self.rows):
            raise ValueError("a row does not say after how many decisions")
        return self


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -FARTHEST <= value <= FARTHEST


class Swept:
    """A study that was run: which runs these are, what came of each (by number; what was not run is not there), its rows and its folder."""

    def __init__(self, study: Study, entries: Sequence[Entry], found: Mapping[int, dict[str, Any]], folder: Path, *, interrupted: bool = False) -> None:
        self.study, self.entries, self.found, self.folder, self.interrupted = study, entries, found, folder, interrupted
        self.rows = table.rows(study, entries, found)

    def came(self, number: int) -> dict[str, Any] | None:
        """All that came of a run: {"scenario", "summary", "rows", "returns"}; None if it has not finished."""
        return kept(self.folder, self.entries[number].id)

    @property
    def frame(self) -> Any:
        """The table as a pandas frame."""
        return table.frame(self.rows)

    def failed(self) -> list[dict[str, Any]]:
        """The rows of runs that raised, or whose settings do not fit together."""
        return [row for row in self.rows if row["verdict"] == "error"]


def run_study(
    study: Study,
    *,
    out: str | Path = "sweeps",
    engine: Literal["local", "ray"] = "local",
    workers: int | None = None,
    address: str | None = None,
    memory: float | None = None,
    beside: Path | None = None,
    shown: Shown | None = None,
    directories: bool = False,
) -> Swept:
    """Run what is not there yet of a study, and write its table; an interrupt keeps what is finished.

    With `directories` every run leaves its own under runs/ (processes of this machine only): what `show` and `verify` take.
    `workers` processes (None: one for each core) share `memory` GiB (None: a share of the machine's). Raises ScenarioError, before anything is started, for a
    study of which no run fits together, for a library that is missing, and for a folder that another process writes to.
    """
    needs()
    importlib.import_module(ENGINES[engine]).check(address)
    made = cells(study, beside)
    folder = Path(out) / study.name
    with held(folder):
        entries = [cell.entry() for cell in made]
        write_asked(folder, study, entries)
        with Runner(folder, engine, workers, address, memory, directories=directories) as runner:
            progress = Progress(shown, len(made), sum(length(cell.scenario) for cell in made))
            found, interrupted = runner.run(made, entries, progress, study.name)
        swept = Swept(study, entries, found, folder, interrupted=interrupted)
        with no_room(folder):
            table.write(folder, swept.rows)
    return swept


class Runner:
    """Runs cells into the folder of a study: what is there is not run again, what finishes is kept at once."""

    def __init__(
        self, folder: Path, engine: Literal["local", "ray"], workers: int | None, address: str | None, memory: float | None, *, directories: bool = False
    ) -> None:
        self._folder, self._memory, self._directories = folder, memory, folder / "runs" if directories else None
        self._local, self._workers = engine == "local", workers or len(os.sched_getaffinity(0))
        size = {"workers": self._workers} if self._local else {"workers": 1, "at_once": MOST_CELLS}
        self._crew = Crew(module=ENGINES[engine], arguments=("--address", address) if address else (), **size)

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.leave()

    def run(self, made: Sequence[Cell], entries: Sequence[Entry], progress: Progress, name: str = "") -> tuple[dict[int, dict[str, Any]], bool]:
        """What came of each cell, by number, and whether that was interrupted; says so of `name` before. Raises ScenarioError for one that is too large."""
        found = _found(self._folder, entries)
        if self._directories is not None:
            found = {number: came for number, came in found.items() if directory(self._folder, came["summary"]) is not None}
            _tidy(self._folder)
        asked = [number for number, entry in enumerate(entries) if entry.id and number not in found]
        first = {entries[number].id: number for number in reversed(asked)}  # cells that are one and the same are run once
        once = sorted(first.values())
        at_once = min(self._workers if self._local else 1, max(1, len(once)))
        room = {number: together(made[number].scenario, self._memory, at_once) for number in once}
        works = {number: length(made[number].scenario) for number in once}
        if name and once:
            again = f", {len(found):,} of them there already" if found else ""
            progress.note(f"{len(made):,} runs of {name}{again}; {f'{at_once} at a time' if self._local else 'Ray tasks'}")
            progress.begin(name, self._folder)
        if large := [number for number in once if room[number] < at_once]:
            progress.note(f"{len(large):,} of them, {min(room.values())} at a time: they need more than a share of the memory")
        progress.passed(len(made) - len(once), sum(length(cell.scenario) for cell in made) - sum(works.values()))
        if not once:
            return found, False
        with telling(progress.note):
            _compile([made[number].scenario for number in once])
        scenarios = {number: made[number].scenario for number in once}
        return found, _keep(self._words(scenarios, room, at_once), works, entries, found, self._folder, progress)

    def _words(self, scenarios: Mapping[int, Scenario], room: Mapping[int, int], at_once: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """What is said of runs: first of all that have room beside so many others, then of those that need more, of which fewer are run at once."""
        large = [number for number in scenarios if room[number] < at_once]
        for numbers, most in (([number for number in scenarios if number not in large], at_once), (large, min(room.values()))):
            limit = share(self._memory, most) / GIB
            yield from self._crew.work_off({number: _order(scenarios[number], limit, self._directories) for number in numbers}, most)

    def fitting(self, cell: Cell) -> Cell:
        """The cell, as one that cannot be run if it alone needs more than all the memory: what is drawn next must not depend on how many run at once."""
        try:
            if cell.scenario is not None:
                check_memory(cell.scenario, self._memory)
        except ScenarioError as error:
            return cell._replace(scenario=None, why=str(error))
        return cell


def write_asked(folder: Path, study: Study, entries: Sequence[Entry], *, again: bool = False) -> None:
    """Write what is asked into the folder of a study and, but if that is said `again` in one execution, with what it is run this time."""
    with no_room(folder):
        durable.replace(folder / "study.toml", study.toml().encode())
        durable.replace(folder / "index.json", (as_json([entry.model_dump() for entry in entries]) + "\n").encode())
        if not again:
            _note_versions(folder)


@contextmanager
def no_room(folder: Path) -> Iterator[None]:
    """What a disk does not take is a line; runs that were kept before are there for the next time."""
    try:
        yield
    except OSError as error:
        raise ScenarioError(str(folder), "", f"nothing can be written there: {in_a_line(error)}") from None


def needs(names: Sequence[str] = (), extra: str = "study") -> None:
    """Raise ScenarioError if a library is missing: one of these, or (none given) of those that tables and statistics are made with."""
    missing = [name for name in names or NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        what = "a search needs" if extra == "search" else "studies need"
        raise ScenarioError(", ".join(missing), "", f"not installed; {what} pip install 'asyncnet[{extra}]'")


def load(folder: str | Path) -> Swept:
    """A study that was run, from its folder; raises ScenarioError where that is none, or damaged."""
    path = Path(folder)
    if not (path / "index.json").is_file():
        raise ScenarioError(str(folder), "", "is not the folder of a study (there is no index.json in it)")
    try:
        listed = json.loads(durable.read(path / "index.json", LARGEST))
        entries = [Entry.model_validate(entry) for entry in listed]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ScenarioError(str(path / "index.json"), "", f"cannot be read: {in_a_line(error)}") from None
    study = read_study(path / "study.toml")
    if any(list(entry.labels) != study.columns() for entry in entries):
        raise ScenarioError(str(path / "index.json"), "", "is not of the study in study.toml")
    return Swept(study, entries, _found(path, entries), path)


def _found(folder: Path, entries: Sequence[Entry]) -> dict[int, dict[str, Any]]:
    return {number: {"summary": known["summary"]} for number, entry in enumerate(entries) if (known := kept(folder, entry.id)) is not None}


def kept(folder: Path, seal: str) -> dict[str, Any] | None:
    """What came of the run of that identity, if it is finished; a file that cannot be read is none, and the run is done again."""
    known = _read(_file(folder, seal)) if seal else None
    return known if known is not None and known["id"] == seal else None


def _read(file: Path) -> dict[str, Any] | None:
    try:
        known = json.loads(durable.read(file, LARGEST))
        Came.model_validate(known)
    except (OSError, ValueError, RecursionError):
        return None
    return known


def _file(folder: Path, seal: str) -> Path:
    return folder / "cells" / f"{seal[:24]}.json"


def directory(folder: Path, summary: Mapping[str, Any]) -> Path | None:
    """The directory of a run of a study that kept these; None if it is not there, or holds another run."""
    path = folder / "runs" / Path(summary.get("run_dir") or ".").name
    try:
        return path if stored.summary(stored.find(path))["digest"] == summary["digest"] else None
    except ScenarioError:
        return None


def _tidy(folder: Path) -> None:
    """Remove the directories of runs that were broken off: no cell names them, and nobody else writes here."""
    named = {directory(folder, known["summary"]) for file in (folder / "cells").glob("*.json") if (known := _read(file)) is not None}
    for path in (folder / "runs").glob("*__*"):
        if path not in named and (path / "run.json").is_file() and not stored.held(path):
            durable.discard(path)


def _order(scenario: Scenario, memory: float, out: Path | None) -> dict[str, Any]:
    """What a worker is told: the run, what it may have of the memory in GiB, and where its directory goes."""
    return {"scenario": scenario.data(), "outside": outside.packed(scenario), "memory": memory, "out": None if out is None else str(out)}


def _keep(words: Any, works: Mapping[int, float], entries: Sequence[Entry], found: dict[int, dict[str, Any]], folder: Path, progress: Progress) -> bool:
    """Keep what comes of each run, also for its twins, until all have ended; returns whether that was interrupted."""
    numbers: dict[str, list[int]] = {}
    for number, entry in enumerate(entries):
        numbers.setdefault(entry.id, []).append(number)
    trouble = ""
    try:
        with raised():
            for number, word in words:
                if "done" in word:
                    progress.reached(number, min(word["done"], 0.99), works[number])
                    continue
                seal = entries[number].id
                came = {"failed": word["failed"]} if "failed" in word else word["result"]
                if "failed" not in came:
                    text = as_json({"id": seal, **came})
                    try:
                        durable.replace(_file(folder, seal), text.encode())
                    except OSError as error:
                        trouble = f"runs could not be kept: {in_a_line(error)}"
                    came = {"summary": json.loads(text)["summary"]}  # as whoever reads it again has it
                found |= dict.fromkeys(numbers[seal], came)
                progress.reached(number, 1.0, works[number], came.get("failed", ""))
    except KeyboardInterrupt:
        found |= _found(folder, entries)  # one may just have been kept
        return True
    finally:
        words.close()
        if trouble:
            progress.note(trouble)
    return False


def _compile(scenarios: Iterable[Scenario]) -> None:
    """Have on disk what the runs need, once: their processes would all compile the same."""
    from asyncnet.loop.compiled.ahead import compile_ahead

    for scenario in scenarios:
        compile_ahead(scenario)


def _note_versions(folder: Path) -> None:
    """Add to sweep.json with what it is run this time."""
    path = folder / "sweep.json"
    try:
        before = json.loads(path.read_text())
    except (OSError, ValueError):
        before = []
    about = {**provenance.about_this_machine(), "argv": provenance.arguments()}
    durable.replace(path, (as_json([*(before if isinstance(before, list) else []), about], indent=2) + "\n").encode())


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder of a study against others; the system lets go of it when this process ends, however it ends."""
    try:
        (folder / "cells").mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise ScenarioError("--out", "", f"no study can be kept in {folder}: {in_a_line(error)}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ScenarioError(str(folder), "", "this study is being run by another process") from None
        yield
    finally:
        os.close(descriptor)
