"""The command line. Exit codes: 0 pass, 1 fail, 2 unknown, 64 bad usage or scenario, 130 interrupted."""

from __future__ import annotations

import bdb
import importlib
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from asyncnet import __version__, api, interrupts
from asyncnet.interrupts import INTERRUPTED
from asyncnet.kernels.plain import PLAIN
from asyncnet.scenario import outside
from asyncnet.scenario.mistakes import near
from asyncnet.scenario.reading import Layer, find, setting
from asyncnet.scenario.schema import ScenarioError, read
from asyncnet.text import as_json, in_a_line, printable, steady

EXIT = {"pass": 0, "fail": 1, "unknown": 2}
USAGE = 64


@dataclass(frozen=True, kw_only=True)
class Brings:
    """What is brought from outside the package, by every command that reads a scenario."""

    rule: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="FILE")] = field(default_factory=list)
    """A file with a rule of your own (docs/rules.md), or the name of a module; may be given several times."""
    task: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="FILE")] = field(default_factory=list)
    """The same for a task."""
    imports: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="MODULE", name="import")] = field(default_factory=list)
    """A module, or FILE.py, that registers environments with Gymnasium; may be given several times."""

    def bring(self) -> None:
        """Have it known."""
        if self.rule or self.task or self.imports:
            from asyncnet.scenario.outside import register

            for kind, files in (("import", self.imports), ("rule", self.rule), ("task", self.task)):
                for file in files:
                    register(file, kind)


@dataclass(frozen=True, kw_only=True)
class Trusts(Brings):
    trust: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Run the code that the directory holds (outside/: rules and the like) though it was never run on this machine."""


@dataclass(frozen=True)
class List(Brings):
    """List the shipped scenarios, conditions and studies, the rules and the tasks, each with one line."""

    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Validate(Brings):
    """Check a scenario file: prints what is wrong (file, key, reason) and exits with 64, or prints "ok"."""

    file: tyro.conf.Positional[str]
    """A TOML file, or a shipped name."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the complete scenario, defaults included, as one JSON object."""


@dataclass(frozen=True)
class Run(Brings):
    """Run a scenario: a team of agents learns, each on its own clock."""

    scenario: tyro.conf.Positional[str]
    """A shipped name (see `asyncnet list`) or a TOML file."""
    under: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="CONDITION")] = field(default_factory=list)
    """A hardship to lay over it; may be given several times, and they add up."""
    set: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="KEY=VALUE")] = field(default_factory=list)
    """Change one setting, such as task.decisions=1000 or rule.name=reinforce; may be given several times."""
    engine: Literal["embedded", "ray"] = "embedded"
    """One process, or Ray actors."""
    time: Literal["virtual", "wall"] | None = None
    """Simulated time, the same bits wherever it runs, or real clocks; default: virtual for embedded, wall for ray."""
    seed: int | None = None
    """Overrides the scenario's seed."""
    seeds: int = 1
    """Embedded: so many replicas, with the seeds that follow; the table gives mean and standard error."""
    workers: int = 1
    """Embedded: replicas run at a time, a core each."""
    loop: Literal["compiled", "readable"] | None = None
    """Embedded: which of the two equal loops; default: compiled, and with NUMBA_DISABLE_JIT=1 readable."""
    pack: int = 1
    """Ray: nodes for each actor."""
    wire: Literal["zmq", "ray"] = "zmq"
    """Ray: what carries messages between actors: encrypted ZeroMQ, or plain actor calls."""
    address: str | None = None
    """Ray: the cluster to join, such as auto or HOST:PORT; default: a private one is started and ended."""
    out: Path = Path("runs")
    """The folder in which the run's directory is made."""
    checkpoint: float = 60.0
    """Seconds between checkpoints, from which `asyncnet resume` goes on; 0: none."""
    record: bool = True
    """Real time: write down what every node hears, so that `asyncnet replay` can do it again."""
    memory: Annotated[float | None, tyro.conf.arg(metavar="GIB")] = None
    """Most memory that the run may take; default: four fifths of this machine's."""
    probe: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="NODE.FIELD")] = field(default_factory=list)
    """Embedded: write down a number now and then, to probes.csv: the mean of a node's array, such as actor.1.activity, or its norm, actor.1.weight_norm."""
    probe_every: int = 1000
    """Decisions between probes, or episodes where the run's length is given in these."""
    check_determinism: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Simulated time: execute twice, and fail if the second run ends in other bits."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the summary as one JSON object on standard output, and nothing else there."""


