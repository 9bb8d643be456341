"""The directory of a run: what was asked, with what it ran, how it went.

    config.toml      the scenario with every default written out         run.json       versions, machine, arguments, status
    metrics.jsonl    one flushed line for each row of progress           progress.csv   the same rows, flat
    returns.csv      every episode's return                              summary.json   what --json prints
    ledger.csv       what became of the messages of every link           digests.json   a digest of every field of every node
    checkpoints/     complete states, the last two (checkpoint.py)       record/        what nodes heard on real clocks (journal.py)
    outside/         the text of rules and tasks from outside the package (outside.py)

It appears under its name complete (made aside and renamed), is never overwritten, and `latest` beside it points to the newest.
"""

from __future__ import annotations

import csv
import datetime
import fcntl
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from asyncnet.loop import ledger
from asyncnet.runs import durable
from asyncnet.scenario import outside, schema as scenario
from asyncnet.runs.checkpoint import Checkpoint, save
from asyncnet.record.journal import Writer
from asyncnet.scenario.model import Model
from asyncnet.scenario.outside import Outside
from asyncnet.scenario.reading import LARGEST_FILE
from asyncnet.runs.result import Result
from asyncnet.scenario.schema import Scenario, ScenarioError
from asyncnet.team.draw import plan
from asyncnet.text import as_json, in_a_line, printable

BEGINNING = "from"
METRICS = "metrics.jsonl"
OUTSIDE = "outside"
PACKAGES = ("asyncnet", "numpy", "numba", "gymnasium", "ray", "pyzmq", "msgpack", "pydantic")
VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED", "SLURM_JOB_ID")


class Process(Model):
    """The process that executes a run; with the time it began at its number is nobody else's."""

    host: str
    pid: int
    began: float  # seconds since 1970


class Part(Model):
    """A part of a run that was resumed: the simulated or real microseconds at which it went on, and how."""

    at: int
    how: str
    engine: Literal["embedded", "ray"]


class About(Model):
    """run.json. The address of a cluster is not in it: joining a cluster runs its code, so only a user names one."""

    status: str
    engine: Literal["embedded", "ray"]
    how: dict[str, bool | int | float | str | None]  # the engine's options
    joined: bool = False  # whether an address was given
    argv: list[str] = []
    started: str = ""
    resumed: list[Part]
    process: Process | None = None
    versions: dict[str, str | None]
    machine: dict[str, str | int | None] = {}
    environment: dict[str, str] = {}
    commit: str | None = None
    scenario: dict[str, Any] | None = None  # what config.toml said
    outside: list[Outside] = []  # rules, tasks and the like from outside the package; their texts are in outside/


class Digests(Model):
    """digests.json."""

    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    scenario: str | None = None  # Scenario.fingerprint
    nodes: dict[str, Annotated[str, Field(pattern="^([0-9a-f]{2})*$")]]


class Marks(Model, extra="ignore"):
    """What a run's directory needs to know of a checkpoint; the rest is looked at by sound.py."""

    decisions: Annotated[int, Field(ge=0)]
    scenario: str  # Scenario.fingerprint


