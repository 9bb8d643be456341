"""The Ray engine: place the nodes, start their loops together, watch, stop, gather.

Ray places and starts the actors, carries requests and results, and tells of deaths; what the nodes say to each other goes over the wire. No actor
is restarted behind anybody's back (max_restarts = 0, max_task_retries = 0): a lost one ends the run and is named.
"""

from __future__ import annotations

import time as clock_time
from typing import Any

import numpy as np

from asyncnet import ledger, snapshot
from asyncnet.checkpoint import Checkpoint
from asyncnet.compiled_loop import CompiledLoop
from asyncnet.loop import Way, digest
from asyncnet.message import CHANNELS
from asyncnet.network import Plan, plan
from asyncnet.record import Keeper, Record, Reporter
from asyncnet.scenario import Scenario, ScenarioError

from .courier import COURIERS
from .gauge import Gauge
from .host import Host
from .session import Session, session
from .windows import CHECKPOINT, STOP, reach

POLL = 0.25  # seconds between looks at the world
LEAD = 0.5  # seconds between the order to start and the start, so that all hosts have heard
STALLED = 60.0  # seconds without a decision
SILENT = 60.0  # seconds without an answer
BEHIND = 0.9  # a node with a smaller share of its ticks could not keep its clock


def check(scenario: Scenario, *, time: str = "wall", pack: int = 1, wire: str = "zmq", address: str | None = None) -> None:
    """Refuse, with a ScenarioError, what cannot be run."""
    del address
    if time not in ("wall", "virtual"):
        raise ScenarioError("--time", "", f"wall or virtual, got {time!r}")
    if wire not in COURIERS:
        raise ScenarioError("--wire", "", f"no wire {wire!r}; there are {', '.join(COURIERS)}")
    if pack < 1:
        raise ScenarioError("--pack", "", f"at least one node an actor, got {pack}")
    team = plan(scenario)
    if time == "virtual":
        parts = groups(team, pack)
        where = {i: str(number) for number, part in enumerate(parts) for i in part}
        reach(team, {code: Way(scenario.links, name, scenario.tick) for name, code in CHANNELS.items()}, where, sorted(set(where.values())))


def run(
    scenario: Scenario,
    reporter: Reporter,
    *,
    time: str = "wall",
    pack: int = 1,
    wire: str = "zmq",
    address: str | None = None,
    kept: Keeper | None = None,
    begin: Checkpoint | None = None,
) -> Record:
    """Run a scenario on Ray actors, `pack` nodes in each, to its end or to KeyboardInterrupt; raises RuntimeError if a node's code failed.

    In "virtual" time the bits are those of the embedded engine, whatever the placement; in "wall" time every clock is real. `kept` takes checkpoints and,
    in wall time, the recording; `begin` is the state to go on from.
    """
    check(scenario, time=time, pack=pack, wire=wire)
    reporter.note("starting Ray")
    with session(address) as held:
        return run_in(held, scenario, reporter, time=time, pack=pack, wire=wire, kept=kept, begin=begin)


def run_in(held: Session, scenario: Scenario, reporter: Reporter, **how: Any) -> Record:
    """The same, in a Ray session that is there already; its actors are ended afterwards."""
    CompiledLoop(scenario, None).prepare(wired=True)  # compiles, once, what the hosts of this machine will find in the cache
    started = Team(scenario, reporter, private=held.mark is not None, **how)
    try:
        return started.run()
    finally:
        started.end()


def groups(team: Plan, pack: int) -> list[list[int]]:
    """Which nodes share an actor: the world has its own; the others go in order, `pack` to each, the dopamine node as a part of the critic it follows."""
    others: list[list[int]] = []
    for node in team.nodes[1:]:
        if node.role == "dopamine":
            others[-1].append(node.index)  # three additions are no work for an actor, and the value it waits for need not travel
        else:
            others.append([node.index])
    return [[0], *([i for together in others[at : at + pack] for i in together] for at in range(0, len(others), pack))]


