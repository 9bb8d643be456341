"""The directory of a run: what was asked, with what it ran, how it went.

    config.toml      the scenario with every default written out         run.json       versions, machine, arguments, status
    metrics.jsonl    one flushed line for each row of progress           progress.csv   the same rows, flat
    returns.csv      every episode's return                              summary.json   what --json prints
    ledger.csv       what became of the messages of every link           digests.json   a digest of every field of every node
    checkpoints/     complete states, the last two (checkpoint.py)       record/        what nodes heard on real clocks (journal.py)

It appears under its name complete (made aside and renamed), is never overwritten, and `latest` beside it points to the newest.
"""

from __future__ import annotations

import csv
import datetime
import fcntl
import importlib.metadata
import json
import os
import platform
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any, TextIO

from asyncnet import durable, ledger
from asyncnet.checkpoint import Checkpoint, save
from asyncnet.journal import Writer
from asyncnet.network import Plan
from asyncnet.reading import LARGEST_FILE
from asyncnet.record import Record
from asyncnet.scenario import Scenario, ScenarioError

BEGINNING = "from"
PACKAGES = ("asyncnet", "numpy", "numba", "gymnasium", "ray", "pyzmq", "msgpack", "pydantic")
VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED", "SLURM_JOB_ID")


class RunDirectory:
    """Writes one run's files under `parent`; use as a context manager. It is a Keeper (record.py).

    `how` are the engine's options, for whoever resumes or verifies the run; `every` are seconds between checkpoints (0: none), `recording` says whether a
    run on real clocks is recorded.
    """

    def __init__(self, parent: Path, scenario: Scenario, engine: str, how: dict[str, Any], *, every: float = 0.0, recording: bool = False) -> None:
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        name = f"{scenario.task.name}__{scenario.rule.name}__{scenario.name}__s{scenario.seed}__{stamp}-{secrets.token_hex(3)}"
        parent.mkdir(parents=True, exist_ok=True)
        self.path = parent / name
        aside = parent / f".{name}.part"
        aside.mkdir()
        (aside / "config.toml").write_text(scenario.toml())
        self.about = {"status": "running", "engine": engine, "how": how, "argv": arguments(), "started": stamp, "resumed": [], **about_this_machine()}
        (aside / "run.json").write_text(json.dumps(self.about, indent=2) + "\n")
        aside.rename(self.path)
        link = parent / f".latest-{secrets.token_hex(3)}"
        link.symlink_to(name)
        link.replace(parent / "latest")
        self._hold(every, recording)
        self._metrics = (self.path / "metrics.jsonl").open("w")

    @classmethod
    def again(cls, path: Path, *, every: float, recording: bool) -> RunDirectory:
        """The directory of a run that is there already; `go_on` before it writes. Raises ScenarioError if somebody else writes to it."""
        made = cls.__new__(cls)
        made.path = path
        made._hold(every, recording)
        made.about = about(path)
        return made

    def _hold(self, every: float, recording: bool) -> None:
        self.every, self.recording = every, recording
        self._lock = _locked(self.path)
        self._metrics: TextIO | None = None
        self._rows: list[dict[str, Any]] = []
        self._journal: Writer | None = None
        self.trouble: dict[str, str] = {}  # what could not be kept, and why

    def go_on(self, rows: list[dict[str, Any]], **more: Any) -> None:
        """Go on after these rows of progress; `more` is noted in run.json under "resumed"."""
        self.about = {**self.about, "status": "running", "resumed": [*self.about["resumed"], more]}
        _replace(self.path / "run.json", json.dumps(self.about, indent=2) + "\n")
        self._metrics = (self.path / "metrics.jsonl").open("w")
        for row in rows:
            self.row(row)

    def checkpoint(self, state: Checkpoint) -> None:
        """Keep a complete state; the last two are kept. A disk that is full does not end the run: it is said in `trouble`."""
        try:
            save(self.path / "checkpoints", state.about["now"], state)
        except OSError as error:
            self.trouble["checkpoint"] = f"no checkpoint could be written at {state.about['now'] / 1e6:.3f} s: {error.strerror or error}"

    def segment(self, loop: str, data: bytes) -> None:
        """Keep the next segment of a loop's recording; after one that could not be written there are no more, and `trouble` says so."""
        if "recording" in self.trouble:
            return
        try:
            if self._journal is None:
                self._journal = Writer(recordings(self.path, len(self.about["resumed"])))
            self._journal.append(loop, data)
        except OSError as error:
            self.trouble["recording"] = f"the recording ends early: {error.strerror or error}"

    def beginning(self, state: Checkpoint) -> None:
        """Keep the state at which a recording begins, if that is not the run's own beginning."""
        save(recordings(self.path, len(self.about["resumed"])) / BEGINNING, state.about["now"], state)

    def row(self, row: dict[str, Any]) -> None:
        """Append one row of progress, so that a run that dies has told what it did."""
        self._metrics.write(json.dumps(row) + "\n")
        self._metrics.flush()
        self._rows.append(row)

    def finish(self, summary: dict[str, Any], record: Record, team: Plan) -> None:
        """Write how the run ended."""
        if self._rows:
            columns = list(dict.fromkeys(key for row in self._rows for key in row))
            with (self.path / "progress.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(self._rows)
        if record.returns:
            (self.path / "returns.csv").write_text("episode,return\n" + "".join(f"{i},{value!r}\n" for i, value in enumerate(record.returns, 1)))
        with (self.path / "ledger.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("link", *ledger.COLUMNS))
            writer.writerows((name, *row) for name, row in zip(ledger.names(team), record.ledger.T.tolist(), strict=True))
        _replace(self.path / "digests.json", json.dumps({"digest": record.digest, "nodes": record.fields}, indent=2) + "\n")
        _replace(self.path / "summary.json", json.dumps(summary, indent=2) + "\n")
        _replace(self.path / "run.json", json.dumps({**self.about, "status": summary["stopped"]}, indent=2) + "\n")

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        if self._metrics is not None:
            self._metrics.close()
        if self._journal is not None:
            self._journal.close()
        os.close(self._lock)


def find(run: str | Path) -> Path:
    """The directory of a run; raises ScenarioError if it is none."""
    path = Path(run)
    if not (path / "run.json").is_file():
        raise ScenarioError(str(run), "", "is not the directory of a run (there is no run.json in it)")
    return path.resolve()


def about(path: Path) -> dict[str, Any]:
    """What run.json says; raises ScenarioError if that cannot be read."""
    return _json(path / "run.json", "status", "engine", "how", "resumed", "versions")


def digests(path: Path) -> dict[str, Any]:
    """What digests.json says; raises ScenarioError if that cannot be read."""
    return _json(path / "digests.json", "digest", "nodes")


def recordings(path: Path, resumed: int) -> Path:
    """The folder of a run's recording: one for the run's beginning, and one for each time it was resumed."""
    return path / "record" / f"{resumed:03d}"


def _json(path: Path, *keys: str) -> dict[str, Any]:
    try:
        found = json.loads(durable.read(path, LARGEST_FILE << 6))
    except OSError as error:
        raise ScenarioError(str(path), "", error.strerror or str(error)) from None
    except (ValueError, RecursionError) as error:
        raise ScenarioError(str(path), "", f"not JSON: {error}") from None
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            raise ScenarioError(str(path), key, "is missing")
    return found


def _locked(path: Path) -> int:
    """Hold a run's directory against others; the system lets go of it when this process ends, however it ends."""
    descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ScenarioError(str(path), "", "this run is still running") from None
    return descriptor


def about_this_machine() -> dict[str, Any]:
    """Versions, processor and the few environment variables that matter; nothing else of the environment is recorded."""
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "machine": {"host": platform.node(), "system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "commit": _commit(),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _commit() -> str | None:
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _replace(path: Path, text: str) -> None:
    durable.replace(path, text.encode())


def arguments() -> list[str]:
    """The command line, for the record."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]] if sys.argv and sys.argv[0] else []
