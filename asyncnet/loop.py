"""The event loop: it hosts nodes, keeps the agenda, applies conditions to what they send, and knows no rule.

    take the first event of the agenda -> give it to its node -> put what the node sends on the agenda

The agenda is a heap of events ordered by content (message.py). This is the loop to read, and the oracle of the one that runs (compiled_loop.py), which
takes what is built here and also hosts a part of a team, joined to the others by a wire.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Any

import numpy as np

from asyncnet import clock
from asyncnet.link import CONSTANT, EXPONENTIAL, LOGNORMAL, LOSS, UNIFORM, fate
from asyncnet.message import CHANNEL_NAMES, CHANNELS, TICK, WORLD, Letter
from asyncnet.network import LinkPlan, Plan, plan
from asyncnet.node import Node, build, clock_of
from asyncnet.scenario import Links, Scenario
from asyncnet.timekeeper import NEVER
from asyncnet.world import LOOK, TURN

_DELAYS = {"constant": CONSTANT, "uniform": UNIFORM, "exponential": EXPONENTIAL, "lognormal": LOGNORMAL}


class Link:
    """A link as its sender's loop uses it: where it goes, what it does to messages, and what became of them."""

    __slots__ = ("channel", "conditions", "dst", "dst_identity", "fixed", "held", "lost", "port", "retry", "sent", "src", "stale")

    def __init__(self, plan: LinkPlan, dst_identity: int, links: Links, tick: int) -> None:
        self.channel, self.src, self.dst, self.port, self.dst_identity = plan.channel, plan.src, plan.dst, plan.port, dst_identity
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

    def __init__(self, scenario: Scenario, keeper: Any, mine: Iterable[int] | None = None, *, reverse: bool = False) -> None:
        self.scenario, self.keeper = scenario, keeper
        self.plan: Plan = plan(scenario)
        self.stopped: str | None = None  # why the loop stopped, once it has
        self.now = 0
        self.seed, self.tick = scenario.seed, scenario.tick
        numbers = sorted(range(len(self.plan.nodes)) if mine is None else mine, reverse=reverse)
        self.nodes: dict[int, Node] = {i: build(scenario, self.plan, self.plan.nodes[i]) for i in numbers}
        self.score = self.nodes[0].score if 0 in self.nodes else None
        self.clocks = {i: clock_of(scenario, self.plan.nodes[i]) for i in sorted(self.nodes) if i}
        self.links: dict[int, dict[int, list[Link]]] = {i: {channel: [] for channel in CHANNELS.values()} for i in self.nodes}
        for link in sorted(self.plan.links, key=lambda link: (link.src, link.channel, link.slot)):
            if link.src in self.nodes:
                self.links[link.src][link.channel].append(Link(link, self.plan.nodes[link.dst].identity, scenario.links, self.tick))
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

    def prepare(self) -> None:
        """Compile what the run will need, or find it compiled, so that no clock waits for it."""
        for node in self.nodes.values():
            node.prepare()
        row = clock.row("periodic", 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)
        clock.next_tick(row, self.seed, 0, 1, 0)
        fate(np.zeros((0, 3)), self.seed, 0, 0, 0, 0, -1.0)

    def run(self, progress: Callable[[Loop], None] | None = None) -> None:
        """Handle events until the world has finished, somebody calls `stop`, or nobody has anything left to do."""
        try:
            self._run(progress)
        finally:
            self._look(None)

    def _run(self, progress: Callable[[Loop], None] | None) -> None:
        agenda, nodes = self.agenda, self.nodes
        now = self.now
        while self.stopped is None:
            at = agenda[0][0] if agenda else NEVER
            if at > now:
                if at == NEVER:
                    self._stall()
                    break
                self.now = now = self.keeper.reach(at)
                continue
            at, kind, dst, _, seq, stamp, payload, port = heappop(agenda)
            node = nodes[dst]
            if kind == TICK:
                letters = node.act(now)
                self._next_tick(node, dst, at, now)
            elif kind == WORLD:
                letters = node.act(now)
            else:
                self.delivered[kind] += 1
                letters = node.hear(now, kind, port, seq, stamp, payload)
            for letter in letters:
                self._send(dst, letter, now)
            if dst == 0:
                if node.flags & TURN:
                    heappush(agenda, (max(node.take_turn(), now), WORLD, 0, 0, 0, 0, None, 0))
                if node.flags & LOOK:
                    self._look(progress)

    def _look(self, progress: Callable[[Loop], None] | None) -> None:
        """Bring the score up to date; tell `progress` of a new row."""
        if 0 in self.nodes:
            rows = len(self.score.rows)
            self.nodes[0].look(self.now)
            if self.score.finished:
                self.stop("finished")
            if progress is not None and len(self.score.rows) > rows:
                progress(self)

    def _stall(self) -> None:
        self.stop(f"stalled: nobody had anything to do after {self.now / 1e6:.3f} s; the world waited for decision {int(self.nodes[0].view.stamp[0])}")

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