@dataclass(frozen=True)
class Resume(Trusts):
    """Go on with a run that was interrupted, from its last checkpoint: in simulated time to the very bits of a run that was not."""

    run: tyro.conf.Positional[Path]
    """The run's directory, such as runs/latest."""
    engine: Literal["embedded", "ray"] | None = None
    """Where to go on; default: where it was."""
    time: Literal["virtual", "wall"] | None = None
    """Simulated or real time; default: as before."""
    pack: int | None = None
    """Ray: nodes for each actor; default: as before."""
    wire: Literal["zmq", "ray"] | None = None
    """Ray: what carries messages between actors; default: as before."""
    address: str | None = None
    """Ray: the cluster to join; default: none, even if it ran on one: an address is never taken from a run's directory."""
    checkpoint: float = 60.0
    """Seconds between checkpoints; 0: none."""
    record: bool = True
    """Real time: write down what every node hears."""
    memory: Annotated[float | None, tyro.conf.arg(metavar="GIB")] = None
    """Most memory that the run may take; default: four fifths of this machine's."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the summary as one JSON object on standard output, and nothing else there."""


@dataclass(frozen=True)
class Replay(Trusts):
    """Do a run on real clocks again, in one process, from what it recorded: says "identical", or the first node, event and array that differ."""

    run: tyro.conf.Positional[Path]
    """The run's directory, such as runs/latest."""
    until: Annotated[str | None, tyro.conf.arg(metavar="NODE:N|N")] = None
    """Stop before the N-th event of a node, or of all, and open a Python prompt there with `node` and `event`."""
    debug: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(name="break")] = False
    """With --until: open the debugger instead, where the node is about to be given the event."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Verify(Trusts):
    """Do a run again in one process and compare the bits: one in simulated time is executed again, one in real time replayed."""

    run: tyro.conf.Positional[Path]
    """The run's directory, such as runs/latest."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Keys(Brings):
    """Every key of a scenario: what it may be, what it is if nothing is said, and what for."""

    prefix: tyro.conf.Positional[str] = ""
    """Only keys that begin so, such as rule or links.feedback."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the JSON Schema of a scenario, for editors."""


@dataclass(frozen=True)
class Sweep(Brings):
    """Run a study: every combination of what is varied, with several seeds each, on all cores; what is there already is not run again."""

    study: tyro.conf.Positional[str]
    """A study file (TOML), the name of one that ships, or a scenario."""
    vary: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="KEY=A,B,...")] = field(default_factory=list)
    """Vary a setting, such as links.feedback.delay=0,1,5; also under=calm,lossy+straggler and scenario=NAME,NAME; may be given several times."""
    seeds: Annotated[str, tyro.conf.arg(metavar="N|A,B,...")] = ""
    """How many seeds, from the scenario's own on, or which; default: 10, or as the study says."""
    under: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="CONDITION")] = field(default_factory=list)
    """A hardship to lay over all runs; may be given several times."""
    set: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="KEY=VALUE")] = field(default_factory=list)
    """Change one setting of all runs; may be given several times."""
    mode: Literal["grid", "zip"] | None = None
    """Every value with every other (default), or the first values of all, the second ones of all, and so on."""
    outcome: str = ""
    """The figure that the table on standard output is about, such as on_time; default: what the task is scored by, at the end of a run."""
    name: str = ""
    """The study's name, and that of its folder."""
    engine: Literal["local", "ray"] = "local"
    """Processes of this machine, or Ray tasks, a run each."""
    workers: int | None = None
    """Local: processes; default: one for each core."""
    address: str | None = None
    """Ray: the cluster to join, such as auto or HOST:PORT; default: a private one is started and ended."""
    out: Path = Path("sweeps")
    """The folder in which the study's own is made."""
    memory: Annotated[float | None, tyro.conf.arg(metavar="GIB")] = None
    """Most memory that the runs may take together; default: four fifths of this machine's."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the table's rows as one JSON list on standard output, and nothing else there."""


