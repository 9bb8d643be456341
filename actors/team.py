"""A run on Ray: place the nodes, start their loops together, watch, stop, gather.

Ray places and starts the actors, carries requests and results, and tells of deaths; what the nodes say to each other goes over the wire. No actor
is restarted behind anybody's back (max_restarts = 0, max_task_retries = 0): a lost one ends the run and is named.
"""

from __future__ import annotations

import threading
import time as clock_time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from asyncnet.kernels.kernel import telling
from asyncnet.loop import ledger
from asyncnet.loop.compiled.ahead import compile_ahead
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.loop import digest
from asyncnet.runs import snapshot
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.runs.metrics import Score
from asyncnet.runs.record import Keeper, Record, Reporter
from asyncnet.scenario import outside
from asyncnet.scenario.schema import Scenario
from asyncnet.team.draw import plan
from asyncnet.team.network import Plan

from .gauge import Gauge
from .host import Host
from .session import Session
from .windows import CHECKPOINT, STOP
from .wire import MAX_WAITING

POLL = 0.25  # seconds between looks at the world
LOOK = 2.0  # seconds between looks at everybody
LEAD = 0.5  # seconds between the order to start and the start, so that all hosts have heard
AGAIN = 0.1  # the same for standing still, and for going on after it
STARTING = 300.0  # seconds for an actor to start: its machine may have to compile first
SILENT = 10.0  # seconds without an answer: whoever is asked answers at once, so this one is frozen, or cut off
RATE = 10e6  # bytes a second at which at least a state must come, on top of that
SLOW = 3.0  # seconds for an answer; the verdict hears of slower ones
SLICE = 0.5  # seconds of waiting at a time
STALLED = 60.0  # seconds without a decision
MEETING = 30.0  # seconds for all to come to one instant
ENDING = 20.0  # seconds for loops to end
BALANCING = 3.0  # seconds for the last messages on the wire to come
BEHIND = 0.9  # a node with a smaller share of its ticks could not keep its clock


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


def remains(stopped: str, told: dict[str, Any], seconds: float) -> Record:
    """What is left of a run whose world is gone: the score as it was told last, and of its nodes nothing."""
    score = told.get("score") or Score(None, None).summary()
    return Record(
        stopped=stopped,
        score=score | {key: told[key] for key in ("decisions", "episodes") if key in told},
        returns=[],
        digest="",
        seconds=seconds,
        weights={},
        nodes={},
        links={},
        ledger=np.zeros((len(ledger.COLUMNS), 0), dtype=np.int64),
        fields={},
    )


def groups(team: Plan, pack: int) -> list[list[int]]:
    """Which nodes share an actor: the world has its own; the others go in order, `pack` to each, the dopamine node as a part of the critic it follows."""
    others: list[list[int]] = []
    for node in team.nodes[1:]:
        if team.layers[node.layer].team == "dopamine":
            others[-1].append(node.index)  # three additions are no work for an actor, and the value it waits for need not travel
        else:
            others.append([node.index])
    return [[0], *([i for together in others[at : at + pack] for i in together] for at in range(0, len(others), pack))]


class Gone(Exception):
    """A host is lost or does not answer; Team.gone says which."""


