"""The event loop: it hosts nodes, keeps the agenda, applies conditions to what they send, and knows no rule.

    take the first event of the agenda -> give it to its node -> put what the node sends on the agenda (or on the wire)

The agenda is a heap of events ordered by content (message.py). One loop with virtual time is the embedded engine; a Ray run is many loops in wall time.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Any

import numpy as np

from asyncnet import clock, tasks
from asyncnet.link import CONSTANT, EXPONENTIAL, LOGNORMAL, LOSS, UNIFORM, fate
from asyncnet.message import CHANNEL_NAMES, CHANNELS, TICK, WORLD, Letter
from asyncnet.metrics import Score
from asyncnet.network import LinkPlan, Plan, plan
from asyncnet.node import Node, build, clock_of
from asyncnet.scenario import Links, Scenario
from asyncnet.timekeeper import NEVER, Wire
from asyncnet.world import World

_DELAYS = {"constant": CONSTANT, "uniform": UNIFORM, "exponential": EXPONENTIAL, "lognormal": LOGNORMAL}


class Link:
    """A link as its sender's loop uses it: where it goes, what it does to messages, and what became of them."""

    __slots__ = ("channel", "conditions", "dst", "dst_identity", "fixed", "held", "lost", "port", "retry", "sent", "src", "stale", "wired")

    def __init__(self, plan: LinkPlan, dst_identity: int, links: Links, tick: int, wired: bool) -> None:
        self.channel, self.src, self.dst, self.port, self.dst_identity, self.wired = plan.channel, plan.src, plan.dst, plan.port, dst_identity, wired
        channel = CHANNEL_NAMES[plan.channel]
        rows, fixed = [], True
        for condition in links.of(channel):
            if condition.loss:
                rows.append((LOSS, condition.loss, 0.0))
                fixed = False
            if condition.delay:
                numbers = [value * tick if key != "sigma" else value for key, value in condition.delay.model_dump(exclude={"kind"}).items()]
                rows.append((_DELAYS[condition.delay.kind], *numbers, *[0.0] * (2 - len(numbers))))
                fixed = fixed and condition.delay.kind == "constant"
        self.stale = links.stale(channel)
        self.retry = links.retry * tick if links.reliable(channel) else -1.0
        self.conditions = np.array(rows or np.zeros((0, 3)), dtype=np.float64)
        self.fixed = round(sum(row[1] for row in rows)) if fixed else -1  # the delay in microseconds if it is always the same
        self.held: deque[tuple[int, Letter]] = deque()
        self.sent = self.lost = 0


