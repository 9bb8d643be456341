"""Verbs that have a team learn."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from asyncnet import api
from asyncnet.commands.shared import EXIT, Brings, Conditions, Flag, Gib, Loggers, Settings, Trusts, at_least_one, say, say_how_to_go_on
from asyncnet.interrupts import INTERRUPTED
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.reading import Layer, find, setting
from asyncnet.scenario.schema import read
from asyncnet.text import as_json

CHECKPOINT = 60.0  # seconds between checkpoints, unless told otherwise


@dataclass(frozen=True)
class Run(Brings):
    """Run a scenario: a team of agents learns, each on its own clock."""

    scenario: tyro.conf.Positional[str]
    """A shipped name (see `asyncnet list`) or a TOML file."""
    under: Conditions = field(default_factory=list)
    """A hardship to lay over it: a name that ships, or a TOML file; may be given several times, and they add up."""
    set: Settings = field(default_factory=list)
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
    wire: Literal["memory", "zmq", "ray"] = "memory"
    """Ray: what carries messages: memory that actors of one machine share, and encrypted ZeroMQ between machines; ZeroMQ alone; or plain actor calls."""
    address: str | None = None
    """Ray: the cluster to join, such as auto or HOST:PORT; default: a private one is started and ended."""
    restart: Literal["intensity", "never"] = "intensity"
    """Ray: whether an actor that is lost comes back, at most 5 times in 30 seconds; never: the run ends and names it."""
    out: Path = Path("runs")
    """The folder in which the run's directory is made."""
    checkpoint: float = CHECKPOINT
    """Seconds between checkpoints, from which `asyncnet resume` goes on; 0: none."""
    record: bool = True
    """Real time: write down what every node hears, so that `asyncnet replay` can do it again."""
    memory: Gib = None
    """Most memory that the run may take; default: four fifths of this machine's."""
    probe: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="NODE.FIELD")] = field(default_factory=list)
    """Embedded: write a number down now and then (probes.csv, .parquet): the mean of a node's array, as actor.1.activity, or its norm, actor.1.weight_norm."""
    probe_every: int = 1000
    """Decisions between probes, or episodes where the run's length is given in these."""
    log: Loggers = field(default_factory=list)
    """Write progress for a tracker too, into the run's directory: csv (log.csv), tensorboard (tb/), wandb (wandb/, offline); may be given several times."""
    check_determinism: Flag = False
    """Simulated time: execute twice, and fail if the second run ends in other bits."""
    json: Flag = False
    """Print the summary as one JSON object on standard output, and nothing else there."""

    def __call__(self) -> int:
        from asyncnet.console import reporter

        seed = [] if self.seed is None else [Layer(f"--seed {self.seed}", {"seed": self.seed})]
        scenario = read(find(self.scenario), self.under, [*map(setting, self.set), *seed])
        options: dict[str, Any] = {}
        if self.engine == "ray":
            if self.loop or (self.seeds, self.workers) != (1, 1):
                raise ScenarioError("--loop, --seeds, --workers", "", "are for the embedded engine")
            options = {"pack": self.pack, "wire": self.wire, "address": self.address, "restart": self.restart}
        elif (self.pack, self.wire, self.address, self.restart) != (1, "memory", None, "intensity"):
            raise ScenarioError("--pack, --wire, --address, --restart", "", "are for the ray engine")
        elif self.loop:
            options = {"loop": self.loop}
        if self.time:
            options["time"] = self.time
        options |= {
            "checkpoint": self.checkpoint,
            "record": self.record,
            "check_determinism": self.check_determinism,
            "memory": self.memory,
            "loggers": self.log,
        }
        at_least_one("--seeds", self.seeds)
        at_least_one("--workers", self.workers)
        options |= {"probe": self.probe, "every": self.probe_every}
        if self.seeds > 1:
            return self._replicate(scenario, options)
        with reporter() as shown:
            result = api.run(scenario, self.engine, out=self.out, reporter=shown, **options)
        return say(result, self.json, again(self))

    def _replicate(self, scenario: api.Scenario, options: dict[str, Any]) -> int:
        from asyncnet.console import reporter, show_replicas
        from asyncnet.runs.replicas import replicate, summarize

        seeds = range(scenario.seed, scenario.seed + self.seeds)
        with reporter() as shown:
            results = replicate(scenario, seeds, workers=self.workers, out=self.out, reporter=shown, **options)
        if results:
            summary = summarize(results)
            print(as_json(summary)) if self.json else show_replicas(summary)
        say_how_to_go_on(results, again(self))
        if len(results) < self.seeds or any(result.record.stopped == "interrupted" for result in results):
            return INTERRUPTED
        verdicts = {result.verdict()[0] for result in results}
        return EXIT["fail" if "fail" in verdicts else "unknown" if "unknown" in verdicts else "pass"]


@dataclass(frozen=True)
class Resume(Trusts):
    """Go on with a run that was interrupted, or has finished and is given another length: in simulated time to the very bits of a run done at once."""

    run: tyro.conf.Positional[Path]
    """The run's directory, such as runs/latest."""
    set: Settings = field(default_factory=list)
    """Give it another length, such as task.episodes=2000 (or task.decisions); nothing else can be changed."""
    engine: Literal["embedded", "ray"] | None = None
    """Where to go on; default: where it was."""
    time: Literal["virtual", "wall"] | None = None
    """Simulated or real time; default: as before."""
    pack: int | None = None
    """Ray: nodes for each actor; default: as before."""
    wire: Literal["memory", "zmq", "ray"] | None = None
    """Ray: what carries messages between actors; default: as before."""
    address: str | None = None
    """Ray: the cluster to join; default: none, even if it ran on one: an address is never taken from a run's directory."""
    restart: Literal["intensity", "never"] | None = None
    """Ray: whether an actor that is lost comes back; default: as before."""
    checkpoint: float = CHECKPOINT
    """Seconds between checkpoints; 0: none."""
    record: bool = True
    """Real time: write down what every node hears."""
    memory: Gib = None
    """Most memory that the run may take; default: four fifths of this machine's."""
    log: Loggers = field(default_factory=list)
    """Write progress for a tracker too, after what it had written: csv, tensorboard, wandb; may be given several times."""
    json: Flag = False
    """Print the summary as one JSON object on standard output, and nothing else there."""

    def __call__(self) -> int:
        from asyncnet.console import reporter

        given = {name: getattr(self, name) for name in ("time", "pack", "wire", "address", "restart")} | {"set": self.set or None}
        options = {name: value for name, value in given.items() if value is not None}
        with reporter() as shown:
            how = {"checkpoint": self.checkpoint, "record": self.record, "memory": self.memory, "trust": self.trust}
            result = api.resume(self.run, self.engine, reporter=shown, loggers=self.log, **how, **options)
        return say(result, self.json, again(self))


def again(order: Run | Resume) -> list[str]:
    """The options that a run which goes on has to be given again, for its directory does not say them."""
    said = {"--address": order.address, "--memory": order.memory, "--checkpoint": None if order.checkpoint == CHECKPOINT else order.checkpoint}
    words = [word for name, value in said.items() if value is not None for word in (name, str(value))]
    return [*words, *([] if order.record else ["--no-record"]), *(word for logger in order.log for word in ("--log", logger))]
