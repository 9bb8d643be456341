"""Running, resuming and redoing a run from Python; asyncnet/__init__.py says where the other names are."""

from __future__ import annotations

import importlib
import inspect
import time
import typing
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pydantic

from asyncnet.kernels.kernel import telling
from asyncnet.loggers.logger import Logger, Logs, made_of
from asyncnet.runs import provenance, snapshot, stored
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.runs.checkpoint import load as load_checkpoint
from asyncnet.runs.record import Record, Reporter, begun
from asyncnet.runs.result import Check, Result, difference
from asyncnet.runs.rundir import RunDirectory
from asyncnet.scenario.mistakes import near
from asyncnet.scenario.names import ConditionName, ScenarioName
from asyncnet.scenario.reading import condition, conditions, find, read_toml, setting, several, shipped
from asyncnet.scenario.schema import Scenario, ScenarioError, read
from asyncnet.team.draw import plan
from asyncnet.team.prospects import prospects
from asyncnet.text import in_a_line

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncnet.runs.live import Live

# Engines are named by strings, so that naming one does not import it. Each has `run`, and `check`, which refuses what it cannot run before anything is made.
Engine = Literal["embedded", "ray"]
RESTARTS, WITHIN = 3, 300.0  # times that a run on Ray goes on from its last checkpoint by itself, within so many seconds
EVENTS = 100_000  # of a timeline, unless told otherwise
ENGINES = {"embedded": "asyncnet.runs.embedded", "ray": "asyncnet.actors.engine"}


def list_scenarios() -> dict[str, str]:
    """The shipped scenarios: name -> the question each asks."""
    return {name: str(read_toml(path).get("question", "")) for name, path in shipped().items()}


def list_tasks() -> dict[str, str]:
    """The task of each shipped scenario: an environment's id, or the task's name."""
    tasks = {name: read_toml(path)["task"] for name, path in shipped().items()}
    return {name: task.get("id", task["name"]) for name, task in tasks.items()}


def list_conditions() -> dict[str, str]:
    """The conditions: name -> what each does."""
    return {name: str(read_toml(path).get("line", "")) for name, path in conditions().items()}


def list_studies() -> dict[str, str]:
    """The studies that ship: name -> the question each asks."""
    return {name: str(read_toml(path).get("question", "")) for name, path in shipped("studies").items()}


def load(name: ScenarioName | str | Path, under: ConditionName | str | Iterable[ConditionName | str] = (), settings: str | Iterable[str] = ()) -> Scenario:
    """A scenario by shipped name or path of a TOML file, under conditions, with `key=value` settings; raises ScenarioError."""
    return read(find(str(name)), under, [setting(text) for text in several(settings)])


def validate(path: str | Path) -> Scenario:
    """The scenario in a file, if it is sound; raises ScenarioError with file, key and reason."""
    return read(find(str(path)))


class Quiet:
    """A reporter that says nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def row(self, row: dict[str, Any]) -> None:
        """Say nothing."""


class _Both:
    """A reporter that also keeps the rows in the run's directory, and logs them."""

    def __init__(self, shown: Reporter, kept: RunDirectory | None, logs: Logs) -> None:
        self.note, self._shown, self._kept, self._logs = shown.note, shown, kept, logs

    def row(self, row: dict[str, Any]) -> None:
        if self._kept:
            self._kept.row(row)
        self._logs.row(row)
        self._shown.row(row)