class Loop:
    """Hosts the nodes numbered `mine` (all, if None) of a scenario's team.

    `reverse` builds the nodes in reverse order; it must change nothing (a test sees to that).
    """

    def __init__(self, scenario: Scenario, keeper: Any, mine: Iterable[int] | None = None, wire: Wire | None = None, *, reverse: bool = False) -> None:
        self.scenario, self.keeper, self.wire = scenario, keeper, wire
        self.plan: Plan = plan(scenario)
        self.stopped: str | None = None  # why the loop stopped, once it has
        self.now = 0
        self.seed, self.tick = scenario.seed, scenario.tick
        numbers = sorted(range(len(self.plan.nodes)) if mine is None else mine, reverse=reverse)
        self.nodes: dict[int, Node | World] = {i: self._build(i) for i in numbers}
        self.score = self.nodes[0].score if 0 in self.nodes else None
        self.clocks = {i: clock_of(scenario, self.plan.nodes[i]) for i in sorted(self.nodes) if i}
        self.listens = any(row[0] == clock.ON_ARRIVAL for row in self.clocks.values()) or (0 in self.nodes and scenario.task.world.waits)
        self.links: dict[int, dict[int, list[Link]]] = {i: {channel: [] for channel in CHANNELS.values()} for i in self.nodes}
        for link in sorted(self.plan.links, key=lambda link: (link.src, link.channel, link.slot)):
            if link.src in self.nodes:
                self.links[link.src][link.channel].append(self._link(link))
        self.ports = {(link.channel, link.dst, link.src): link.port for link in self.plan.links if link.dst in self.nodes}
        self.sequence = {i: [0] * TICK for i in self.nodes}
        self.ticks = dict.fromkeys(self.nodes, 0)
        self.skipped = dict.fromkeys(self.nodes, 0)
        self.delivered = dict.fromkeys(CHANNELS.values(), 0)
        self.agenda: list[tuple] = []
        if 0 in self.nodes:
            heappush(self.agenda, (0, WORLD, 0, 0, 0, 0, None, 0))
        for i, row in self.clocks.items():
            first = int(clock.first_tick(row, self.seed, self.nodes[i].identity))
            if first < NEVER:
                heappush(self.agenda, (first, TICK, i, i, 0, 0, None, 0))

    def _build(self, index: int) -> Node | World:
        node, scenario = self.plan.nodes[index], self.scenario
        if node.role != "world":
            return build(scenario, self.plan, node)
        score = Score(scenario.task.decisions, scenario.task.episodes)
        one_hot = scenario.network.output == "softmax"
        task = tasks.build(scenario.task, scenario.seed)
        dopamine, repeats = scenario.critic is not None, scenario.links.repeats()
        return World(task, scenario.task.world, scenario.tick, score, one_hot=one_hot, dopamine=dopamine, repeats=repeats)

    def _link(self, link: LinkPlan) -> Link:
        return Link(link, self.plan.nodes[link.dst].identity, self.scenario.links, self.tick, wired=link.dst not in self.nodes)

    def prepare(self) -> None:
        """Compile what the run will need, or find it compiled, so that no clock waits for it."""
        for i, node in self.nodes.items():
            if i:
                node.prepare()
        row = clock.row("periodic", 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)
        clock.next_tick(row, self.seed, 0, 1, 0)
        fate(np.zeros((0, 3)), self.seed, 0, 0, 0, 0, -1.0)

    def run(self, progress: Callable[[Loop], None] | None = None) -> None:
        """Handle events until the world has finished, somebody calls `stop`, or nobody has anything left to do."""
        agenda, nodes, score = self.agenda, self.nodes, self.score
        now = self.now
        rows = 0
        while self.stopped is None:
            at = agenda[0][0] if agenda else NEVER
            if at > now:
                if at == NEVER and self.wire is None:
                    self.stopped = self._stalled(now)
                    break
                now, came = self.keeper.reach(at, self.wire, self.listens)
                for event in came:
                    heappush(agenda, (*event, self.ports[event[1], event[2], event[3]]))
                self.now = now
                if not agenda or agenda[0][0] > now:
                    continue
            at, kind, dst, _, seq, stamp, payload, port = heappop(agenda)
            node = nodes[dst]
            if kind == TICK:
                letters = node.act(now)
                self._next_tick(node, dst, at, now)
            elif kind == WORLD:
                letters, turn = node.act(now)
                if turn is not None:
                    heappush(agenda, (max(turn, now), WORLD, 0, 0, 0, 0, None, 0))
                if score.finished:
                    self.stopped = "finished"
                if progress is not None and len(score.rows) > rows:
                    rows = len(score.rows)
                    progress(self)
            else:
                self.delivered[kind] += 1
                if dst == 0:
                    turn = node.hear(now, kind, port, seq, stamp, payload)
                    if turn is not None:
                        heappush(agenda, (turn, WORLD, 0, 0, 0, 0, None, 0))
                    continue
                letters = node.hear(now, kind, port, seq, stamp, payload)
            for letter in letters:
                self._send(dst, letter, now)
        if self.wire is not None:
            self.wire.flush()

    def _stalled(self, now: int) -> str:
        return f"stalled: nobody had anything to do after {now / 1e6:.3f} s; the world waited for decision {self.nodes[0].decision}"

    def stop(self, why: str) -> None:
        """Make `run` return before its next event; may be called from another thread."""
        self.stopped = self.stopped or why

    def _next_tick(self, node: Node, index: int, at: int, now: int) -> None:
        self.ticks[index] += 1
        k = self.ticks[index] + self.skipped[index]
        due = int(clock.next_tick(self.clocks[index], self.seed, node.identity, k, at))
        if due <= now:  # wall time only: ticks that have passed are skipped, not made up for, and counted
            missed = 0
            while due <= now:
                missed += 1
                due = int(clock.next_tick(self.clocks[index], self.seed, node.identity, k + missed, due))
            self.skipped[index] += missed
        heappush(self.agenda, (due, TICK, index, index, k, 0, None, 0))

    def _send(self, src: int, letter: Letter, now: int) -> None:
        channel, stamp, payload, only = letter
        sequence = self.sequence[src]
        seq = sequence[channel] = sequence[channel] + 1
        links = self.links[src][channel]
        for link in links if only < 0 else (links[only],):
            link.sent += 1
            if link.stale:
                link.held.append((seq, letter))
                if len(link.held) <= link.stale:
                    continue
                first, kept = link.held.popleft()
                self._carry(link, src, first, kept.stamp, kept.payload, now)
            else:
                self._carry(link, src, seq, stamp, payload, now)

    def _carry(self, link: Link, src: int, seq: int, stamp: int, payload: np.ndarray, now: int) -> None:
        delay = link.fixed
        if delay < 0:
            delay, copies = fate(link.conditions, self.seed, self.plan.nodes[src].identity, link.dst_identity, link.channel, seq, link.retry)
            if copies == 0:
                link.lost += 1
                return
            delay = int(delay)
        if link.wired:
            self.wire.post((now + delay, link.channel, link.dst, src, seq, stamp, payload), now)
        else:
            heappush(self.agenda, (now + delay, link.channel, link.dst, src, seq, stamp, payload, link.port))

    def digest(self) -> str:
        """A hash over every hosted node's full state, in the order of their numbers; equal exactly when two runs ended in the same bits."""
        return digest({i: node.state for i, node in self.nodes.items()})

    def ledger(self) -> dict[str, dict[str, int]]:
        """What became of messages, by channel: those sent, lost and held back here, and those delivered here."""
        out: dict[str, dict[str, int]] = {}
        for channel, name in CHANNEL_NAMES.items():
            links = [link for by_channel in self.links.values() for link in by_channel[channel]]
            if links or self.delivered[channel]:
                sent, lost = sum(link.sent for link in links), sum(link.lost for link in links)
                held = sum(len(link.held) for link in links)
                out[name] = {"sent": sent, "lost": lost, "held": held, "delivered": self.delivered[channel]}
        return out


def digest(states: dict[int, np.ndarray]) -> str:
    """SHA-256 over (number, size, bytes) of each state in the order of numbers."""
    seal = hashlib.sha256()
    for i in sorted(states):
        state = np.ascontiguousarray(states[i], dtype="<f8")
        seal.update(f"{i} {state.size} ".encode())
        seal.update(state.tobytes())
    return seal.hexdigest()