@dataclass(frozen=True)
class Report:
    """Write a study's report: one page with pictures and statistics, and its figures as SVG, PDF and PNG."""

    study: tyro.conf.Positional[Path]
    """The study's folder, such as sweeps/NAME."""
    outcome: str = ""
    """The figure that it is about, such as on_time; default: what the task is scored by, at the end of a run."""


@dataclass(frozen=True)
class Explain(Brings):
    """Say what a scenario comes to: nodes, clocks, links with all their conditions; and, from a brief run, how long things take and what cannot work."""

    scenario: tyro.conf.Positional[str]
    """A shipped name or a TOML file."""
    under: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="CONDITION")] = field(default_factory=list)
    """A hardship to lay over it; may be given several times."""
    set: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="KEY=VALUE")] = field(default_factory=list)
    """Change one setting; may be given several times."""
    vary: Annotated[str, tyro.conf.arg(metavar="KEY=A,B,...")] = ""
    """Values that a sweep is to vary: says which of them end brief runs in the same bits."""
    decisions: int = 300
    """How many the brief run takes."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Plot(Trusts):
    """Save the learning curves of runs as a figure: SVG, PDF or PNG."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Directories of runs, such as runs/latest."""
    to: Path = Path("curves.svg")
    """The file; the end of its name says which format."""


@dataclass(frozen=True)
class Evaluate(Trusts):
    """Measure what a finished run has learned: its final weights, with learning off, on other draws."""

    run: tyro.conf.Positional[Path]
    """The run's directory, such as runs/latest."""
    episodes: int | None = None
    """How many; default: 100."""
    decisions: int | None = None
    """In their place; default for a task without episodes: 10,000."""
    seed: int | None = None
    """Of the draws; default: derived from the run's."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the summary as one JSON object on standard output, and nothing else there."""


@dataclass(frozen=True)
class Timeline(Trusts):
    """Write a run as a timeline for ui.perfetto.dev: a track for each node, a slice for each event, an arrow for each message."""

    run: tyro.conf.Positional[Path]
    """The run's directory, such as runs/latest."""
    to: Path | None = None
    """The file; default: trace.json in the run's directory."""
    events: int = 100_000
    """How many at most, from the run's beginning on."""


@dataclass(frozen=True)
class Show:
    """Show a finished run's summary again; of one that has not finished, how it stands."""

    run: tyro.conf.Positional[Path]
    """The run's directory, such as runs/latest."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object."""


@dataclass(frozen=True)
class CheckRule(Brings):
    """Try what a rule has to keep to, on small teams: that it learns, repeats, can be cut, copied and replayed; exits with 1 if something does not hold."""

    name: tyro.conf.Positional[str]
    """A file with a rule (docs/rules.md), or the name of one."""
    set: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="KEY=VALUE")] = field(default_factory=list)
    """Change one setting, such as rule.learning_rate=0.1; may be given several times."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Bench:
    """Measure speed and memory here: one table, each figure beside a yardstick from the same run."""

    what: tyro.conf.Positional[tuple[Literal["embedded", "units", "wire", "recording", "windows", "startup"], ...]] = ()
    """Which figures; default: all."""
    seconds: float = 2.0
    """About how long each measurement takes."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object."""


def _bench(command: Bench) -> int:
    from asyncnet.benchmarks import show

    if not 0.05 <= command.seconds <= 3600.0:
        raise ScenarioError("--seconds", "", f"from 0.05 to 3600, got {command.seconds}")
    rows = []
    for name in command.what or ("startup", "embedded", "units", "wire", "recording", "windows"):
        print(f"measuring {name}", file=sys.stderr, flush=True)
        measure = importlib.import_module(f"asyncnet.benchmarks.{name}").measure
        rows += measure() if name == "startup" else measure(command.seconds)
    show(rows, command.json)
    return 0


def _list(command: List) -> int:
    from asyncnet.console import show_lists
    from asyncnet.rules import RULES
    from asyncnet.tasks import TASKS

    for registry in (RULES, TASKS):
        registry.find_all()
    rules, tasks = ({name: module.LINE for name, module in registry.items()} for registry in (RULES, TASKS))
    lists = {"scenarios": api.list_scenarios(), "conditions": api.list_conditions(), "rules": rules, "tasks": tasks, "studies": api.list_studies()}
    if command.json:
        print(as_json(lists))
    else:
        show_lists(lists, api.list_tasks())
    return 0


