"""A run as a timeline for Perfetto (ui.perfetto.dev) or chrome://tracing: a track for each node, a slice for each event, an arrow for each message.

    slice      a tick, a turn of the world, a message taken in; with stamp and sequence number
    arrow      from the event that sent a message to the event that took it in
    instant    at the sender: a reward (or TD error, the mean over streams); a message that was lost, or was still under way at the end
    counter    mean reward and return, as in the rows of progress; messages under way, of those that arrived

A run in simulated time is executed again, one on real clocks is replayed from its recording: both have each node hear the same at the same times as then.
Format: Trace Event Format, JSON, times in microseconds of the run's time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from asyncnet.loop.loop import Loop
from asyncnet.loop.message import CHANNEL_NAMES, REWARD, TURN
from asyncnet.loop.timekeeper import Virtual
from asyncnet.nodes.node import Node
from asyncnet.record.playback import Report, replay
from asyncnet.runs import durable
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.scenario.schema import Scenario
from asyncnet.team.draw import plan
from asyncnet.team.network import DST, SRC

PROCESS = 1
SHARE = 0.2  # of a tick: how long a slice is shown, for events take no simulated time
MOST = 1_000_000  # events
FULL = "the timeline is full"


class Timeline:
    """Watches the nodes of a loop and keeps what they heard and sent; `limit` events at most, then it says that it is full."""

    def __init__(self, scenario: Scenario, limit: int = MOST) -> None:
        self.scenario, self.plan, self.limit = scenario, plan(scenario), limit
        self.events: list[dict[str, Any]] = []
        self.arrows = self.lost = self.heard = 0
        self._long = max(1, round(SHARE * scenario.tick))
        self._sent: dict[tuple[int, int, int, int], tuple[int, int]] = {}  # (channel, receiver, sender, number) -> (when, arrow)
        self._sequence = {(node.index, channel): 0 for node in self.plan.nodes for channel in CHANNEL_NAMES}
        self._arrow = 0
        self._loop: Loop | None = None

    @property
    def full(self) -> bool:
        """Whether there is no room for another event."""
        return self.heard >= self.limit

    def watch(self, loop: Loop) -> None:
        """Have all that a loop's nodes hear and send be noted from now on; the loop is stopped when there is no more room."""
        self._loop = loop
        for node in loop.nodes.values():
            for channel in CHANNEL_NAMES:
                self._sequence[node.index, channel] = int(loop.sequence[node.index, channel])
            self._watch(node)

    def _watch(self, node: Node) -> None:
        hear, act = node.hear, node.act

        def heard(now: int, channel: int, port: int, seq: int, stamp: int, payload: Any) -> Any:
            messages = hear(now, channel, port, seq, stamp, payload)
            link = self.plan.arriving[self.plan.incoming(node.index, channel).start + port]
            src = int(self.plan.links[link, SRC])
            self._slice(node, now, f"{CHANNEL_NAMES[channel]} from {self.plan.nodes[src].name}", {"stamp": stamp, "number": seq}, messages)
            began = self._sent.pop((channel, node.index, src, seq), None)
            if began is not None:
                self._flow(began, now, src, node.index)
            return messages

        def acted(now: int, seq: int = 0) -> Any:
            messages = act(now, seq)
            self._slice(node, now, "turn" if node.index == 0 else "tick", {}, messages)
            return messages

        node.hear, node.act = heard, acted  # type: ignore[method-assign]

    def _slice(self, node: Node, now: int, name: str, more: dict[str, int], messages: Any) -> None:
        self.heard += 1
        if self.full:
            self._loop.stop(FULL)
        sent = [message for message in messages if message.channel != TURN]
        args = {**more, "sends": ", ".join(sorted({CHANNEL_NAMES[message.channel] for message in sent}))} if sent else more
        self.events.append({"ph": "X", "pid": PROCESS, "tid": node.index + 1, "ts": now, "dur": self._long, "name": name, "args": args})
        for message in sent:
            if message.channel == REWARD:
                value = {"stamp": int(message.stamp), "value": float(message.payload.mean())}
                self.events.append({"ph": "i", "s": "t", "pid": PROCESS, "tid": node.index + 1, "ts": now, "name": "reward", "args": value})
            self._sequence[node.index, message.channel] += 1
            number = self._sequence[node.index, message.channel]
            links = self.plan.outgoing(node.index, message.channel)
            for link in links if message.link < 0 else (links[message.link],):
                self._arrow += 1
                self._sent[message.channel, int(self.plan.links[link, DST]), node.index, number] = now, self._arrow

    def _flow(self, began: tuple[int, int], now: int, src: int, dst: int) -> None:
        self.arrows += 1
        common = {"pid": PROCESS, "cat": "message", "name": "message", "id": began[1]}
        self.events.append({"ph": "s", "tid": src + 1, "ts": began[0], **common})
        self.events.append({"ph": "f", "bp": "e", "tid": dst + 1, "ts": now, **common})

    def never_heard(self) -> dict[tuple[int, int, int, int], int]:
        """Messages that nobody has taken in, (channel, receiver, sender, number), with when they were sent."""
        return {key: when for key, (when, _) in self._sent.items()}

    def close(self) -> None:
        """Add what was lost or is still under way, and the rows of progress."""
        loop = self._loop
        for (channel, dst, src, number), when in self.never_heard().items():
            self.lost += 1
            name = f"not delivered: {CHANNEL_NAMES[channel]} to {self.plan.nodes[dst].name}"
            self.events.append({"ph": "i", "s": "t", "pid": PROCESS, "tid": src + 1, "ts": when, "name": name, "args": {"number": number}})
        for row in loop.score.rows if loop.score else ():
            for key in ("rollout/mean_reward", "rollout/ep_rew_mean"):
                if key in row:
                    self._count(round(row["time/simulated_s"] * 1e6), key, row[key])
        self._under_way()

    def _under_way(self) -> None:
        """Count messages that have left and not yet arrived: once a tick at the most, as it is at the tick's end."""
        changes: Counter[int] = Counter()
        for event in self.events:
            changes[event["ts"] // self.scenario.tick] += {"s": 1, "f": -1}.get(event["ph"], 0)
        held = 0
        for tick in sorted(changes):
            held += changes[tick]
            self._count(tick * self.scenario.tick, "messages under way", held)

    def _count(self, at: int, name: str, value: float) -> None:
        self.events.append({"ph": "C", "pid": PROCESS, "tid": 0, "ts": at, "name": name, "args": {"value": value}})

    def write(self, path: Path) -> None:
        """Write the file: whole, or not at all."""
        aside = path.with_name(f".{path.name}{durable.PART}")
        with aside.open("w") as file:
            self._write(file)
        aside.replace(path)

    def _write(self, file: TextIO) -> None:
        names = [{"ph": "M", "pid": PROCESS, "name": "process_name", "args": {"name": self.scenario.name}}]
        for node in self.plan.nodes:
            names.append({"ph": "M", "pid": PROCESS, "tid": node.index + 1, "name": "thread_name", "args": {"name": node.name}})
            names.append({"ph": "M", "pid": PROCESS, "tid": node.index + 1, "name": "thread_sort_index", "args": {"sort_index": node.index}})
        file.write('{"displayTimeUnit": "ms", "traceEvents": [\n')
        first = True
        for event in [*names, *sorted(self.events, key=lambda event: event["ts"])]:
            file.write(("" if first else ",\n") + json.dumps(event))
            first = False
        file.write("\n]}\n")


def executed(scenario: Scenario, limit: int = MOST, progress: Callable[[float], None] = lambda _: None) -> tuple[Timeline, Loop]:
    """The timeline of a scenario, executed in simulated time to its end or until there is no more room; and the loop as it ended."""
    timeline, loop = Timeline(scenario, limit), Loop(scenario, Virtual())
    timeline.watch(loop)
    loop.prepare()
    loop.run(lambda running: progress(running.score.done))
    loop.nodes[0].close()
    timeline.close()
    return timeline, loop


def replayed(scenario: Scenario, folder: Path, begin: Checkpoint | None, limit: int = MOST) -> tuple[Timeline, Report]:
    """The timeline of a recording, and what its replay found."""
    timeline = Timeline(scenario, limit)
    report = replay(scenario, folder, begin, lambda *_: timeline.full, timeline.watch)
    timeline.close()
    return timeline, report
