"""What a run's directory says, read again: strict models of its files, its scenario, and whether the run still runs. A directory is trusted for nothing."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from asyncnet.runs import durable
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.runs.provenance import this_process
from asyncnet.scenario import outside, schema
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.model import Model
from asyncnet.scenario.outside import Outside
from asyncnet.scenario.reading import LARGEST_FILE
from asyncnet.scenario.schema import Scenario
from asyncnet.text import in_a_line

BEGINNING = "from"
OUTSIDE = "outside"


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
    before: dict[Literal["decisions", "episodes"], Annotated[int, Field(ge=1)]] | None = None  # the run's length until then, where it was given another


class About(Model):
    """run.json. A cluster's address is in it at most as a word of the command line, never taken from there: joining runs its code, so only a user names one."""

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
    changes: dict[str, Any] | None = None  # against the shipped scenario of that name
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


def time_of(engine: str, how: Mapping[str, Any]) -> str:
    """Whether an engine with these options runs in simulated time, "virtual", or in real time, "wall"."""
    return how.get("time") or ("wall" if engine == "ray" else "virtual")


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
    made = schema.read(path / "config.toml", ours=True)
    if told.scenario is not None and told.scenario != made.data():
        given = _given_another_length(told, made, path / "run.json")
        if given is None:
            raise ScenarioError(str(path / "config.toml"), schema.differing(told.scenario, made.data()), "is not what this run was started with (run.json)")
        return given
    return made


def _given_another_length(told: About, made: Scenario, where: Path) -> Scenario | None:
    """The scenario of run.json, if config.toml differs in a length only that the run had before: it was broken off while it was given another."""
    if not any(part.before for part in told.resumed):
        return None
    given = schema.check(told.scenario, str(where))
    return given if made in earlier(told, given) else None


def earlier(told: About, made: Scenario) -> list[Scenario]:
    """The scenario with each length that the run had before, the first first."""
    return [of_length(made, part.before) for part in told.resumed if part.before]


def of_part(told: About, made: Scenario, number: int) -> Scenario:
    """The scenario with the length that the run had in its part of that number: 0 is its beginning, each time that it was resumed begins another."""
    return next((of_length(made, part.before) for part in told.resumed[number:] if part.before), made)


def of_length(scenario: Scenario, length: Mapping[str, int]) -> Scenario:
    """The same scenario of another length."""
    return scenario.replace({f"task.{unit}": count for unit, count in length.items()})


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


SHOWN = (  # figures of a summary
    "mean_reward",
    "last_mean_reward",
    "mean_squared_error",
    "last_mean_squared_error",
    "mean_return",
    "last_mean_return",
    "on_time",
    "final",
    "missing",
    "action_delay",
    "decisions_per_second",
)


_Bin = tuple[Annotated[float, Field(gt=0, le=1e15)], Annotated[int, Field(gt=0, le=2**53)]]
Spread = list[Annotated[_Bin, Field(strict=False)]]  # JSON has no tuples


class Measured(Model, extra="allow"):
    """What only real clocks have, as far as it is shown: by actor and channel how many messages took so many microseconds on the wire."""

    wire_us: dict[str, dict[str, Annotated[Spread, Field(min_length=1, max_length=10_000)]]] = {}


class Summed(Model, extra="allow"):
    """summary.json, as far as it is shown."""

    scenario: str
    decisions: int
    episodes: int
    digest: str
    verdict: Literal["pass", "unknown", "fail"]
    reasons: list[str]
    run_dir: str | None
    links: dict[str, dict[str, float | int | None]]
    nodes: dict[str, dict[str, float | int | None]] = {}
    ledger: dict[str, dict[str, int]] = {}
    lateness: list[Annotated[int, Field(ge=0)]] | None = None
    simulated_s: Annotated[float, Field(ge=0)] | None = None
    measured: Measured = Measured()


def summary(path: Path) -> dict[str, Any]:
    """What summary.json says; raises ScenarioError where there is none, with how the run stands, or where it cannot be read."""
    if not (path / "summary.json").is_file():
        raise ScenarioError(str(path), "", f"has no summary: {standing(about(path), held(path))}; asyncnet resume goes on with what was interrupted")
    found = _read(path / "summary.json", Summed).model_dump()
    missing = [figure for figure in SHOWN if figure not in found or not isinstance(found.get(figure), (int, float, type(None)))]
    if missing:
        raise ScenarioError(str(path / "summary.json"), missing[0], "is no number")
    return found


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