def _validate(command: Validate) -> int:
    made = api.validate(command.file)
    print(as_json(made.data()) if command.json else f"{command.file}: ok")
    return 0


def _run(command: Run) -> int:
    from asyncnet.console import reporter

    seed = [] if command.seed is None else [Layer(f"--seed {command.seed}", {"seed": command.seed})]
    scenario = read(find(command.scenario), command.under, [*map(setting, command.set), *seed])
    options: dict[str, Any] = {}
    if command.engine == "ray":
        if command.loop or (command.seeds, command.workers) != (1, 1):
            raise ScenarioError("--loop, --seeds, --workers", "", "are for the embedded engine")
        options = {"pack": command.pack, "wire": command.wire, "address": command.address}
    elif (command.pack, command.wire, command.address) != (1, "zmq", None):
        raise ScenarioError("--pack, --wire, --address", "", "are for the ray engine")
    elif command.loop:
        options = {"loop": command.loop}
    if command.time:
        options["time"] = command.time
    if not 0.0 <= command.checkpoint <= 1e9:
        raise ScenarioError("--checkpoint", "", f"seconds, or 0 for none; got {command.checkpoint}")
    options |= {"checkpoint": command.checkpoint, "record": command.record, "check_determinism": command.check_determinism, "memory": command.memory}
    for name, number in (("--seeds", command.seeds), ("--workers", command.workers)):
        if number < 1:
            raise ScenarioError(name, "", f"at least 1, got {number}")
    if command.seeds > 1:
        return _replicate(command, scenario, options)
    with reporter() as shown:
        result = api.run(scenario, command.engine, out=command.out, reporter=shown, probe=command.probe, every=command.probe_every, **options)
    return _told(result, command.json)


def _resume(command: Resume) -> int:
    from asyncnet.console import reporter

    given = {"time": command.time, "pack": command.pack, "wire": command.wire, "address": command.address}
    options = {name: value for name, value in given.items() if value is not None}
    with reporter() as shown:
        how = {"checkpoint": command.checkpoint, "record": command.record, "memory": command.memory, "trust": command.trust}
        result = api.resume(command.run, command.engine, reporter=shown, **how, **options)
    return _told(result, command.json)


def _replay(command: Replay) -> int:
    from asyncnet.console import reporter
    from asyncnet.kernels.kernel import telling
    from asyncnet.record.debug import stop_before

    if command.debug and command.until is None:
        raise ScenarioError("--break", "", "needs --until, to say where")
    before = None if command.until is None else stop_before(command.until, debug=command.debug)
    with reporter() as shown:
        shown.note("replaying")
    try:
        with telling(shown.note), nullcontext() if before is None else interrupts.raised():  # at a prompt Ctrl-C drops a line
            same, found = api.replay(command.run, before, trust=command.trust)
    except bdb.BdbQuit:  # "q" in the debugger
        return INTERRUPTED
    if before is not None and not before.reached:
        name, nodes = command.until.rpartition(":")[0], api.nodes_of(command.run)
        why = f"no node {name}; {near(name, nodes)}" if name and name not in nodes else f"there is no event {command.until} in it; {found}"
        raise ScenarioError("--until", "", why)
    print(as_json({"identical": same, "found": found}) if command.json else printable(found))
    return 0 if same else 1


def _verify(command: Verify) -> int:
    from asyncnet.console import reporter

    with reporter() as shown:
        same, found = api.verify(command.run, shown, trust=command.trust)
    print(as_json({"identical": same, "found": found}) if command.json else printable(found))
    return 0 if same else 1


def _keys(command: Keys) -> int:
    from asyncnet.console import show_keys
    from asyncnet.scenario import reference

    if command.json:
        print(as_json(reference.json_schema(), indent=2))
        return 0
    known = list(reference.keys())
    found = [key for key in known if key.key.startswith(command.prefix)]
    if not found:
        raise ScenarioError(command.prefix, "", f"no key begins so; {near(command.prefix, dict.fromkeys(key.key for key in known))}")
    show_keys(found)
    return 0