class Team:
    """One run: the hosts, by name, and what they do together."""

    def __init__(
        self,
        scenario: Scenario,
        reporter: Reporter,
        *,
        private: bool,
        time: str = "wall",
        pack: int = 1,
        wire: str = "zmq",
        kept: Keeper | None = None,
        begin: Checkpoint | None = None,
        twists: list[dict[str, Any]] | None = None,
    ) -> None:
        """`twists` are further arguments of each host and Ray options of its actor ("options"); they must change nothing, and tests see to that."""
        import ray

        self.ray, self.scenario, self.reporter, self.kept = ray, scenario, reporter, kept
        self.plan, self.virtual = plan(scenario), time == "virtual"
        self.recording = not self.virtual and kept is not None and kept.recording
        parts = groups(self.plan, pack)
        self.names = {str(number): [self.plan.nodes[i].name for i in part] for number, part in enumerate(parts)}
        where = {i: str(number) for number, part in enumerate(parts) for i in part}
        reporter.note(f"starting {len(parts)} actors for {len(self.plan.nodes)} nodes")
        # Placement needs no CPUs of its own: a laptop may host more actors than it has cores. SPREAD matters on a cluster only.
        options = {"num_cpus": 0, "max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD"}
        local = "127.0.0.1" if private or len(ray.nodes()) == 1 else None
        data, self.hosts = scenario.data(), {}
        self._silent: set[str] = set()
        for (name, part), twist in zip(enumerate(parts), twists or [{}] * len(parts), strict=True):
            more = {key: value for key, value in twist.items() if key != "options"}
            remote = ray.remote(Host).options(**options, **twist.get("options", {}))
            state = None if begin is None else tuple(snapshot.part(begin, self.plan, part))
            record = str(name) if self.recording else None
            self.hosts[str(name)] = remote.remote(data, part, wire, local, virtual=self.virtual, record=record, begin=state, **more)
        addresses = dict(zip(self.hosts, self._ask("address"), strict=True))
        self._ask("connect", lambda name: ({k: v for k, v in addresses.items() if k != name}, where, {k: v for k, v in self.hosts.items() if k != name}))

    def _ask(self, method: str, arguments: Any = lambda _: (), timeout: float = 300.0) -> list[Any]:
        """Call a method of every host and wait for the answers, in order."""
        return self.ray.get([getattr(host, method).remote(*arguments(name)) for name, host in self.hosts.items()], timeout=timeout)

    def run(self) -> Record:
        """Start all loops, watch them until the run ends, and gather what came of it."""
        stopped, before = "", clock_time.perf_counter()
        try:
            at = clock_time.time_ns() + int(LEAD * 1e9)
            self._ask("start", lambda _: (at,))
            self.reporter.note("running")
            before = clock_time.perf_counter() + LEAD
            stopped = self._watch()
        except KeyboardInterrupt:
            stopped = "interrupted"
        except self.ray.exceptions.RayActorError as error:
            stopped = f"an actor was lost: {self._lost(error)}"
        seconds = max(clock_time.perf_counter() - before, 1e-9)
        return self._gather(stopped, seconds)

    def end(self) -> None:
        """End the actors; Ray does so by itself only when the driver leaves."""
        for host in self.hosts.values():
            self.ray.kill(host)

    def _watch(self) -> str:
        """Wait until the world has finished; returns why the run stopped."""
        world, moved, reached = self.hosts["0"], clock_time.monotonic(), None
        checked = saved = clock_time.monotonic()
        while True:
            clock_time.sleep(POLL)
            try:
                status = self.ray.get(world.status.remote(), timeout=SILENT)
            except self.ray.exceptions.GetTimeoutError:
                return f"stalled: everyone waits for {self.plan.nodes[0].name}; its actor has not answered for {SILENT:.0f} s"
            for row in status["rows"]:
                self.reporter.row(row)
            if status["failure"]:
                raise RuntimeError(f"the world failed:\n{status['failure']}")
            if status["stopped"]:
                return status["stopped"]
            now = clock_time.monotonic()
            if (status["decisions"], status.get("window")) != reached:
                reached, moved = (status["decisions"], status.get("window")), now
            if now - checked > 2.0 or now - moved > STALLED:
                checked = now
                told = self._look()
                if now - moved > STALLED:
                    return f"stalled: no decision for {STALLED:.0f} s; {self._culprit(status['decisions'], told)}"
                if all(told.values()):
                    self._collect()
            if self.kept is not None and self.kept.every and now - saved > self.kept.every:
                if not self.virtual or self._meet(CHECKPOINT):
                    self._save()
                saved = clock_time.monotonic()

    def _look(self) -> dict[str, dict[str, Any]]:
        """The status of every host, empty for one that does not answer; raises RuntimeError if a node's code failed."""
        asked = {host.status.remote(): name for name, host in self.hosts.items()}
        done, _ = self.ray.wait(list(asked), num_returns=len(asked), timeout=SILENT)
        told = {name: self.ray.get(answer) if answer in done else {} for answer, name in asked.items()}
        for name, one in told.items():
            if one.get("failure"):
                raise RuntimeError(f"{', '.join(self.names[name])} failed:\n{one['failure']}")
            for row in one.get("rows", ()):
                self.reporter.row(row)
        return told

    def _culprit(self, decisions: int, told: dict[str, dict[str, Any]]) -> str:
        """Whom everyone waits for."""
        named = [name for name, one in told.items() if not one]
        if not named and self.virtual:  # whoever waits for nobody, else those who are behind
            first = min(one["window"] for one in told.values())
            named = [name for name, one in told.items() if not one["waits"]] or [name for name, one in told.items() if one["window"] == first]
        if named:
            return f"everyone waits for {', '.join(node for name in named for node in self.names[name])}"
        stamps = {node: stamp for one in told.values() for node, stamp in one["stamps"].items()}
        last = min(stamps, key=stamps.get)
        return f"the world is at {decisions}, and {last} is the farthest behind, at {stamps[last]}"

    def _collect(self) -> None:
        """Fetch what was recorded."""
        if self.recording:
            for name, segments in zip(self.hosts, self._each("segments"), strict=True):
                for segment in segments or ():
                    self.kept.segment(name, segment)

    def _save(self) -> None:
        """Write a checkpoint: in virtual time of the instant at which all met last, else of one moment as near as Ray brings it."""
        parts = [part for part in self._each("state") if part is not None]
        if len(parts) == len(self.hosts):
            self.kept.checkpoint(snapshot.merge(Checkpoint(*part) for part in parts))

    def _meet(self, purpose: int) -> bool:
        """In virtual time: have all loops meet; returns whether they have."""
        before = max((met for met in self._each("met") if met is not None), default=-1)
        self.ray.get(self.hosts["0"].meet.remote(purpose), timeout=SILENT)
        until = clock_time.monotonic() + 0.5 * SILENT
        while clock_time.monotonic() < until:
            clock_time.sleep(0.05)
            met = self._each("met")
            if None not in met and min(met) == max(met) > before:
                return True
        return False

    def _lost(self, error: Exception) -> str:
        gone = []
        for name, host in self.hosts.items():
            try:
                self.ray.get(host.address.remote(), timeout=5.0)
            except Exception:
                gone += self.names[name]
        return ", ".join(gone) or str(error).splitlines()[0]

    def _gather(self, stopped: str, seconds: float) -> Record:
        if stopped == "interrupted":
            self._wind_up()
        elif self.virtual and stopped == "finished":
            self._each("await_end", 0.5 * SILENT)
        self._each("stop", stopped)
        results = [result for result in self._each("result") if result is not None]
        world = next((result for result in results if result["score"]), None)
        if world is None:
            raise RuntimeError(f"the world's actor was lost, and with it the record of the run ({stopped})")
        for name, segments in zip(self.hosts, self._each("segments"), strict=True):
            for segment in segments or ():
                self.kept.segment(name, segment)
        elapsed = world["elapsed"]
        nodes = {name: row for result in results for name, row in result["nodes"].items()}
        table = sum(np.frombuffer(result["ledger"], dtype=np.int64).reshape(len(ledger.COLUMNS), -1) for result in results)
        measured = _measured(results, nodes, elapsed, self.scenario.tick, real=not self.virtual)
        return Record(
            stopped=stopped,
            score=world["score"],
            returns=world["returns"],
            digest=digest({i: np.frombuffer(state, dtype="<f8") for result in results for i, state in result["states"].items()}),
            seconds=seconds,
            weights={
                name: {key: np.frombuffer(data, dtype="<f8").reshape(shape).copy() for key, (shape, data) in arrays.items()}
                for result in results
                for name, arrays in result["weights"].items()
            },
            nodes=nodes,
            links=_links(self.plan, table, results),
            ledger=table,
            fields={name: digests for result in results for name, digests in result["fields"].items()},
            measured=measured | {"actors": len(self.hosts)},
        )

    def _wind_up(self) -> None:
        """After an interrupt: have all come to one instant in virtual time, and keep the state from which the run can go on."""
        try:
            if (not self.virtual or self._meet(STOP)) and self.kept is not None and self.kept.every:
                self._save()
        except self.ray.exceptions.RayError as error:
            self.reporter.note(f"no checkpoint of the end: {str(error).splitlines()[0]}")

    def _each(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of every host; None for one that is lost or does not answer, and that one is not asked again."""
        asked = {name: getattr(host, method).remote(*arguments) for name, host in self.hosts.items() if name not in self._silent}
        done, _ = self.ray.wait(list(asked.values()), num_returns=len(asked), timeout=SILENT)
        out: dict[str, Any] = {}
        for name, answer in asked.items():
            try:
                out[name] = self.ray.get(answer, timeout=0.0 if answer not in done else None)
            except (self.ray.exceptions.RayActorError, self.ray.exceptions.GetTimeoutError):
                self._silent.add(name)  # lost with its state; the record says which nodes are missing
        return [out.get(name) for name in self.hosts]


def _links(team: Plan, table: np.ndarray, results: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The ledger added up by channel, with what the wire really took beside it."""
    out: dict[str, dict[str, Any]] = ledger.by_channel(team, table)
    for channel, row in out.items():
        gauge = Gauge()
        for result in results:
            gauge.merge(*result["measured"][channel])
        if gauge.count:
            row |= {"wire_mean_us": gauge.mean, "wire_p50_us": gauge.quantile(0.5), "wire_p99_us": gauge.quantile(0.99)}
    return out


def _measured(results: list[dict[str, Any]], nodes: dict[str, dict[str, Any]], elapsed: int, tick: int, *, real: bool) -> dict[str, Any]:
    """What only a wire and real clocks have: rates of ticks, who could not keep its clock, frames that did not get through."""
    off = {}
    for name, row in nodes.items():
        if real and np.isfinite(row["period"]):
            row["tick_rate"] = row["ticks"] * row["period"] * tick / max(1, elapsed)  # 1: as declared
            if elapsed > 100 * row["period"] * tick and row["tick_rate"] < BEHIND:
                off[name] = f"could not keep its clock: {row['tick_rate']:.0%} of its ticks"
        else:
            del row["period"]
    refused, malformed = sum(result["refused"] for result in results), sum(result["malformed"] for result in results)
    return {"off_clock": off, "refused_frames": refused, "malformed_frames": malformed, "elapsed_s": elapsed / 1e6}
