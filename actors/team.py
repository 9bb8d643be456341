"""A run on Ray: place the nodes, start their loops together, watch, stop, gather.

Ray places and starts the actors, carries requests and results, and tells of deaths; what the nodes say to each other goes over the wire. No actor
is restarted behind anybody's back (max_restarts = 0, max_task_retries = 0): a lost one is brought back (supervisor.py), or ends the run and is named.
"""

from __future__ import annotations

import threading
import time as clock_time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from asyncnet.kernels.kernel import telling
from asyncnet.loop import ledger
from asyncnet.loop.compiled.ahead import compile_ahead
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.compiled.sharing import CHECKPOINT, STOP
from asyncnet.loop.counts import Counts, together
from asyncnet.runs import snapshot
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.runs.record import Keeper, Record, Reporter
from asyncnet.scenario import outside
from asyncnet.scenario.schema import Scenario
from asyncnet.team.draw import plan
from asyncnet.team.network import Plan

from .host import Host
from .hosts import SILENT, SLICE, STARTING, Gone, Hosts
from .recordings import Recordings
from .results import remains, total, whole
from .session import Session
from .supervisor import Supervisor
from .wire import MAX_WAITING

POLL = 0.25  # seconds between looks at the world
MOST_NAMED = 4  # nodes in the name of an actor
LOOK = 2.0  # seconds between looks at everybody
LEAD = 0.5  # seconds between the order to start and the start, so that all hosts have heard
AGAIN = 0.1  # the same for standing still, and for going on after it
RATE = 10e6  # bytes a second at which at least a state must come, on top of that
STALLED = 60.0  # seconds without a decision
MEETING = 30.0  # seconds for all to come to one instant
ENDING = 20.0  # seconds for loops to end
BALANCING = 3.0  # seconds for the last messages on the wire to come


def run_in(held: Session, scenario: Scenario, reporter: Reporter, **how: Any) -> Record:
    """The same, in a Ray session of this process; its actors are ended afterwards."""
    started = prepared(held, scenario, reporter, **how)
    try:
        return started.run()
    finally:
        started.end()


def prepared(held: Session, scenario: Scenario, reporter: Reporter, **how: Any) -> Team:
    """A team in a Ray session of this process, and all kernels compiled, once, that the hosts of this machine will find in the cache."""
    with telling(reporter.note):
        compile_ahead(scenario, wired=True)
        CompiledLoop(scenario, None).prepare(wired=True)
    return Team(scenario, reporter, private=held.mark is not None, **how)


def groups(team: Plan, pack: int) -> list[list[int]]:
    """Which nodes share an actor: the world has its own; the others go in order, `pack` to each, the dopamine node as a part of the critic it follows."""
    others: list[list[int]] = []
    for node in team.nodes[1:]:
        if team.layers[node.layer].team == "dopamine":
            others[-1].append(node.index)  # three additions are no work for an actor, and the value it waits for need not travel
        else:
            others.append([node.index])
    return [[0], *([i for together in others[at : at + pack] for i in together] for at in range(0, len(others), pack))]