def _sweep(command: Sweep) -> int:
    from asyncnet.console import reporter, show_study
    from asyncnet.studies import sweep, table
    from asyncnet.studies.study import asked

    if command.workers is not None and command.workers < 1:
        raise ScenarioError("--workers", "", f"at least 1, got {command.workers}")
    study, beside = asked(
        command.study,
        vary=command.vary,
        seeds=command.seeds,
        under=command.under,
        settings=[*map(setting, command.set)],
        mode=command.mode,
        name=command.name,
    )
    if command.outcome and command.outcome not in table.FIGURES:
        raise ScenarioError("--outcome", "", f"no figure {command.outcome}; {near(command.outcome, table.FIGURES)}")
    with reporter() as shown:
        swept = sweep.run_study(
            study,
            out=command.out,
            engine=command.engine,
            workers=command.workers,
            address=command.address,
            memory=command.memory,
            beside=beside,
            shown=shown,
        )
    if command.json:
        print(as_json(swept.rows))
    else:
        show_study(study, swept.rows, table.outcome(swept.rows, command.outcome))
    for several in table.same(study, swept.rows):
        print(f"made no difference (the same bits, seed by seed): {table.in_words(study, several)}", file=sys.stderr)
    for row in swept.failed()[:10]:
        print(f"run {row['run']} failed: {printable(row['reasons'])}", file=sys.stderr)
    print(f"{swept.folder / 'table.csv'}", file=sys.stderr)
    if swept.interrupted:
        print("interrupted; the same command goes on with what is left", file=sys.stderr)
        return INTERRUPTED
    return EXIT["fail"] if swept.failed() else EXIT["pass"]


def _report(command: Report) -> int:
    from asyncnet.studies import report, sweep, table

    if command.outcome and command.outcome not in table.FIGURES:
        raise ScenarioError("--outcome", "", f"no figure {command.outcome}; {near(command.outcome, table.FIGURES)}")
    sweep.needs()
    print(report.write(sweep.load(command.study), command.outcome))
    return 0


def _explain(command: Explain) -> int:
    from asyncnet.console import show_explained
    from asyncnet.kernels.kernel import telling
    from asyncnet.studies import explain
    from asyncnet.studies.study import asked

    if not 1 <= command.decisions <= 10**6:
        raise ScenarioError("--decisions", "", f"from 1 to a million, got {command.decisions}")
    made = read(find(command.scenario), command.under, [*map(setting, command.set)])
    with telling(lambda text: print(text, file=sys.stderr)):
        found = explain.explained(made, command.decisions)
        if command.vary:
            study, beside = asked(command.scenario, vary=[command.vary], seeds="1", under=command.under, settings=[*map(setting, command.set)])
            found["points"] = explain.points(study, beside, command.decisions)
    print(as_json(found)) if command.json else show_explained(found, command.vary)
    return 0


def _plot(command: Plot) -> int:
    from asyncnet.runs import opened
    from asyncnet.studies import sweep

    if not command.runs:
        raise ScenarioError("plot", "", "of which runs?")
    sweep.needs()
    from asyncnet.studies import figures

    figures.save(figures.of_runs([opened.open(run, trust=command.trust) for run in command.runs]), command.to)
    print(printable(str(command.to)))
    return 0


def _evaluate(command: Evaluate) -> int:
    from asyncnet.console import reporter
    from asyncnet.runs.evaluation import evaluate

    with reporter() as shown:
        result = evaluate(command.run, episodes=command.episodes, decisions=command.decisions, seed=command.seed, trust=command.trust, reporter=shown)
    return _told(result, command.json)


def _timeline(command: Timeline) -> int:
    if command.events < 1:
        raise ScenarioError("--events", "", f"at least 1, got {command.events}")
    print(printable(api.timeline(command.run, command.to, events=command.events, trust=command.trust)))
    return 0


def _show(command: Show) -> int:
    from asyncnet.console import show_summary
    from asyncnet.runs import stored

    path = stored.find(command.run)
    summary = stored.summary(path)
    print(as_json(summary)) if command.json else show_summary(summary)
    return EXIT[summary["verdict"]]