def _what_happened(error: str) -> str:
    """What Ray says of the end of an actor, in a few words."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return lines[-1][:300] if "creation task" in error and len(lines) > 1 else "its process has ended"


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
        tell: Callable[..., None] = lambda *_: None,
        interrupted: threading.Event | None = None,
        twists: list[dict[str, Any]] | None = None,
    ) -> None:
        """`tell` hears how it goes, again and again while all is well; `interrupted` ends the run.

        `twists` are further arguments of each host and Ray options of its actor ("options"); they must change nothing, and tests see to that.
        """
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
        # A frozen actor must not have its callers heap up calls: more than these are refused, as those that find no room on a wire.
        options["max_pending_calls"] = MAX_WAITING if wire == "ray" else -1
        data, given, self.hosts = scenario.data(), outside.packed(scenario), {}
        self.gone: dict[str, str] = {}  # hosts that are lost or do not answer, and what happened; they are asked no more
        self.failures: dict[str, str] = {}  # hosts whose code failed, and the traceback
        self._carrying = SILENT
        self._slow: dict[str, float] = {}  # the longest time that a host took to answer
        self._told: dict[str, Any] = {}
        self._tell, self._interrupted = tell, interrupted or threading.Event()
        for (name, part), twist in zip(enumerate(parts), twists or [{}] * len(parts), strict=True):
            more = {key: value for key, value in twist.items() if key != "options"}
            remote = ray.remote(Host).options(**options, **twist.get("options", {}))
            state = None if begin is None else tuple(snapshot.part(begin, self.plan, part))
            record = str(name) if self.recording else None
            self.hosts[str(name)] = remote.remote(data, part, wire, local, virtual=self.virtual, record=record, begin=state, given=given, **more)
        self._where = where

    def run(self) -> Record:
        """Start all loops, watch them until the run ends, and gather what came of it."""
        stopped, before = "", clock_time.perf_counter()
        try:
            self._start()
            before = clock_time.perf_counter() + LEAD
            stopped = self._watch()
        except Gone:
            stopped = self._who()
        except KeyboardInterrupt:
            stopped = "interrupted"
        return self._gather(stopped, max(clock_time.perf_counter() - before, 1e-9))

    def end(self) -> None:
        """End the actors; Ray does so by itself only when the driver leaves."""
        for host in self.hosts.values():
            self.ray.kill(host)

    def _start(self) -> None:
        self._tell("stage", "team")
        awaited = {name: ", ".join(nodes) for name, nodes in self.names.items()}
        self._all("pid", timeout=STARTING, heard=lambda name, pid: self._tell("actor", pid, awaited.pop(name), [*awaited.values()]))
        addresses = self._all("address")
        self._carrying = SILENT + max(self._all("size").values()) / RATE  # seconds
        self._all(
            "connect",
            lambda name: tuple(
                {k: v for k, v in found.items() if k != name} if found is not self._where else found for found in (addresses, self._where, self.hosts)
            ),
        )
        at = clock_time.time_ns() + int(LEAD * 1e9)
        self._all("start", lambda _: (at,))
        self.reporter.note("running")

    def _answers(
        self,
        method: str,
        arguments: Callable[[str], tuple] = lambda _: (),
        timeout: float | None = None,
        of: Iterable[str] | None = None,
        heard: Callable[[str, Any], None] = lambda *_: None,
    ) -> dict[str, Any]:
        """Call a method of the hosts (those that are there, or of these) and return their answers by name; who has none is `gone`.

        `heard` is told each answer as it comes.
        """
        asked = {getattr(self.hosts[name], method).remote(*arguments(name)): name for name in of or self.hosts if name not in self.gone}
        answers, began, longest = {}, clock_time.monotonic(), timeout or SILENT
        while asked:
            done, _ = self.ray.wait(list(asked), num_returns=len(asked), timeout=SLICE)
            took = clock_time.monotonic() - began
            for answer in done:
                name = asked.pop(answer)
                try:
                    answers[name] = self.ray.get(answer, timeout=SILENT)
                    heard(name, answers[name])
                except (self.ray.exceptions.RayActorError, self.ray.exceptions.GetTimeoutError) as error:
                    self.gone[name] = _what_happened(str(error))
                if took > max(SLOW, self._slow.get(name, 0.0)) and timeout is None:
                    self._slow[name] = took
            self._tell("told", self._told)
            if took > longest:
                self.gone |= dict.fromkeys(asked.values(), f"no answer for {longest:.0f} s")
                break
        return {name: answers[name] for name in self.hosts if name in answers}

    def _all(self, method: str, *arguments: Any, **how: Any) -> dict[str, Any]:
        """The same, of hosts that must all be there; raises Gone."""
        answers = self._answers(method, *arguments, **how)
        if self.gone:
            raise Gone
        return answers

    def _who(self) -> str:
        """Who is gone, and what happened, in one line."""
        why: dict[str, list[str]] = {}
        for name in self.hosts:
            if name in self.gone:
                why.setdefault(self.gone[name], []).extend(self.names[name])
        return "an actor was lost: " + "; ".join(f"{', '.join(names)} ({what})" for what, names in why.items())

    def _watch(self) -> str:
        """Wait until the world has finished; returns why the run stopped."""
        moved, reached = clock_time.monotonic(), None
        checked = saved = clock_time.monotonic()
        while True:
            if self._interrupted.wait(POLL):
                return "interrupted"
            status = self._all("status", of=["0"])["0"]
            self._heard(status)
            if status["stopped"] and not status["failure"]:
                return status["stopped"]
            now = clock_time.monotonic()
            if (status["decisions"], status.get("window")) != reached:
                reached, moved = (status["decisions"], status.get("window")), now
            if now - checked > LOOK or now - moved > STALLED or status["failure"]:
                checked = now
                told = self._all("status")
                for one in told.values():
                    self._heard(one)
                self.failures |= {name: one["failure"] for name, one in told.items() if one["failure"]}
                if self.failures:
                    return self._failed()
                for name, one in told.items():
                    if one["stopped"] and not self.virtual:
                        return f"{', '.join(self.names[name])} stopped: {one['stopped']}"
                if now - moved > STALLED:
                    return f"stalled: no decision for {STALLED:.0f} s; {self._culprit(status['decisions'], told)}"
                self._collect()
            if self.kept is not None and self.kept.every and now - saved > self.kept.every:
                if not self.virtual or self._meet(CHECKPOINT):
                    self._save()
                saved = clock_time.monotonic()

    def _heard(self, status: dict[str, Any]) -> None:
        """Pass on what the world has told."""
        for row in status["rows"]:
            self.reporter.row(row)
        self._told |= {key: status[key] for key in ("decisions", "episodes", "score") if status.get(key) is not None}

    def _failed(self) -> str:
        """Say whose code failed, and where."""
        for name, report in self.failures.items():
            for line in (f"{', '.join(self.names[name])} failed:", *report.splitlines()):
                self.reporter.note(line)
        return "; ".join(f"{', '.join(self.names[name])} failed: {report.strip().splitlines()[-1]}" for name, report in self.failures.items())

    def _culprit(self, decisions: int, told: dict[str, dict[str, Any]]) -> str:
        """Whom everyone waits for, though all answer."""
        if self.virtual:  # whoever waits for nobody, else those who are behind
            first = min(one["window"] for one in told.values())
            named = [name for name, one in told.items() if not one["waits"]] or [name for name, one in told.items() if one["window"] == first]
            return f"everyone waits for {', '.join(node for name in named for node in self.names[name])}"
        stamps = {node: stamp for one in told.values() for node, stamp in one["stamps"].items()}
        last = min(stamps, key=stamps.get)
        return f"the world is at {decisions}, and {last} is the farthest behind, at {stamps[last]}"

    def _collect(self) -> None:
        """Fetch what was recorded."""
        if self.recording:
            for name, segments in self._answers("segments").items():
                for segment in segments:
                    self.kept.segment(name, segment)

    def _save(self, last: bool = False) -> None:
        """Write a checkpoint: in virtual time of the instant at which all met last, else of one at which all stand still and nothing is under way."""
        since = None if self.virtual else self._stand()
        if self.virtual or since is not None:
            parts = [part for part in self._answers("state", timeout=self._carrying).values() if part is not None]
            if len(parts) == len(self.hosts):
                self.kept.checkpoint(snapshot.merge(Checkpoint(*part) for part in parts))
        if since is not None and not last:
            at = clock_time.time_ns() + int(AGAIN * 1e9)
            self._answers("go_on", lambda _: (since, at))

    def _stand(self) -> int | None:
        """In real time: have all loops stand still until nothing is under way between them; returns the run's time there, or None if they had to go on."""
        at, until = clock_time.time_ns() + int(AGAIN * 1e9), clock_time.monotonic() + AGAIN + SILENT
        self._answers("stand", lambda _: (at,))
        since = 0
        while clock_time.monotonic() < until:
            clock_time.sleep(0.02)
            stands = [one for one in self._answers("stands").values() if one is not None]
            since = max([since, *(now for now, _ in stands)])
            if len(stands) == len(self.hosts) and not ledger.unexplained(self._sum(books for _, books in stands)).any():
                return since
        at = clock_time.time_ns()
        self._answers("go_on", lambda _: (since, at))
        return None

    def _sum(self, books: Iterable[bytes]) -> np.ndarray:
        return sum(np.frombuffer(one, dtype=np.int64).reshape(len(ledger.COLUMNS), -1) for one in books)

    def _meet(self, purpose: int) -> bool:
        """In virtual time: have all loops meet; returns whether they have."""
        before = max((met for met in self._answers("met").values() if met is not None), default=-1)
        self._answers("meet", lambda _: (purpose,), of=["0"])
        until = clock_time.monotonic() + MEETING
        while clock_time.monotonic() < until:
            clock_time.sleep(0.05)
            met = list(self._answers("met").values())
            if len(met) == len(self.hosts) and min(met) == max(met) > before:
                return True
        return False

    def _gather(self, stopped: str, seconds: float) -> Record:
        if stopped == "interrupted":
            self._wind_up()
        elif self.virtual and stopped == "finished":
            self._await_ends()
        self._answers("stop", lambda _: (stopped,))
        ended = self._await_ends()
        self._until_balanced(ended)
        results = list(self._answers("result", of=ended, timeout=self._carrying).values())
        self._collect()
        if self.gone and stopped in ("finished", "interrupted"):
            stopped = f"{self._who()}, when the run had {'ended' if stopped == 'finished' else 'been interrupted'}"
        nodes = {name: row for result in results for name, row in result["nodes"].items()}
        world = next((result for result in results if result["score"]), None)
        measured = self._measured(results, nodes, world["elapsed"] if world else max((result["elapsed"] for result in results), default=0))
        if not results:
            return replace(remains(stopped, self._told, seconds), measured=measured)
        table = self._sum(result["ledger"] for result in results)
        states = {i: np.frombuffer(state, dtype="<f8") for result in results for i, state in result["states"].items()}
        record = remains(stopped, self._told, seconds)
        return replace(
            record,
            score=world["score"] if world else record.score,
            returns=world["returns"] if world else [],
            digest=digest(states) if len(states) == len(self.plan.nodes) and not self.failures else "",
            weights={
                name: {key: np.frombuffer(data, dtype="<f8").reshape(shape).copy() for key, (shape, data) in arrays.items()}
                for result in results
                for name, arrays in result["weights"].items()
            },
            nodes=nodes,
            links=_links(self.plan, table, results),
            ledger=table,
            fields={name: digests for result in results for name, digests in result["fields"].items()},
            measured=measured,
        )

    def _measured(self, results: list[dict[str, Any]], nodes: dict[str, dict[str, Any]], elapsed: int) -> dict[str, Any]:
        """What only a wire and real clocks have: rates of ticks, who could not keep its clock, who stood still, frames that did not get through."""
        off, tick = {}, self.scenario.tick
        for name, row in nodes.items():
            if not self.virtual and np.isfinite(row["period"]):
                row["tick_rate"] = row["ticks"] * row["period"] * tick / max(1, elapsed)  # 1: as declared
                if elapsed > 100 * row["period"] * tick and row["tick_rate"] < BEHIND:
                    off[name] = f"could not keep its clock: {row['tick_rate']:.0%} of its ticks"
            else:
                del row["period"]
        measured = {name: sum(result[name] for result in results) for name in ("refused_frames", "malformed_frames")}
        measured |= {"off_clock": off, "elapsed_s": elapsed / 1e6, "actors": len(self.hosts)}
        if not self.virtual:
            measured["pauses"] = {", ".join(result["nodes"]) or self.plan.nodes[0].name: result["pauses"] for result in results if result["pauses"]}
            measured["slow_answers"] = {", ".join(self.names[name]): took for name, took in self._slow.items()}
        return measured | ({"failures": {", ".join(self.names[name]): report for name, report in self.failures.items()}} if self.failures else {})

    def _await_ends(self) -> list[str]:
        """Wait until the loops have ended; returns whose have."""
        until = clock_time.monotonic() + ENDING
        ended: dict[str, bool] = {}
        while clock_time.monotonic() < until:
            ended = self._answers("await_end", lambda _: (SLICE,))
            if all(ended.values()):
                break
        self.gone |= {name: f"its loop has not ended within {ENDING:.0f} s" for name, done in ended.items() if not done}
        return [name for name, done in ended.items() if done]

    def _until_balanced(self, ended: list[str]) -> None:
        """Wait until nothing is on the wire any more: then the books of all balance."""
        until = clock_time.monotonic() + BALANCING
        while len(ended) == len(self.hosts) and clock_time.monotonic() < until:
            if not ledger.unexplained(self._sum(self._answers("books", of=ended).values())).any():
                break

    def _wind_up(self) -> None:
        """After an interrupt: have all come to one instant, and keep the state from which the run can go on."""
        if (not self.virtual or self._meet(STOP)) and self.kept is not None and self.kept.every:
            self._save(last=True)


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
