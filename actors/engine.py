"""The Ray engine: place the nodes, start their loops together, watch, stop, gather.

Ray places and starts the actors, carries requests and results, and tells of deaths; what the nodes say to each other goes over the wire. No actor
is restarted behind anybody's back (max_restarts = 0, max_task_retries = 0): a lost one ends the run and is named.
"""

from __future__ import annotations

import time as clock_time
from typing import Any

import numpy as np

from asyncnet.compiled_loop import CompiledLoop
from asyncnet.loop import digest
from asyncnet.network import Plan, plan
from asyncnet.record import Record, Reporter
from asyncnet.scenario import Scenario, ScenarioError

from .courier import COURIERS
from .gauge import Gauge
from .host import Host
from .session import Session, session

POLL = 0.25  # seconds between looks at the world
LEAD = 0.5  # seconds between the order to start and the start, so that all hosts have heard
STALLED = 60.0  # seconds without a decision
BEHIND = 0.9  # a node with a smaller share of its ticks could not keep its clock


def run(scenario: Scenario, reporter: Reporter, *, time: str = "wall", pack: int = 1, wire: str = "zmq", address: str | None = None) -> Record:
    """Run a scenario on Ray actors, `pack` nodes in each, to its end or to KeyboardInterrupt; raises RuntimeError if a node's code failed."""
    if time != "wall":
        raise ScenarioError("--time", "", "Ray actors run on real clocks; use --time wall")
    if wire not in COURIERS:
        raise ScenarioError("--wire", "", f"no wire {wire!r}; there are {', '.join(COURIERS)}")
    if pack < 1:
        raise ScenarioError("--pack", "", f"at least one node an actor, got {pack}")
    plan(scenario)  # whatever is wrong with it is said before anything starts
    reporter.note("starting Ray")
    with session(address) as held:
        return run_in(held, scenario, reporter, pack=pack, wire=wire)


def run_in(held: Session, scenario: Scenario, reporter: Reporter, *, pack: int = 1, wire: str = "zmq") -> Record:
    """The same, in a Ray session that is there already; its actors are ended afterwards."""
    CompiledLoop(scenario, None).prepare(wired=True)  # compiles, once, what the hosts of this machine will find in the cache
    started = _Run(scenario, plan(scenario), reporter, pack, wire, private=held.mark is not None)
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


