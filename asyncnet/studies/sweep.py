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
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from asyncnet.interrupts import raised
from asyncnet.kernels.kernel import telling
from asyncnet.runs import durable, provenance, stored
from asyncnet.runs.memory import GIB
from asyncnet.runs.memory import check as check_memory
from asyncnet.runs.stored import Summed
from asyncnet.scenario import outside
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.model import Model
from asyncnet.scenario.schema import Scenario
from asyncnet.studies import table
from asyncnet.studies.crew import worked_off
from asyncnet.studies.study import Entry, Study, cells, read_study
from asyncnet.text import as_json, in_a_line

NEEDS = ("matplotlib", "pandas", "pyarrow", "scipy")
LARGEST = 256 << 20  # bytes of one cell's file
ENGINES = {"local": "asyncnet.studies.worker", "ray": "asyncnet.actors.tasks"}


class Came(Model):
    """What came of a run, in its file."""

    id: str
    summary: Summed
    rows: list[dict[str, float | int | None]]
    returns: list[float | None]


class Shown(Protocol):
    """Where a sweep says how it is going."""

    def note(self, text: str) -> None:
        """One line."""

    def study(self, done: float, text: str) -> None:
        """How far all is, as a share, and what has come of it."""


class Swept:
    """A study that was run: which runs these are, what came of each (by number; what was not run is not there), its rows and its folder."""

    def __init__(self, study: Study, entries: Sequence[Entry], found: Mapping[int, dict[str, Any]], folder: Path, *, interrupted: bool = False) -> None:
        self.study, self.entries, self.found, self.folder, self.interrupted = study, entries, found, folder, interrupted
        self.rows = table.rows(study, entries, found)

    def came(self, number: int) -> dict[str, Any] | None:
        """All that came of a run: {"summary", "rows", "returns"}; None if it has not finished."""
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
    workers = workers or len(os.sched_getaffinity(0))
    folder = Path(out) / study.name
    with _held(folder):
        entries = [cell.entry() for cell in made]
        with _no_room(folder):
            durable.replace(folder / "study.toml", study.toml().encode())
            durable.replace(folder / "index.json", (as_json([entry.model_dump() for entry in entries]) + "\n").encode())
            _note_versions(folder)
        found = _found(folder, entries)
        if directories:
            found = {number: came for number, came in found.items() if directory(folder, came["summary"]) is not None}
            _tidy(folder)
        asked = [number for number, entry in enumerate(entries) if entry.id and number not in found]
        first = {entries[number].id: number for number in reversed(asked)}  # cells that are one and the same are run once
        at_once = min(workers if engine == "local" else 1, max(1, len(first)))
        out = folder / "runs" if directories else None
        orders = {number: _order(made[number].scenario, memory, at_once, out) for number in sorted(first.values())}
        interrupted = False
        if orders:
            with telling(shown.note if shown else lambda _: None):
                _compile([made[number].scenario for number in orders])
            progress = _Progress(shown, len(entries), len(found), len(orders))
            progress.note(study.name, f"{at_once} at a time" if engine == "local" else "Ray tasks", folder)
            crew = {"workers": at_once} if engine == "local" else {"workers": 1, "at_once": len(orders)}
            words = worked_off(orders, module=ENGINES[engine], arguments=("--address", address) if address else (), **crew)
            interrupted = _keep(words, entries, found, folder, progress)
        swept = Swept(study, entries, found, folder, interrupted=interrupted)
        with _no_room(folder):
            table.write(folder, swept.rows)
    return swept


@contextmanager
def _no_room(folder: Path) -> Iterator[None]:
    """What a disk does not take is a line; runs that were kept before are there for the next time."""
    try:
        yield
    except OSError as error:
        raise ScenarioError(str(folder), "", f"nothing can be written there: {in_a_line(error)}") from None


def needs() -> None:
    """Raise ScenarioError if a library is missing that tables and statistics are made with."""
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise ScenarioError(", ".join(missing), "", "not installed; studies need pip install 'asyncnet[study]'")


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


def _order(scenario: Scenario, memory: float | None, at_once: int, out: Path | None) -> dict[str, Any]:
    """What a worker is told; raises ScenarioError for a run that needs more than its share of the memory."""
    limit = check_memory(scenario, memory, at_once) / GIB
    return {"scenario": scenario.data(), "outside": outside.packed(scenario), "memory": limit, "out": None if out is None else str(out)}


class _Progress:
    """How far a sweep is: of `total` runs `before` were there already, and `asked` are run now (twins are counted with the run that stands for them)."""

    def __init__(self, shown: Shown | None, total: int, before: int, asked: int) -> None:
        self._shown, self._total, self._before, self._asked = shown, total, before, asked
        self._began, self._done, self._shares = time.monotonic(), 0, dict[int, float]()

    def note(self, name: str, how: str, folder: Path) -> None:
        """Say what begins."""
        if self._shown is not None:
            again = f", {self._before:,} of them there already" if self._before else ""
            self._shown.note(f"{self._total:,} runs of {name}{again}; {how}; in {folder}")

    def reached(self, number: int, share: float, text: str = "") -> None:
        """A run has got so far; 1: it has ended."""
        self._shares[number] = share
        if share >= 1.0:
            del self._shares[number]
            self._done += 1
        if self._shown is not None:
            done = (self._done + sum(self._shares.values())) / self._asked
            took = time.monotonic() - self._began
            left = f", about {_minutes(took / done * (1.0 - done))} left" if done > 0.02 and self._done < self._asked else ""
            self._shown.study(done, f"{self._before + self._done:,} of {self._total:,} runs{left}{text}")

    def trouble(self, text: str) -> None:
        """Say what is the matter."""
        if self._shown is not None:
            self._shown.note(text)


def _keep(words: Any, entries: Sequence[Entry], found: dict[int, dict[str, Any]], folder: Path, progress: _Progress) -> bool:
    """Keep what comes of each run, also for its twins, until all have ended; returns whether that was interrupted."""
    numbers: dict[str, list[int]] = {}
    for number, entry in enumerate(entries):
        numbers.setdefault(entry.id, []).append(number)
    trouble = ""
    try:
        with raised():
            for number, word in words:
                if "done" in word:
                    progress.reached(number, min(word["done"], 0.99))
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
                progress.reached(number, 1.0, f"; run {number} failed: {came['failed']}" if "failed" in came else "")
    except KeyboardInterrupt:
        return True
    finally:
        words.close()
        if trouble:
            progress.trouble(trouble)
    return False


def _compile(scenarios: Iterable[Scenario]) -> None:
    """Have on disk what the runs need, once: their processes would all compile the same."""
    from asyncnet.loop.compiled.ahead import compile_ahead

    for scenario in scenarios:
        compile_ahead(scenario)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


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
def _held(folder: Path) -> Iterator[None]:
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