def run(
    scenario: Scenario | ScenarioName | str | Path,
    engine: Engine = "embedded",
    *,
    seed: int | None = None,
    under: ConditionName | str | Iterable[ConditionName | str] = (),
    out: str | Path | None = "runs",
    checkpoint: float = 60.0,
    record: bool = True,
    check_determinism: bool = False,
    memory: float | None = None,
    reporter: Reporter | None = None,
    on_progress: Callable[[Live], None] | None = None,
    every: int = 1000,
    probe: str | Iterable[str] = (),
    loggers: str | Logger | Iterable[str | Logger] = (),
    checks: Check | Iterable[Check] = (),
    progress: bool = False,
    **options: Any,
) -> Result:
    """Run a scenario and return what came of it.

    `engine` is "embedded" or "ray"; `options` are the engine's own (time, loop; for ray also pack, wire, address, restart). `out` is the folder in which
    the run's directory is made, None for none. In it a checkpoint is written every so many seconds (0: none), and in wall time with `record` what the nodes
    hear. `memory` is what the run may take, in GiB (None: a share of the machine's). `check_determinism` executes twice and fails if the second run ends in
    other bits; only simulated time has this property. Embedded, `on_progress` is called `every` so many decisions (or episodes, where the run's length is given
    in these) with what it may look at (live.py), and `probe` names numbers that are written down then ("actor.1.weight_norm"). `loggers` get every row of
    progress: "tensorboard", "wandb", "csv" (in the run's directory), or objects such as Logger. `checks` are functions of the result that return what is wrong
    with it, a sentence or several; then the verdict is "fail". `progress` shows how it is going, in a terminal or a notebook.
    Raises ScenarioError for a bad scenario, before anything starts. An interrupt (or KeyboardInterrupt) ends the run early and still returns its result
    (record.stopped is "interrupted").
    """
    if progress and reporter is None:
        from asyncnet.console import reporter as suitable

        how: dict[str, Any] = {"seed": seed, "under": under, "out": out, "checkpoint": checkpoint, "record": record, "memory": memory}
        how |= {"check_determinism": check_determinism, "on_progress": on_progress, "every": every, "probe": probe, "loggers": loggers, "checks": checks}
        with suitable() as live:
            return run(scenario, engine, reporter=live, **how, **options)
    made = scenario if isinstance(scenario, Scenario) else load(scenario, under)
    if isinstance(scenario, Scenario) and under:
        made = made.under_layers(map(condition, several(under)))
    if seed is not None:
        made = made.replace(seed=seed)
    start = _engine(engine, made, options, memory)
    logging = made_of(loggers, kept=out is not None)
    if check_determinism and stored.time_of(engine, options) != "virtual":
        raise ScenarioError("--check-determinism", "", "real clocks do not repeat; a recording can be replayed (asyncnet replay)")
    shown, probes, checking = reporter or Quiet(), None, _checks(checks)
    watched = dict(options)
    if on_progress is not None or probe:
        from asyncnet.runs.live import Probes, watch_of

        if engine != "embedded":
            raise ScenarioError("on_progress, probe", "", "are for the embedded engine")
        probes = Probes(made, several(probe)) if probe else None
        watched["watch"] = watch_of(every, [call for call in (probes, on_progress) if call is not None])
    for line in prospects(made, plan(made)):
        shown.note(line)
    if out is None:
        trouble: dict[str, str] = {}
        with closing(Logs(logging, made, None, trouble)) as logs:
            first = start(made, _Both(shown, None, logs), **watched)
            again = _again(made, start, options, first, shown) if check_determinism else None
            result = Result(made, engine, first, again=again, trouble=trouble.values(), probes=probes.rows if probes else (), checks=checking)
            logs.end(result.summary)
            return result
    with (
        RunDirectory(Path(out), made, engine, options, every=checkpoint, recording=record) as kept,
        closing(Logs(logging, made, kept.path, kept.trouble)) as logs,
    ):
        begun(shown, _title(made), kept.path)
        first = start(made, _Both(shown, kept, logs), kept=kept, **watched)
        again = _again(made, start, options, first, shown) if check_determinism else None
        rows = probes.rows if probes else ()
        result = Result(made, engine, first, kept.path, again=again, trouble=kept.trouble.values(), probes=rows, checks=checking)
        logs.end(result.summary)
        kept.finish(result)
    how = {"checkpoint": checkpoint, "record": record, "memory": memory, "reporter": shown, "loggers": loggers, "checks": checking}
    return _outlast(result, engine, options, how)


def _checks(given: Check | Iterable[Check]) -> list[Check]:
    """Somebody's checks; TypeError if they are none."""
    found: list[Check] = [given] if callable(given) else list(given)
    if not all(map(callable, found)):
        raise TypeError(f"checks are functions of a result, got {given!r}")
    return found


def _outlast(result: Result, engine: Engine | None, options: dict[str, Any], how: dict[str, Any]) -> Result:
    """Have a run on Ray that lost a part which it does not go on without go on from its last checkpoint, RESTARTS times at most within WITHIN seconds."""
    begun: deque[float] = deque(maxlen=RESTARTS)
    while result.run_dir is not None and result.record.lost and options.get("restart") != "never":
        if len(begun) == RESTARTS and time.monotonic() - begun[0] < WITHIN:
            how["reporter"].note(f"{result.record.stopped}, after {RESTARTS} times of going on within {WITHIN:.0f} s: no more")
            break
        begun.append(time.monotonic())
        how["reporter"].note(f"{result.record.stopped}; going on from the last checkpoint")
        try:
            result = _resume(result.run_dir, engine, trust=True, asked=(), options=options, **how)
        except ScenarioError as error:
            how["reporter"].note(f"it cannot: {error}")
            break
    return result


