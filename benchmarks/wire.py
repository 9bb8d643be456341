"""What a message between two node actors costs, and what a team gains by it: ZeroMQ with CURVE against plain Ray actor calls, in one run.

    python benchmarks/wire.py [--seconds 5] [--json]

    hop        one message from one actor to another, from before it is packed until it is unpacked there (for Ray: until the method runs), one at a
               time; both read the same monotonic clock of this machine
    stream     small messages from one actor to another, until all have been counted there: batched frames, and a call for each message
    team       decisions per second of a three-layer team in a world that waits, with --wire zmq and with --wire ray

Actors are the project's own couriers in Ray actors of a private session.
"""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import numpy as np
import tyro

import asyncnet
from asyncnet.actors.courier import ZmqCourier
from asyncnet.actors.session import session
from asyncnet.agenda import who
from asyncnet.message import ACTIVITY

WHO = who.py_func(ACTIVITY, 1, 0)
SIZE = 2  # an episode number and one value


def messages(count: int) -> tuple[np.ndarray, np.ndarray]:
    """So many small messages as a loop hands them over: (at, who, seq, stamp, size) each, and their payloads."""
    rows = np.zeros((count, 5), dtype=np.int64)
    rows[:, 1], rows[:, 2], rows[:, 3], rows[:, 4] = WHO, np.arange(count), np.arange(count), SIZE
    return rows, np.zeros(SIZE * count)


class Peer:
    """One end of each measurement; loops of its own are not needed here, its methods are the loops."""

    def __init__(self) -> None:
        self.courier = ZmqCourier("127.0.0.1")
        self.calls = 0
        self.other: Any = None

    def address(self) -> list[str]:
        return self.courier.address

    def connect(self, address: list[str], other: Any) -> None:
        self.courier.connect({"other": address}, {})
        self.other = other

    def answer(self, hops: int) -> list[float]:
        """Take messages, answer each, and say how long each was on its way, in microseconds."""
        out, (rows, numbers) = [], messages(1)
        for _ in range(hops):
            while not (came := self.courier.receive(1_000_000)):
                pass
            out.append((time.monotonic_ns() - int(came[0][0][0, 0])) / 1e3)
            self.courier.send("other", rows, numbers)
        return out

    def ask(self, hops: int) -> None:
        """Send messages that carry the time, each after the answer to the last."""
        rows, numbers = messages(1)
        for _ in range(hops):
            rows[0, 0] = time.monotonic_ns()
            self.courier.send("other", rows, numbers)
            while not self.courier.receive(1_000_000):
                pass

    def hear(self, sent: int) -> float:
        """How long this call was on its way, in microseconds."""
        return (time.monotonic_ns() - sent) / 1e3

    def ask_ray(self, hops: int) -> list[float]:
        """Call the other actor, each time after the answer to the last call."""
        import ray

        return [ray.get(self.other.hear.remote(time.monotonic_ns())) for _ in range(hops)]

    def sink(self, count: int) -> float:
        """Take `count` messages; seconds from the first to the last."""
        seen, began = 0, 0.0
        while seen < count:
            came = sum(len(rows) for rows, _ in self.courier.receive(1_000_000))
            if came and not seen:
                began = time.perf_counter()
            seen += came
        return time.perf_counter() - began

    def pour(self, count: int, batch: int) -> None:
        """Send `count` messages, so many a frame."""
        rows, numbers = messages(count)
        for first in range(0, count, batch):
            part = rows[first : first + batch]
            refused = self.courier.refused
            self.courier.send("other", part, numbers[SIZE * first : SIZE * (first + len(part))])
            while self.courier.refused > refused:  # the peer's queue is full: the same frame again
                time.sleep(0.0005)
                refused = self.courier.refused
                self.courier.send("other", part, numbers[SIZE * first : SIZE * (first + len(part))])

    def take(self, frame: bytes) -> None:
        self.calls += 1

    def taken(self) -> int:
        return self.calls

    def pour_ray(self, count: int) -> float:
        """Send `count` messages as calls; seconds until the other has had all."""
        import ray

        frame = bytes(64)
        began = time.perf_counter()
        for _ in range(count):
            self.other.take.remote(frame)
        assert ray.get(self.other.taken.remote()) == count
        return time.perf_counter() - began


def main(seconds: float = 5.0, json_: bool = False) -> None:
    """Measure hop, stream and team.

    Args:
        seconds: about how long each measurement takes.
        json_: print one JSON object.
    """
    hops, messages, calls = int(1000 * seconds), int(100_000 * seconds), int(400 * seconds)
    with session():
        import ray

        remote = ray.remote(Peer).options(num_cpus=0, max_concurrency=1)
        a, b = remote.remote(), remote.remote()
        one, two = ray.get([a.address.remote(), b.address.remote()])
        ray.get([a.connect.remote(two, b), b.connect.remote(one, a)])
        answering = b.answer.remote(hops + 100)
        ray.get(a.ask.remote(hops + 100))
        wire_hops = ray.get(answering)[100:]
        ray_hops = ray.get(a.ask_ray.remote(calls + 50))[50:]
        sinking = b.sink.remote(messages)
        pouring = a.pour.remote(messages, 200)
        streamed = messages / ray.get(sinking)
        ray.get(pouring)
        called = calls / ray.get(a.pour_ray.remote(calls))
    rows = {
        "hop_us": statistics.median(wire_hops),
        "ray_hop_us": statistics.median(ray_hops),
        "stream_per_s": streamed,
        "ray_stream_per_s": called,
    }
    scenario = asyncnet.load("multiplexer3-weight-max").replace(
        {"tick": 1, "task.world": {"waits": True, "interval": 1.0, "patience": 1e6}, "task.decisions": int(200 * seconds)},
        clocks={"default": {"kind": "on-arrival"}},
        links={"default": []},
    )
    for wire in ("zmq", "ray"):
        summary = asyncnet.run(scenario, "ray", wire=wire, out=None).summary()
        rows[f"team_{wire}_per_s"] = summary["decisions"] / summary["measured"]["elapsed_s"]
    rows |= {
        "hop_ratio": rows["ray_hop_us"] / rows["hop_us"],
        "stream_ratio": rows["stream_per_s"] / rows["ray_stream_per_s"],
        "team_ratio": rows["team_zmq_per_s"] / rows["team_ray_per_s"],
    }
    if json_:
        print(json.dumps(rows))
        return
    print(f"{'':26}{'wire':>12}{'Ray calls':>12}{'ratio':>8}")
    print(f"{'hop, one way, us':26}{rows['hop_us']:12,.0f}{rows['ray_hop_us']:12,.0f}{rows['hop_ratio']:8.1f}")
    print(f"{'stream, messages/s':26}{rows['stream_per_s']:12,.0f}{rows['ray_stream_per_s']:12,.0f}{rows['stream_ratio']:8.1f}")
    print(f"{'team, decisions/s':26}{rows['team_zmq_per_s']:12,.0f}{rows['team_ray_per_s']:12,.0f}{rows['team_ratio']:8.1f}")


if __name__ == "__main__":
    tyro.cli(main)
