"""The directory of a run: what was asked, with what it ran, how it went.

    config.toml      the scenario with every default written out         run.json       versions, machine, arguments, status
    metrics.jsonl    one flushed line for each row of progress           progress.csv   the same rows, flat
    returns.csv      every episode: return, length, at which decision    summary.json   what --json prints
    rewards.csv      without episodes: mean rewards                      weights.safetensors    what was learned, by node: actor.1/weight
    probes.csv       numbers of nodes, where some were asked for            traffic.jsonl  ticks and messages as it goes, for asyncnet watch (traffic.py)
    ledger.csv       what became of the messages of every link           digests.json   a digest of every field of every node
    checkpoints/     complete states and weights, the last two (checkpoint.py)       record/        what nodes heard on real clocks (journal.py)
    outside/         the text of rules and tasks from outside the package (outside.py)
    probes.parquet   the numbers of probes.csv, where pyarrow is installed

It appears under its name complete (made aside and renamed), is never overwritten, and `latest` beside it points to the newest.
"""

from __future__ import annotations

import csv
import datetime
import fcntl
import functools
import importlib.util
import io
import os
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from asyncnet.loop import ledger
from asyncnet.loop.counts import Counts
from asyncnet.record.journal import Writer
from asyncnet.runs import durable, provenance, stored, weights
from asyncnet.runs.checkpoint import Checkpoint, save
from asyncnet.runs.result import Result
from asyncnet.runs.stored import BEGINNING, OUTSIDE, About, Digests, Part, Process
from asyncnet.runs.traffic import TRAFFIC
from asyncnet.runs.traffic_log import Log
from asyncnet.scenario import outside
from asyncnet.scenario.model import as_lists
from asyncnet.scenario.schema import Scenario, ScenarioError, changes, read
from asyncnet.team.draw import plan
from asyncnet.text import as_json, in_a_line