def _again(made: Scenario, start: Callable[..., Record], options: dict[str, Any], first: Record, shown: Reporter) -> Record | None:
    """The run once more, to compare; None if there is nothing to compare, for one of the two has not finished."""
    if first.stopped != "finished":
        return None
    shown.note("once more, to compare")
    again = start(made, Quiet(), **options)
    if again.stopped != "finished":
        shown.note(f"not compared: {again.stopped}")
        return None
    if again.digest == first.digest:
        shown.note(f"identical: digest {first.digest[:16]} twice")
    return again


def resume(
    run_dir: str | Path,
    engine: Engine | None = None,
    *,
    checkpoint: float = 60.0,
    record: bool = True,
    memory: float | None = None,
    trust: bool = False,
    set: Mapping[str, Any] | str | Iterable[str] = (),
    reporter: Reporter | None = None,
    loggers: str | Logger | Iterable[str | Logger] = (),
    checks: Check | Iterable[Check] = (),
    **options: Any,
) -> Result:
    """Go on with a run from its last checkpoint, in its own directory, and return what came of the whole.

    `set` gives it another length, {"task.episodes": 2000}, and so one that has finished can go on too: to the end of a run that had been asked for it at once.
    In simulated time the end is that of a run never interrupted, to the bit, and `engine` and `options` may be others than before. In wall time nothing is lost
    but the time since the checkpoint; the run goes on from there as good as before, not in the same bits. What it needs from outside the package is
    what the directory holds; `trust` lets it run code that was never brought on this machine. `loggers` as in run: they go on with what they had written;
    `checks` as in run: no directory keeps them.
    Raises ScenarioError where there is nothing to go on from.
    """
    shown = reporter or Quiet()
    how: dict[str, Any] = {"checkpoint": checkpoint, "record": record, "memory": memory, "reporter": shown, "loggers": loggers, "checks": _checks(checks)}
    result = _resume(run_dir, engine, trust=trust, asked=set, options=options, **how)
    return _outlast(result, engine, options, how)


def _resume(
    run_dir: str | Path,
    engine: Engine | None,
    *,
    checkpoint: float,
    record: bool,
    memory: float | None,
    trust: bool,
    asked: Mapping[str, Any] | str | Iterable[str],
    reporter: Reporter,
    loggers: str | Logger | Iterable[str | Logger],
    checks: Iterable[Check],
    options: dict[str, Any],
) -> Result:
    path, shown, logging = stored.find(run_dir), reporter, made_of(loggers, kept=True)
    with RunDirectory.again(path, every=checkpoint, recording=record, trust=trust) as kept:
        about, made = kept.about, kept.scenario
        from asyncnet.runs import extension

        over, unit = extension.layers(asked), f"task.{extension.unit_of(made)}"
        if about.status == "finished" and not over:
            raise ScenarioError(str(run_dir), "", f"this run has finished; it goes on to another length with --set {unit}=N")
        made = extension.asked(made, over)
        engine, before = engine or about.engine, stored.time_of(about.engine, about.how)
        chosen = {**(_kept_options(path, about) if engine == about.engine else {"time": before}), **options}
        at_once = before == "virtual" and all(part.how == "exactly" for part in about.resumed)
        exact = at_once and stored.time_of(engine, chosen) == "virtual"
        start = _engine(engine, made, chosen, memory)
        state, whose = _newest(path, [made, kept.scenario, *stored.earlier(about, kept.scenario)], about, shown)
        if over or whose != made:
            state = extension.relaid(state, whose, made, over[-1].where if over else str(path), at_once=at_once)
            shown.note(f"{unit} was {whose.task.decisions or whose.task.episodes:,}, is {made.task.decisions or made.task.episodes:,}")
        snapshot.prove(made, state, at_once=at_once)
        state = snapshot.balanced(state, plan(made))
        if about.status == "running":
            shown.note(f"this run is {stored.standing(about, held=False)}")
        if about.joined and engine == "ray" and chosen.get("address") is None:
            shown.note("it ran on a cluster; without --address it goes on here, for no address is taken from a run's directory")
        here = provenance.about_this_machine()["versions"]
        for name, version in about.versions.items():
            if here.get(name) != version:
                shown.note(f"{name} was {version}, is {here.get(name)}: the bits may differ")
        how = "exactly" if exact else "statistically: real clocks do not repeat"
        shown.note(f"going on at {state.about['now'] / 1e6:.3f} s, {how}")
        length = extension.length_of(kept.scenario) if made != kept.scenario else None
        kept.go_on(state.about["score"]["rows"], stored.Part(at=state.about["now"], how=how, engine=engine, before=length), made)
        if record and stored.time_of(engine, chosen) == "wall":
            kept.beginning(state)
        begun(shown, _title(made), path)
        with closing(Logs(logging, made, path, kept.trouble, state.about["decisions"])) as logs:
            ended = start(made, _Both(shown, kept, logs), kept=kept, begin=state, **chosen)
            result = Result(made, engine, ended, path, resumed=how, begun=state.about["decisions"], trouble=kept.trouble.values(), checks=checks)
            logs.end(result.summary)
            kept.finish(result)
        return result