class RunDirectory:
    """Writes one run's files under `parent`; use as a context manager. It is a Keeper (record.py).

    `how` are the engine's options, for whoever resumes or verifies the run; `every` are seconds between checkpoints (0: none), `recording` says whether a
    run on real clocks is recorded. Raises ScenarioError if the directory cannot be made. What cannot be written after that does not end the run: `trouble`
    says what, and why.
    """

    def __init__(self, parent: Path, made: Scenario, engine: str, how: dict[str, Any], *, every: float = 0.0, recording: bool = False) -> None:
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        name = f"{made.task.name}__{made.rule.name}__{made.name}__s{made.seed}__{stamp}-{secrets.token_hex(3)}"
        about = {"status": "running", "engine": engine, "how": {key: value for key, value in how.items() if key != "address"}, "started": stamp}
        about |= {"joined": how.get("address") is not None, "argv": arguments(), "resumed": [], "scenario": made.data(), "process": this_process()}
        brought = outside.needed(made)
        self._hold(made, About(**about, **about_this_machine(), outside=[each for each, _ in brought]), every, recording)
        self.path, aside = parent / name, parent / f".{name}.part"
        try:
            parent.mkdir(parents=True, exist_ok=True)
            aside.mkdir()
            self._lock = _locked(aside)
            (aside / "config.toml").write_text(made.toml())
            for each, text in brought:
                (aside / OUTSIDE).mkdir(exist_ok=True)
                (aside / OUTSIDE / f"{each.module}.py").write_bytes(text.encode())
                outside.note_as_known(each.sha256)
            (aside / "run.json").write_bytes(self._as_json())
            self._lines = durable.Lines(aside / METRICS)
            aside.rename(self.path)
        except OSError as error:
            self._let_go()
            with suppress(OSError):
                durable.discard(aside)
            raise ScenarioError("--out", "", f"no run can be kept in {parent}: {in_a_line(error)}") from None
        self._keep("latest", lambda: self._point(parent / "latest"))

    @classmethod
    def again(cls, path: Path, *, every: float, recording: bool, trust: bool = False) -> RunDirectory:
        """The directory of a run that is there already; `go_on` before it writes. Raises ScenarioError if somebody else writes to it, or if it is damaged."""
        found = cls.__new__(cls)
        found.path = path
        try:
            lock = _locked(path)
        except OSError as error:
            raise ScenarioError(str(path), "", f"nothing can be written there: {in_a_line(error)}") from None
        try:
            told = about(path)
            found._hold(scenario_of(path, told, trust), told, every, recording)
        except ScenarioError:
            os.close(lock)
            raise
        found._lock = lock
        return found

    def _hold(self, made: Scenario, about: About, every: float, recording: bool) -> None:
        self.scenario, self.about, self.every, self.recording = made, about, every, recording
        self._lock: int | None = None
        self._lines: durable.Lines | None = None  # of metrics.jsonl; there if it is this object that writes
        self._rows: list[dict[str, Any]] = []
        self._journal: Writer | None = None
        self.trouble: dict[str, str] = {}  # what could not be kept, and why

    def _let_go(self) -> None:
        for held in (self._lines, self._journal):
            if held is not None:
                held.close()
        if self._lock is not None:
            os.close(self._lock)

    def _as_json(self) -> bytes:
        return f"{as_json(self.about.model_dump(), indent=2)}\n".encode()

    def _point(self, latest: Path) -> None:
        aside = latest.with_name(f".latest-{secrets.token_hex(3)}")
        aside.symlink_to(self.path.name)
        try:
            aside.replace(latest)
        except OSError:
            aside.unlink()
            raise

    def _keep(self, what: str, write: Callable[[], None], why: str = "") -> None:
        """Write something; that a disk does not take it is said in `trouble`, until it does."""
        try:
            write()
        except OSError as error:
            self.trouble[what] = f"{why or f'{what} could not be written'}: {in_a_line(error)}"
        else:
            self.trouble.pop(what, None)

    def _replace(self, name: str, data: bytes) -> None:
        self._keep(name, lambda: durable.replace(self.path / name, data))

    def _stands(self, status: str) -> None:
        self.about = self.about.model_copy(update={"status": status})
        self._replace("run.json", self._as_json())

    def go_on(self, rows: list[dict[str, Any]], part: Part) -> None:
        """Go on after these rows of progress; `part` is noted in run.json. Raises ScenarioError, and nothing is lost, if that cannot be written."""
        self.about = self.about.model_copy(update={"status": "running", "resumed": [*self.about.resumed, part], "process": Process(**this_process())})
        try:
            durable.replace(self.path / "run.json", self._as_json())
            self._lines = durable.Lines(self.path / METRICS)
        except OSError as error:
            raise ScenarioError(str(self.path), "", f"nothing can be written there: {in_a_line(error)}") from None
        for row in rows:
            self.row(row)

    def _marked(self, state: Checkpoint) -> Checkpoint:
        """The same, and of which scenario it is."""
        return state._replace(about=state.about | {"scenario": self.scenario.fingerprint()})

    def checkpoint(self, state: Checkpoint) -> None:
        """Keep a complete state; the last two are kept."""
        now = state.about["now"]
        self._keep("checkpoint", lambda: save(self.path / "checkpoints", now, self._marked(state)), f"no checkpoint could be written at {now / 1e6:.3f} s")

    def segment(self, loop: str, data: bytes) -> None:
        """Keep the next segment of a loop's recording; after one that could not be written there are no more."""
        if "recording" not in self.trouble:
            self._keep("recording", lambda: self._append(loop, data), "the recording ends early")

    def _append(self, loop: str, data: bytes) -> None:
        if self._journal is None:
            self._journal = Writer(recordings(self.path, len(self.about.resumed)))
        self._journal.append(loop, data)

    def beginning(self, state: Checkpoint) -> None:
        """Keep the state at which a recording begins, if that is not the run's own beginning; without it there is no recording."""
        folder = recordings(self.path, len(self.about.resumed)) / BEGINNING
        self._keep("recording", lambda: save(folder, state.about["now"], self._marked(state)), "the recording could not begin")

    def row(self, row: dict[str, Any]) -> None:
        """Append one row of progress, so that a run that dies has told what it did."""
        self._rows.append(row)
        self._keep(METRICS, lambda: self._lines.add(as_json(row) + "\n"), f"{METRICS} is not complete")

    def finish(self, result: Result) -> None:
        """Write how the run ended. What then could not be kept is a reason of the verdict."""
        record = result.record
        self._keep(METRICS, lambda: self._lines.add(""), f"{METRICS} is not complete")
        if self._rows:
            columns = list(dict.fromkeys(key for row in self._rows for key in row))
            self._replace("progress.csv", _csv(columns, ([row.get(key, "") for key in columns] for row in self._rows)))
        if record.returns:
            self._replace("returns.csv", _csv(("episode", "return"), enumerate(record.returns, 1)))
        if record.ledger.size:
            links = zip(ledger.names(plan(self.scenario)), record.ledger.T.tolist(), strict=True)
            self._replace("ledger.csv", _csv(("link", *ledger.COLUMNS), ((name, *row) for name, row in links)))
        if record.digest:
            digests = Digests(digest=record.digest, scenario=self.scenario.fingerprint(), nodes=record.fields)
            self._replace("digests.json", f"{as_json(digests.model_dump(), indent=2)}\n".encode())
        self._replace("summary.json", f"{as_json(result.summary(), indent=2)}\n".encode())
        self._stands(record.stopped)

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        if error is not None and self._lines is not None:
            said = str(error) if isinstance(error, ScenarioError) else f"{type(error).__name__}: {in_a_line(error)}"
            self._stands("interrupted" if isinstance(error, KeyboardInterrupt) else f"failed: {said}")
        self._let_go()


