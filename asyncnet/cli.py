"""The command line. Exit codes: 0 pass, 1 fail, 2 unknown, 64 bad usage or scenario, 130 interrupted."""

from __future__ import annotations

import bdb
import importlib
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from asyncnet import api, interrupts
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
    """List the shipped scenarios and conditions, the rules and the tasks, each with one line."""

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
    lists = {"scenarios": api.list_scenarios(), "conditions": api.list_conditions(), "rules": rules, "tasks": tasks}
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
        result = api.run(scenario, command.engine, out=command.out, reporter=shown, **options)
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
    try:
        verbs = List | Run | Resume | Replay | Verify | Validate | CheckRule | Bench
        command = tyro.cli(verbs, args=arguments, prog="asyncnet", description="A wind tunnel for asynchronous learning.")
    except SystemExit as stop:  # tyro has said what is wrong with the usage
        sys.exit(USAGE if stop.code == 2 else stop.code)
    try:
        if isinstance(command, Brings):
            command.bring()
        sys.exit(
            {List: _list, Run: _run, Resume: _resume, Replay: _replay, Verify: _verify, Validate: _validate, CheckRule: _check_rule, Bench: _bench}[
                type(command)
            ](command)
        )
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