def verify(run_dir: str | Path, reporter: Reporter | None = None, *, trust: bool = False) -> tuple[bool, str]:
    """Whether a run comes to the same bits when it is done again in this process: (same, what was found); a run on real clocks is replayed.

    `trust` as in resume. Raises ScenarioError for a run that cannot be done again: one that has not ended, or was not recorded.
    """
    path = stored.find(run_dir)
    about = stored.about(path)
    made = stored.scenario_of(path, about, trust)
    if stored.time_of(about.engine, about.how) == "wall" or any(part.how != "exactly" for part in about.resumed):
        return replay(path, reporter=reporter, trust=trust)
    if about.status != "finished":
        stands = stored.standing(about, stored.held(path))
        why = "this run is still running" if stands == "running" else f"this run has not finished ({stands}); asyncnet resume goes on with it"
        raise ScenarioError(str(run_dir), "", why)
    then = stored.digests(path, made)
    again = _engine("embedded", made, {})(made, reporter or Quiet())
    if again.stopped == "interrupted":
        raise KeyboardInterrupt
    why = difference(made, then.digest, then.nodes, again)
    return not why, why or f"identical: {again.score['decisions']:,} decisions, digest {again.digest[:16]}"


def replay(run_dir: str | Path, before: Callable[..., bool] | None = None, reporter: Reporter | None = None, *, trust: bool = False) -> tuple[bool, str]:
    """Replay what a run on real clocks recorded, in this process: (identical to its end, what was found); `before` as in replay.replay.

    `trust` as in resume. A run that was resumed has a recording for each part; all are replayed. Raises ScenarioError if there is none.
    """
    from asyncnet.record.playback import replay as play

    path = stored.find(run_dir)
    about = stored.about(path)
    made = stored.scenario_of(path, about, trust)
    last = len(about.resumed)
    parts = {k: part for k in range(last + 1) if (part := stored.recordings(path, k)).is_dir()}
    if not parts:
        raise ScenarioError(str(run_dir), "", "nothing was recorded; runs on real clocks are, unless told --no-record")
    lines, same = [], True
    for number, part in parts.items():
        of = stored.of_part(about, made, number)
        began = _beginning(part, of)
        if reporter is not None:
            reporter.note(f"replaying part {number + 1} of {last + 1}")
        report = play(of, part, began, before)
        same = same and report.difference is None and not report.damage
        lines.append(report.line)
        if report.stopped:
            break
        ended = number == last and report.difference is None and not report.damage and (path / "digests.json").is_file()
        if ended and stored.digests(path, made).digest != report.loop.digest():
            same = False
            lines.append("different: the run's digest is not that of its recording's end")
        if number == max(parts) < last:
            lines.append("what came after it was not recorded")
    if about.status == "running":
        lines.append(f"this run is {stored.standing(about, stored.held(path))}")
    return same, "; ".join(lines)


def nodes_of(run_dir: str | Path) -> list[str]:
    """The names of a run's nodes."""
    path = stored.find(run_dir)
    return [node.name for node in plan(stored.scenario_of(path, stored.about(path))).nodes]