class _Run:
    """One run: the hosts, by name, and what they do together."""

    def __init__(self, scenario: Scenario, team: Plan, reporter: Reporter, pack: int, wire: str, *, private: bool) -> None:
        import ray

        self.ray, self.scenario, self.team, self.reporter = ray, scenario, team, reporter
        parts = groups(team, pack)
        self.names = {str(number): [team.nodes[i].name for i in part] for number, part in enumerate(parts)}
        where = {i: str(number) for number, part in enumerate(parts) for i in part}
        reporter.note(f"starting {len(parts)} actors for {len(team.nodes)} nodes")
        # Placement needs no CPUs of its own: a laptop may host more actors than it has cores. SPREAD matters on a cluster only.
        remote = ray.remote(Host).options(num_cpus=0, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD")
        local = private or len(ray.nodes()) == 1
        data = scenario.data()
        self.hosts = {str(number): remote.remote(data, part, wire, "127.0.0.1" if local else _ip()) for number, part in enumerate(parts)}
        addresses = dict(zip(self.hosts, self._ask("address"), strict=True))
        self._ask("connect", lambda name: ({k: v for k, v in addresses.items() if k != name}, where, {k: v for k, v in self.hosts.items() if k != name}))

    def _ask(self, method: str, arguments: Any = lambda _: (), timeout: float = 300.0) -> list[Any]:
        """Call a method of every host and wait for the answers, in order."""
        return self.ray.get([getattr(host, method).remote(*arguments(name)) for name, host in self.hosts.items()], timeout=timeout)

    def run(self) -> Record:
        stopped, before = "", 0.0
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
        world, moved, decisions = self.hosts["0"], clock_time.monotonic(), -1
        checked = clock_time.monotonic()
        while True:
            clock_time.sleep(POLL)
            status = self.ray.get(world.status.remote(), timeout=60.0)
            for row in status["rows"]:
                self.reporter.row(row)
            if status["failure"]:
                raise RuntimeError(f"the world failed:\n{status['failure']}")
            if status["stopped"]:
                return status["stopped"]
            now = clock_time.monotonic()
            if status["decisions"] != decisions:
                decisions, moved = status["decisions"], now
            if now - checked > 2.0 or now - moved > STALLED:
                checked = now
                stamps: dict[str, int] = {}
                for name, told in zip(self.names, self._ask("status", timeout=60.0), strict=True):
                    if told["failure"]:
                        raise RuntimeError(f"{', '.join(self.names[name])} failed:\n{told['failure']}")
                    stamps |= told["stamps"]
                    for row in told["rows"]:
                        self.reporter.row(row)
            if now - moved > STALLED:
                last = min(stamps, key=stamps.get)
                return f"stalled: no decision for {STALLED:.0f} s; the world is at {decisions}, and {last} is the farthest behind, at {stamps[last]}"

    def _lost(self, error: Exception) -> str:
        gone = []
        for name, host in self.hosts.items():
            try:
                self.ray.get(host.address.remote(), timeout=5.0)
            except Exception:
                gone += self.names[name]
        return ", ".join(gone) or str(error).splitlines()[0]

    def _gather(self, stopped: str, seconds: float) -> Record:
        results: list[dict[str, Any]] = []
        for method in ("stop", "result"):
            pending = {host: getattr(host, method).remote(*([stopped] if method == "stop" else [])) for host in self.hosts.values()}
            for answer in pending.values():
                try:
                    results.append(self.ray.get(answer, timeout=30.0))
                except (self.ray.exceptions.RayActorError, self.ray.exceptions.GetTimeoutError):
                    continue  # lost with its state; the record says which nodes are missing
        results = [result for result in results if result is not None]
        world = next((result for result in results if result["score"]), None)
        if world is None:
            raise RuntimeError(f"the world's actor was lost, and with it the record of the run ({stopped})")
        elapsed = world["elapsed"]
        nodes = {name: row for result in results for name, row in result["nodes"].items()}
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
            links=_links(results),
            measured=_measured(results, nodes, elapsed, self.scenario.tick) | {"actors": len(self.hosts)},
        )


def _ip() -> str:
    import ray

    return ray.util.get_node_ip_address()


def _links(results: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The hosts' ledgers added up, with what the wire really took beside them."""
    out: dict[str, dict[str, Any]] = {}
    for result in results:
        for channel, row in result["links"].items():
            total = out.setdefault(channel, dict.fromkeys(row, 0))
            for key, value in row.items():
                total[key] += value
    for channel, row in out.items():
        gauge = Gauge()
        for result in results:
            gauge.merge(*result["measured"][channel])
        if gauge.count:
            row |= {"wire_mean_us": gauge.mean, "wire_p50_us": gauge.quantile(0.5), "wire_p99_us": gauge.quantile(0.99)}
    return out


def _measured(results: list[dict[str, Any]], nodes: dict[str, dict[str, Any]], elapsed: int, tick: int) -> dict[str, Any]:
    """What only real clocks have: rates of ticks, and who could not keep its clock."""
    off = {}
    for name, row in nodes.items():
        if np.isfinite(row["period"]):
            row["tick_rate"] = row["ticks"] * row["period"] * tick / max(1, elapsed)  # 1: as declared
            if elapsed > 100 * row["period"] * tick and row["tick_rate"] < BEHIND:
                off[name] = f"could not keep its clock: {row['tick_rate']:.0%} of its ticks"
        else:
            del row["period"]
    refused, malformed = sum(result["refused"] for result in results), sum(result["malformed"] for result in results)
    return {"off_clock": off, "refused_frames": refused, "malformed_frames": malformed, "elapsed_s": elapsed / 1e6}