def _check_rule(command: CheckRule) -> int:
    from asyncnet.kernels.kernel import telling
    from asyncnet.rules import RULES, contract
    from asyncnet.scenario.outside import register

    name = command.name
    if name.endswith(".py") or "/" in name:
        name = register(name, "rule").NAME
    if RULES.find(name) is None:
        raise ScenarioError(name, "", f"no rule of that name; {near(name, RULES)}")

    def told(finding: contract.Finding) -> None:
        if not command.json:
            verdict = {True: "holds", False: "BROKEN", None: "left out"}[finding.holds]
            print(printable(f"{verdict:9} {finding.claim} ({finding.why or f'in {finding.tried} setting' + 's' * (finding.tried != 1)})"), flush=True)

    with telling(lambda text: print(text, file=sys.stderr, flush=True)):
        found = contract.check(name, [setting(text) for text in command.set], told)
    broken = sum(finding.holds is False for finding in found)
    if command.json:
        print(as_json({"rule": name, "broken": broken, "claims": [finding._asdict() for finding in found]}))
    else:
        left = sum(finding.holds is None for finding in found)
        print(f"{name}: {len(found) - broken - left} claims hold, {broken} broken, {left} left out")
    return 1 if broken else 0


def _told(result: api.Result, in_json: bool) -> int:
    from asyncnet.console import show_summary

    summary = result.summary()
    if in_json:
        print(as_json(summary))
    else:
        show_summary(summary)
    return INTERRUPTED if result.record.stopped == "interrupted" else EXIT[summary["verdict"]]


def _replicate(command: Run, scenario: api.Scenario, options: dict[str, Any]) -> int:
    from asyncnet.console import reporter, show_replicas
    from asyncnet.runs.replicas import replicate, summarize

    seeds = range(scenario.seed, scenario.seed + command.seeds)
    with reporter() as shown:
        results = replicate(scenario, seeds, workers=command.workers, out=command.out, reporter=shown, **options)
    if results:
        summary = summarize(results)
        print(as_json(summary)) if command.json else show_replicas(summary)
    if len(results) < command.seeds or any(result.record.stopped == "interrupted" for result in results):
        return INTERRUPTED
    verdicts = {result.verdict()[0] for result in results}
    return EXIT["fail" if "fail" in verdicts else "unknown" if "unknown" in verdicts else "pass"]


VERBS: dict[type, Callable[[Any], int]] = {
    List: _list,
    Keys: _keys,
    Run: _run,
    Sweep: _sweep,
    Report: _report,
    Plot: _plot,
    Evaluate: _evaluate,
    Timeline: _timeline,
    Explain: _explain,
    Show: _show,
    Resume: _resume,
    Replay: _replay,
    Verify: _verify,
    Validate: _validate,
    CheckRule: _check_rule,
    Bench: _bench,
}


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the `asyncnet` command."""
    interrupts.listen()
    with steady() as out:
        try:
            _main(arguments)
        finally:
            out.flush()
            if out.trouble is not None and not isinstance(out.trouble, BrokenPipeError):  # whoever reads a pipe may have seen enough
                print(f"asyncnet: standard output: {in_a_line(out.trouble)}", file=sys.stderr)


def _main(arguments: list[str] | None) -> None:
    if (sys.argv[1:] if arguments is None else arguments) == ["--version"]:
        print(f"asyncnet {__version__}")
        sys.exit(0)
    try:
        verbs = List | Keys | Run | Sweep | Report | Plot | Evaluate | Timeline | Explain | Show | Resume | Replay | Verify | Validate | CheckRule | Bench
        command = tyro.cli(verbs, args=arguments, prog="asyncnet", description="A wind tunnel for asynchronous learning.")
    except SystemExit as stop:  # tyro has said what is wrong with the usage
        sys.exit(USAGE if stop.code == 2 else stop.code)
    try:
        if isinstance(command, Brings):
            command.bring()
        sys.exit(VERBS[type(command)](command))
    except ScenarioError as error:
        print(f"asyncnet: {error}", file=sys.stderr)
        sys.exit(USAGE)
    except (KeyboardInterrupt, bdb.BdbQuit):  # "q" in the debugger
        sys.exit(INTERRUPTED)
    except Exception as error:
        theirs = None if PLAIN else outside.raised_in(error)  # whoever runs kernels as plain Python looks for a bug
        if theirs is None:
            raise
        print(f"asyncnet: {theirs}", file=sys.stderr)
        sys.exit(USAGE)
    finally:
        interrupts.ignore()