def timeline(run_dir: str | Path, to: str | Path | None = None, *, events: int = EVENTS, trust: bool = False, reporter: Reporter | None = None) -> str:
    """Write a run as a timeline for Perfetto (record/timeline.py), at most so many events, to `to` (None: trace.json in its directory); a line about it.

    A run in simulated time is executed again, of one on real clocks the last part that was recorded is replayed. `trust` as in resume. Raises ScenarioError
    for a run that cannot be done again.
    """
    from asyncnet.record import timeline as made_of

    path = stored.find(run_dir)
    about = stored.about(path)
    made = stored.scenario_of(path, about, trust)
    target = path / "trace.json" if to is None else Path(to)
    if not target.parent.is_dir():
        raise ScenarioError(str(target), "", "no file can be made there: there is no such folder")
    (reporter or Quiet()).note("doing the run again, event by event")
    if stored.time_of(about.engine, about.how) == "wall":
        number = next((k for k in reversed(range(len(about.resumed) + 1)) if stored.recordings(path, k).is_dir()), None)
        if number is None:
            raise ScenarioError(str(run_dir), "", "nothing was recorded; runs on real clocks are, unless told --no-record")
        part, of = stored.recordings(path, number), stored.of_part(about, made, number)
        found, report = made_of.replayed(of, part, _beginning(part, of), events)
        told = f"; {report.line}"
    else:
        found, loop = made_of.executed(made, events)
        told = f"; {loop.stopped}" if loop.stopped != "finished" else ""
    try:
        found.write(target)
    except OSError as error:
        raise ScenarioError(str(target), "", in_a_line(error)) from None
    return f"{target}: {found.heard:,} events of {len(found.plan.nodes)} nodes, {found.arrows:,} messages delivered, {found.lost:,} not{told}"


def _title(made: Scenario) -> str:
    """What is run, for whoever watches."""
    return ", ".join([made.name, *made.under, f"seed {made.seed}"])


def _newest(path: Path, known: Iterable[Scenario], about: stored.About, shown: Reporter) -> tuple[Checkpoint, Scenario]:
    """The state from which a run can go on, and which of the scenarios it is of: of the lengths that the run was given."""
    if not (path / "checkpoints").is_dir():
        why = "it kept no state to go on from (--checkpoint 0)" if about.status == "finished" else "no checkpoint was written yet"
        raise ScenarioError(str(path), "", f"{why}; start the run again with its config.toml")
    state, damaged = load_checkpoint(path / "checkpoints")
    for line in damaged:
        shown.note(f"passed over {line}")
    return state, _whose(known, state, path / "checkpoints")


def _beginning(part: Path, made: Scenario) -> Checkpoint | None:
    """The state at which a recording begins; None: the run's own beginning."""
    folder = part / stored.BEGINNING
    if not folder.is_dir():
        return None
    state = load_checkpoint(folder)[0]
    _whose([made], state, folder)
    return state


def _whose(known: Iterable[Scenario], state: Checkpoint, where: Path) -> Scenario:
    """Which of the scenarios a state is of."""
    mark = stored.marks(state, where).scenario
    for made in known:
        if made.fingerprint() == mark:
            return made
    raise ScenarioError(str(where), "", "is of another scenario than config.toml")


def _kept_options(path: Path, about: stored.About) -> dict[str, Any]:
    """The engine's options that run.json holds; raises ScenarioError for one that this engine does not have."""
    check = importlib.import_module(ENGINES[about.engine]).check
    known = {name: kind for name, kind in typing.get_type_hints(check).items() if name in check.__kwdefaults__}
    for name, value in about.how.items():
        try:
            pydantic.TypeAdapter(known[name]).validate_python(value, strict=True)
        except (KeyError, pydantic.ValidationError):
            raise ScenarioError(str(path / "run.json"), f"how.{name}", f"no option of the {about.engine} engine: {value!r}") from None
    return about.how


def _engine(name: str, scenario: Scenario, options: dict[str, Any], memory: float | None = None) -> Callable[..., Record]:
    """What starts a run, once it is clear that it can be run."""
    from asyncnet.runs.memory import check

    check_options(name, options)
    module = importlib.import_module(ENGINES[name])
    module.check(scenario, **options)
    if memory is not None or options.get("address") in (None, "local"):  # of other machines nothing is known
        check(scenario, memory)

    def start(made: Scenario, shown: Reporter, **how: Any) -> Record:
        with telling(shown.note):
            return module.run(made, shown, **how)

    return start


def check_options(engine: str, options: Iterable[str]) -> None:
    """Refuse, with a ScenarioError, what an engine has no option for."""
    known, ours = _options(engine), inspect.signature(run).parameters
    for option in options:
        if option not in known:
            owners = [other for other in ENGINES if option in _options(other)]
            why = f"it is for the {owners[0]} engine" if owners else near(option, [*known, *ours])
            if option in ("set", "settings"):
                why = 'a scenario is changed before it is run: asyncnet.load(NAME).replace({"task.decisions": 500})'
            raise ScenarioError(option, "", f"no option of the {engine} engine; {why}")


def _options(engine: str) -> list[str]:
    """The names of an engine's own options: those that its `check` looks at."""
    if engine not in ENGINES:
        raise ScenarioError("engine", "", f"no engine {engine!r}; {near(str(engine), ENGINES)}")
    check = importlib.import_module(ENGINES[engine]).check
    return [name for name, parameter in inspect.signature(check).parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