def _in_short(nodes: list[str]) -> str:
    """Who shares an actor, for Ray's own tools."""
    return "+".join(nodes if len(nodes) <= MOST_NAMED else [*nodes[: MOST_NAMED - 1], f"{len(nodes) - MOST_NAMED + 1} more"])


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
        wire: str = "memory",
        kept: Keeper | None = None,
        begin: Checkpoint | None = None,
        restart: str = "never",
        tell: Callable[..., None] = lambda *_: None,
        interrupted: threading.Event | None = None,
        twists: list[dict[str, Any]] | None = None,
    ) -> None:
        """`tell` hears how it goes, again and again while all is well; `interrupted` ends the run.

        With `restart` "intensity" hosts that are lost come back. `twists` are further arguments of each host and Ray options of its actor ("options"); they
        must change nothing, and tests see to that.
        """
        import ray

        self.ray, self.scenario, self.reporter, self.kept = ray, scenario, reporter, kept
        self.plan, self.virtual = plan(scenario), time == "virtual"
        self.recording = not self.virtual and kept is not None and kept.recording
        parts = {str(number): part for number, part in enumerate(groups(self.plan, pack))}
        names = {name: [self.plan.nodes[i].name for i in part] for name, part in parts.items()}
        self._where = {i: name for name, part in parts.items() for i in part}
        reporter.note(f"starting {len(parts)} actors for {len(self.plan.nodes)} nodes")
        # Placement needs no CPUs of its own: a laptop may host more actors than it has cores. SPREAD matters on a cluster only.
        options = {"num_cpus": 0, "max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD"}
        local = "127.0.0.1" if private or len(ray.nodes()) == 1 else None
        # A frozen actor must not have its callers heap up calls: more than these are refused, as those that find no room on a wire.
        options["max_pending_calls"] = MAX_WAITING if wire == "ray" else -1
        data, given = scenario.data(), outside.packed(scenario)
        self.hosts = Hosts(ray, names, lambda: self._tell("told", self._told))
        self.failures: dict[str, str] = {}  # hosts whose code failed, and the traceback
        self._carrying, self._lost = SILENT, False
        self._told: dict[str, Any] = {}
        self._row = -1  # the decisions of the last row of progress
        self._tell, self._interrupted = tell, interrupted or threading.Event()
        run = kept.name.rpartition("__")[2] if kept is not None else uuid.uuid4().hex[:12]
        twisted = dict(zip(parts, twists or [{}] * len(parts), strict=True))
        returns = restart == "intensity" and self._can_return(scenario)

        def made(name: str, begin: Checkpoint | None, life: int = 0, **more: Any) -> Any:
            more |= {key: value for key, value in twisted[name].items() if key != "options"}
            whom, again = _in_short(names[name]), f"-{life}-{uuid.uuid4().hex[:6]}" if life else ""
            kind = type(whom, (Host,), {"__module__": Host.__module__})  # Ray names an actor's process after its class
            # A name is free again some time after its actor has ended, so none is used twice.
            remote = ray.remote(kind).options(name=f"{whom} {run}{again}", **options, **twisted[name].get("options", {}))
            state = None if begin is None else tuple(snapshot.part(begin, self.plan, parts[name]))
            record = self._recordings.called(name) if self.recording else None
            more |= {"virtual": self.virtual, "record": record, "returns": returns, "life": life}
            return remote.remote(data, parts[name], wire, local, begin=state, given=given, **more)

        self._keeps_its_beginning = restart == "intensity" and begin is None and kept is not None and kept.every > 0
        self._recordings = Recordings(self.hosts, kept) if self.recording else None
        for name in parts:
            self.hosts[name] = made(name, begin)
        self.supervisor = None
        if returns:
            self.supervisor = Supervisor(self.hosts, self.plan, parts, made, reporter.note, self._tell, self._recordings)

    def _can_return(self, scenario: Scenario) -> bool:
        """Whether a host of this team can come back while the others go on: in simulated time all would have to go back with it, and a world that waits may
        wait for what was lost with it.
        """
        return not self.virtual and not scenario.task.world.waits

    def run(self) -> Record:
        """Start all loops, watch them until the run ends, and gather what came of it."""
        stopped, before = "", clock_time.perf_counter()
        try:
            self._start()
            before = clock_time.perf_counter() + LEAD
            stopped = self._outlast()
        except Gone:
            stopped, self._lost = self.hosts.who(), True
            self._save_what_is_left()
        except KeyboardInterrupt:
            stopped = "interrupted"
        return self._gather(stopped, max(clock_time.perf_counter() - before, 1e-9))

    def end(self) -> None:
        """End the actors; Ray does so by itself only when the driver leaves."""
        for host in self.hosts.values():
            self.ray.kill(host)

    def _start(self) -> None:
        self._tell("stage", "team")
        awaited = {name: ", ".join(nodes) for name, nodes in self.hosts.names.items()}
        self.hosts.all("pid", timeout=STARTING, heard=lambda name, pid: self._tell("actor", pid, awaited.pop(name), [*awaited.values()]))
        addresses = self.hosts.all("address", timeout=STARTING)  # many actors on few cores are long in coming up, all they do until they run
        self._carrying = SILENT + max(self.hosts.all("size", timeout=STARTING).values()) / RATE  # seconds

        def others(name: str, found: dict[str, Any]) -> dict[str, Any]:
            return {other: what for other, what in found.items() if other != name}

        memories = self.hosts.all("connect", lambda name: (others(name, addresses), self._where, others(name, self.hosts)), timeout=STARTING)
        self.hosts.all("share", lambda name: (others(name, memories),), timeout=STARTING)
        if self.supervisor is not None:
            self.supervisor.begin()
        if self._keeps_its_beginning:
            parts = self.hosts.all("begins", timeout=STARTING).values()
            self.kept.checkpoint(snapshot.merge(Checkpoint(*state[:2]) for state in parts))  # so that there is always one
        at = clock_time.time_ns() + int(LEAD * 1e9)
        self.hosts.all("start", lambda _: (at,), timeout=STARTING)
        self.reporter.note("running")

    def _outlast(self) -> str:
        """Watch until the world has finished, whoever is lost on the way; returns why the run stopped."""
        while True:
            try:
                return self._watch()
            except Gone:
                if self.supervisor is None or not self.supervisor.bring_back():
                    raise

    def _watch(self) -> str:
        """Wait until the world has finished; returns why the run stopped."""
        moved, reached = clock_time.monotonic(), None
        checked = saved = clock_time.monotonic()
        while True:
            if self._interrupted.wait(POLL):
                return "interrupted"
            status = self.hosts.all("status", of=["0"])["0"]
            self._heard(status)
            if status["stopped"] and not status["failure"]:
                return status["stopped"]
            now = clock_time.monotonic()
            if (status["decisions"], status.get("window")) != reached:
                reached, moved = (status["decisions"], status.get("window")), now
            if now - checked > LOOK or now - moved > STALLED or status["failure"]:
                checked = now
                told = self.hosts.all("status", lambda _: (self.kept is not None,))
                for one in told.values():
                    self._heard(one)
                self.failures |= {name: one["failure"] for name, one in told.items() if one["failure"]}
                if self.failures:
                    return self._failed()
                if told["0"]["stopped"]:  # since it was asked before
                    return told["0"]["stopped"]
                for name, one in told.items():
                    if one["stopped"] and not self.virtual:
                        return f"{', '.join(self.hosts.names[name])} stopped: {one['stopped']}"
                if now - moved > STALLED:
                    return f"stalled: no decision for {STALLED:.0f} s; {self._culprit(status['decisions'], told)}"
                self._collect()
                if self.supervisor is not None:
                    self.supervisor.look()
                if self.kept is not None:
                    self.kept.traffic(together(Counts(*one["counts"]) for one in told.values()))
            if self.kept is not None and self.kept.every and now - saved > self.kept.every:
                if not self.virtual or self._meet(CHECKPOINT):
                    self._save()
                saved = clock_time.monotonic()

    def _heard(self, status: dict[str, Any]) -> None:
        """Pass on what the world has told."""
        for row in status["rows"]:
            if row["decisions"] > self._row:  # a world that came back tells some again
                self._row = row["decisions"]
                self.reporter.row(row)
        self._told |= {key: status[key] for key in ("decisions", "episodes", "score") if status.get(key) is not None}

    def _failed(self) -> str:
        """Say whose code failed, and where."""
        for name, report in self.failures.items():
            for line in (f"{', '.join(self.hosts.names[name])} failed:", *report.splitlines()):
                self.reporter.note(line)
        return "; ".join(f"{', '.join(self.hosts.names[name])} failed: {report.strip().splitlines()[-1]}" for name, report in self.failures.items())

    def _culprit(self, decisions: int, told: dict[str, dict[str, Any]]) -> str:
        """Whom everyone waits for, though all answer."""
        if self.virtual:  # whoever waits for nobody, else those who are behind
            first = min(one["window"] for one in told.values())
            named = [name for name, one in told.items() if not one["waits"]] or [name for name, one in told.items() if one["window"] == first]
            return f"everyone waits for {', '.join(node for name in named for node in self.hosts.names[name])}"
        stamps = {node: stamp for one in told.values() for node, stamp in one["stamps"].items()}
        last = min(stamps, key=stamps.get)
        return f"the world is at {decisions}, and {last} is the farthest behind, at {stamps[last]}"

    def _collect(self) -> None:
        """Fetch what was recorded."""
        if self._recordings is not None:
            self._recordings.collect()

    def _save(self, last: bool = False) -> None:
        """Write a checkpoint: in virtual time of the instant at which all met last, else of one at which all stand still and nothing is under way."""
        since = None if self.virtual else self._stand()
        if self.virtual or since is not None:
            self._keep_states()
        if since is not None and not last:
            at = clock_time.time_ns() + int(AGAIN * 1e9)
            self.hosts.answers("go_on", lambda _: (since, at))

    def _keep_states(self) -> None:
        """Have a checkpoint of what all hosts say is their state, if all do."""
        parts = [part for part in self.hosts.answers("state", timeout=self._carrying).values() if part is not None]
        if len(parts) == len(self.hosts):
            self.kept.checkpoint(snapshot.merge(Checkpoint(*part) for part in parts))

    def _stand(self) -> int | None:
        """In real time: have all loops stand still until nothing is under way between them; returns the run's time there, or None if they had to go on."""
        at, until = clock_time.time_ns() + int(AGAIN * 1e9), clock_time.monotonic() + AGAIN + SILENT
        self.hosts.answers("stand", lambda _: (at,))
        since = 0
        while clock_time.monotonic() < until and not self.hosts.gone:
            clock_time.sleep(0.02)
            stands = [one for one in self.hosts.answers("stands").values() if one is not None]
            since = max([since, *(now for now, _ in stands)])
            if len(stands) == len(self.hosts) and not ledger.unexplained(total(books for _, books in stands)).any():
                return since
        at = clock_time.time_ns()
        self.hosts.answers("go_on", lambda _: (since, at))
        return None

    def _meet(self, purpose: int) -> bool:
        """In virtual time: have all loops meet; returns whether they have."""
        before = max((met for met in self.hosts.answers("met").values() if met is not None), default=-1)
        self.hosts.answers("meet", lambda _: (purpose,), of=["0"])
        until = clock_time.monotonic() + MEETING
        while clock_time.monotonic() < until:
            clock_time.sleep(0.05)
            met = list(self.hosts.answers("met").values())
            if len(met) == len(self.hosts) and min(met) == max(met) > before:
                return True
        return False

    def _save_what_is_left(self) -> None:
        """Have a checkpoint of the states that were fetched last, of those who are lost, too: no more is lost with them than since then."""
        if self.supervisor is None:
            return
        self.supervisor.give_up()
        if self.kept is not None and self.kept.every and len(states := self.supervisor.states()) == len(self.hosts):
            self.kept.checkpoint(snapshot.merge(states))

    def _gather(self, stopped: str, seconds: float) -> Record:
        if stopped == "interrupted":
            self._wind_up()
        elif self.virtual and stopped == "finished":
            self._await_ends()
        self.hosts.answers("stop", lambda _: (stopped,))
        ended = self._await_ends()
        self._until_balanced(ended)
        if stopped == "finished" and self.kept is not None and self.kept.every and len(ended) == len(self.hosts):
            self._keep_states()  # it may be given another length
        handed = list(self.hosts.answers("result", of=ended, timeout=self._carrying).values())
        self._collect()
        if self.hosts.gone and stopped in ("finished", "interrupted"):
            if stopped == "finished":
                self._lost = True
                self._save_what_is_left()
            stopped = f"{self.hosts.who()}, when the run had {'ended' if stopped == 'finished' else 'been interrupted'}"
        named = {name: ", ".join(nodes) for name, nodes in self.hosts.names.items()}
        measured: dict[str, Any] = {"actors": len(self.hosts)}
        if not self.virtual:
            measured["slow_answers"] = {named[name]: took for name, took in self.hosts.slow.items()}
        if self.supervisor is not None and self.supervisor.restarts:
            measured |= {"restarts": self.supervisor.restarts, "unread": self.supervisor.unread}
        if self.failures:
            measured["failures"] = {named[name]: report for name, report in self.failures.items()}
        lost = {} if self.supervisor is None else self.supervisor.lost
        left = replace(remains(stopped, self._told, seconds), lost=self._lost)
        return whole(left, self.plan, handed, None if self.virtual else self.scenario.tick, measured, lost)

    def _await_ends(self) -> list[str]:
        """Wait until the loops have ended; returns whose have."""
        until = clock_time.monotonic() + ENDING
        ended: dict[str, bool] = {}
        while clock_time.monotonic() < until:
            ended = self.hosts.answers("await_end", lambda _: (SLICE,))
            if all(ended.values()):
                break
        self.hosts.gone |= {name: f"its loop has not ended within {ENDING:.0f} s" for name, done in ended.items() if not done}
        return [name for name, done in ended.items() if done]

    def _until_balanced(self, ended: list[str]) -> None:
        """Wait until nothing is on the wire any more: then the books of all balance."""
        until = clock_time.monotonic() + BALANCING
        while len(ended) == len(self.hosts) and clock_time.monotonic() < until:
            if not ledger.unexplained(total(self.hosts.answers("books", of=ended).values())).any():
                break

    def _wind_up(self) -> None:
        """After an interrupt: have all come to one instant, and keep the state from which the run can go on."""
        if (not self.virtual or self._meet(STOP)) and self.kept is not None and self.kept.every:
            self._save(last=True)