def _csv(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def find(run: str | Path) -> Path:
    """The directory of a run; raises ScenarioError if it is none."""
    path = Path(run)
    if not (path / "run.json").is_file():
        raise ScenarioError(str(run), "", "is not the directory of a run (there is no run.json in it)")
    return path.resolve()


def about(path: Path) -> About:
    """What run.json says; raises ScenarioError if that cannot be read."""
    found = _read(path / "run.json", About)
    how = {name: value for name, value in found.how.items() if name != "address"}
    return found.model_copy(update={"how": how, "joined": found.joined or "address" in found.how})


def digests(path: Path, made: Scenario) -> Digests:
    """What digests.json says of a run of that scenario; raises ScenarioError if that cannot be read."""
    found = _read(path / "digests.json", Digests)
    if found.scenario not in (None, made.fingerprint()):
        raise ScenarioError(str(path / "digests.json"), "scenario", "is another than that of config.toml")
    return found


def _bring_back(path: Path, told: About, trust: bool) -> None:
    """Take in what the run had from outside the package, in the text that it had; raises ScenarioError if that is code which nobody has brought here before."""
    for each in told.outside:
        kept = path / OUTSIDE / f"{each.module}.py"
        try:
            text = durable.read(kept, LARGEST_FILE)
        except (OSError, ValueError) as error:
            raise ScenarioError(str(kept), "", in_a_line(error)) from None
        if hashlib.sha256(text).hexdigest() != each.sha256:
            raise ScenarioError(str(kept), "", "edited since this run began: its SHA-256 is not that in run.json")
        if not (trust or outside.is_known(each.sha256)):
            raise ScenarioError(str(kept), "", "is code that was never run on this machine: read it, and say --trust (trust=True) to run it")
        outside.take_in(each, text, str(kept))


def scenario_of(path: Path, told: About, trust: bool = False) -> Scenario:
    """The scenario in config.toml; raises ScenarioError if it is not the one with which the run was started.

    What the run had from outside the package is taken in: code, which is executed if it was brought on this machine before, or with `trust`.
    """
    _bring_back(path, told, trust)
    made = scenario.read(path / "config.toml")
    if told.scenario is not None and told.scenario != made.data():
        raise ScenarioError(str(path / "config.toml"), scenario.differing(told.scenario, made.data()), "is not what this run was started with (run.json)")
    return made


def standing(told: About, held: bool | None) -> str:
    """How a run stands: what run.json says, unless that is "running" and nobody executes it any more; `held` as `held` says."""
    if told.status != "running":
        return told.status
    process = told.process
    if held or (held is None and process is not None and process.model_dump() == this_process(process.pid)):
        return "running"
    if process is not None and process.host != platform.node():
        return f"running on {process.host}, unless it died there"
    return "dead: its process is gone"


def held(path: Path) -> bool | None:
    """Whether somebody holds a run's directory; None if that cannot be seen."""
    try:
        descriptor = os.open(path / ".lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False


def recordings(path: Path, resumed: int) -> Path:
    """The folder of a run's recording: one for the run's beginning, and one for each time it was resumed."""
    return path / "record" / f"{resumed:03d}"


def marks(state: Checkpoint, where: Path) -> Marks:
    """What a run's directory needs to know of a checkpoint; raises ScenarioError."""
    return _checked(state.about, where, Marks)


def _read(path: Path, kind: type[Model]) -> Any:
    try:
        found = json.loads(durable.read(path, LARGEST_FILE << 6))
    except OSError as error:
        raise ScenarioError(str(path), "", in_a_line(error)) from None
    except (ValueError, RecursionError) as error:
        raise ScenarioError(str(path), "", f"not JSON: {in_a_line(error)}") from None
    return _checked(found, path, kind)


def _checked(found: Any, where: Path, kind: type[Model]) -> Any:
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ScenarioError(str(where), ".".join(str(key) for key in first["loc"]), first["msg"]) from None


def _locked(path: Path) -> int:
    """Hold a run's directory against others; the system lets go of it when this process ends, however it ends."""
    descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ScenarioError(str(path), "", "this run is still running") from None
    return descriptor


def this_process(pid: int | None = None) -> dict[str, Any] | None:
    """A process of this machine (None: this one) as in Process; None if there is none of that number."""
    import psutil

    try:
        found = psutil.Process(pid)
        return {"host": platform.node(), "pid": found.pid, "began": found.create_time()}
    except (psutil.Error, ValueError, OverflowError):
        return None


def about_this_machine() -> dict[str, Any]:
    """Versions, processor and the few environment variables that matter; nothing else of the environment is recorded."""
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "machine": {"host": platform.node(), "system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
        "environment": {name: printable(os.environ[name]) for name in VARIABLES if name in os.environ},
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
    """The commit of asyncnet's own text, "-dirty" if tracked files are others: that of the checkout it runs from, or was installed from; None if unknown."""
    file = Path(__file__).resolve()
    here = file.parent.parent
    found = _git(here, "rev-parse", "HEAD", "--show-toplevel")
    commit, _, top = (found or "").strip().partition("\n")
    # An environment often lies inside somebody else's repository.
    if top and Path(top) == here.parent and _git(here, "ls-files", "--error-unmatch", str(file.relative_to(here))) is not None:
        return commit + ("-dirty" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    with suppress(importlib.metadata.PackageNotFoundError, ValueError, AttributeError, TypeError):
        if Path(importlib.metadata.distribution("asyncnet").locate_file("asyncnet")) == here:
            return json.loads(importlib.metadata.distribution("asyncnet").read_text("direct_url.json")).get("vcs_info", {}).get("commit_id")
    return None


def _git(here: Path, *words: str) -> str | None:
    """What git says there; None if it refuses."""
    try:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired, UnicodeError):
        return None
    return done.stdout if done.returncode == 0 else None


def arguments() -> list[str]:
    """The command line, for the record."""
    return [printable(word) for word in (Path(sys.argv[0]).name, *sys.argv[1:])] if sys.argv and sys.argv[0] else []