METRICS = "metrics.jsonl"
LONGEST = 1e9  # seconds between checkpoints
EPISODES = ("episode", "return", "length", "decisions")  # the last: after how many of the run it ended


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
        about |= {
            "joined": how.get("address") not in (None, "local"),  # which is a Ray of its own
            "argv": provenance.arguments(),
            "resumed": [],
            "scenario": made.data(),
            "changes": as_lists(changes(made)),
            "process": provenance.this_process(),
        }
        brought = outside.needed(made)
        self._hold(made, About(**about, **provenance.about_this_machine(), outside=[each for each, _ in brought]), every, recording)
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
        self._traffic = Log(self.path / TRAFFIC, made)
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
            told = stored.about(path)
            found._hold(stored.scenario_of(path, told, trust), told, every, recording)
        except ScenarioError:
            os.close(lock)
            raise
        found._lock = lock
        return found

    def _hold(self, made: Scenario, about: About, every: float, recording: bool) -> None:
        if not 0.0 <= every <= LONGEST:
            raise ScenarioError("--checkpoint", "", f"seconds, or 0 for none; got {every}")
        self.scenario, self.about, self.every, self.recording = made, about, every, recording
        self._lock: int | None = None
        self._lines: durable.Lines | None = None  # of metrics.jsonl; there if it is this object that writes
        self._rows: list[dict[str, Any]] = []
        self._journal: Writer | None = None
        self._traffic: Log | None = None
        self.trouble: dict[str, str] = {}  # what could not be kept, and why

    @property
    def name(self) -> str:
        """What tells the run from all others: its directory's name."""
        return self.path.name

    def _let_go(self) -> None:
        for held in (self._lines, self._journal, self._traffic):
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

    def go_on(self, rows: list[dict[str, Any]], part: Part, made: Scenario) -> None:
        """Go on after these rows of progress, as `made`, the same of another length or not; `part` is noted in run.json.

        Raises ScenarioError, and nothing is lost, if that cannot be written.
        """
        self.scenario = made
        said = {"status": "running", "resumed": [*self.about.resumed, part], "process": Process(**provenance.this_process())}
        said |= {"scenario": made.data(), "changes": as_lists(changes(made))} if part.before else {}
        self.about = self.about.model_copy(update=said)
        try:
            durable.replace(self.path / "run.json", self._as_json())
            if read(self.path / "config.toml", ours=True) != made:  # its length, then: stored.scenario_of has seen to it
                durable.replace(self.path / "config.toml", made.toml().encode())
                (self.path / "digests.json").unlink(missing_ok=True)  # of another length
            self._lines = durable.Lines(self.path / METRICS)
        except OSError as error:
            raise ScenarioError(str(self.path), "", f"nothing can be written there: {in_a_line(error)}") from None
        for row in rows:
            self.row(row)
        self._traffic = Log(self.path / TRAFFIC, self.scenario, part.at)

    def _marked(self, state: Checkpoint) -> Checkpoint:
        """The same, and of which scenario it is."""
        return state._replace(about=state.about | {"scenario": self.scenario.fingerprint()})

    def checkpoint(self, state: Checkpoint) -> None:
        """Keep a complete state; the last two are kept."""
        now = state.about["now"]
        named = {weights.FILE: weights.packed(weights.of_state(state, self._learned), self.scenario)}
        self._keep(
            "checkpoint", lambda: save(self.path / "checkpoints", now, self._marked(state), named), f"no checkpoint could be written at {now / 1e6:.3f} s"
        )

    @functools.cached_property
    def _learned(self) -> weights.Places:
        return weights.places(self.scenario)

    def segment(self, loop: str, data: bytes) -> None:
        """Keep the next segment of a loop's recording; after one that could not be written there are no more."""
        if "recording" not in self.trouble:
            self._keep("recording", lambda: self._append(loop, data), "the recording ends early")

    def _append(self, loop: str, data: bytes) -> None:
        if self._journal is None:
            self._journal = Writer(stored.recordings(self.path, len(self.about.resumed)))
        self._journal.append(loop, data)

    def beginning(self, state: Checkpoint) -> None:
        """Keep the state at which a recording begins, if that is not the run's own beginning; without it there is no recording."""
        folder = stored.recordings(self.path, len(self.about.resumed)) / BEGINNING
        self._keep("recording", lambda: save(folder, state.about["now"], self._marked(state)), "the recording could not begin")

    def row(self, row: dict[str, Any]) -> None:
        """Append one row of progress, so that a run that dies has told what it did."""
        self._rows.append(row)
        self._keep(METRICS, lambda: self._lines.add(as_json(row) + "\n"), f"{METRICS} is not complete")

    def traffic(self, counts: Counts) -> None:
        """Append what was counted so far, as it is shown (picture.py); from one thread at a time."""
        self._keep(TRAFFIC, lambda: self._traffic.counts(counts), f"{TRAFFIC} is not complete")

    def finish(self, result: Result) -> None:
        """Write how the run ended. What then could not be kept is a reason of the verdict."""
        record = result.record
        self._keep(METRICS, lambda: self._lines.add(""), f"{METRICS} is not complete")
        self._keep(TRAFFIC, lambda: self._traffic.end(record), f"{TRAFFIC} is not complete")
        if self._rows:
            columns = list(dict.fromkeys(key for row in self._rows for key in row))
            self._replace("progress.csv", _csv(columns, ([row.get(key, "") for key in columns] for row in self._rows)))
        if probes := result.probe_rows:
            self._replace("probes.csv", _csv(tuple(probes[0]), (row.values() for row in probes)))
            if importlib.util.find_spec("pyarrow") is not None:
                self._replace("probes.parquet", _parquet({name: [row[name] for row in probes] for name in probes[0]}))
        if record.returns:
            self._replace("returns.csv", _csv(EPISODES, zip(range(1, len(record.returns) + 1), record.returns, record.lengths, record.ends, strict=True)))
        elif record.rewards:
            self._replace("rewards.csv", _csv(("decisions", "mean_reward"), record.rewards))
        if record.weights:
            named = {f"{node}/{key}": array for node, arrays in record.weights.items() for key, array in arrays.items()}
            self._replace(weights.FILE, weights.packed(named, self.scenario))
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


def _parquet(columns: dict[str, list[float]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


def _locked(path: Path) -> int:
    """Hold a run's directory against others; the system lets go of it when this process ends, however it ends."""
    descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ScenarioError(str(path), "", "this run is still running") from None
    return descriptor
