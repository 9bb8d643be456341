"""What a message between two node actors costs, and what a team gains: rings in shared memory, ZeroMQ with CURVE, plain Ray actor calls and raw TCP.

    python benchmarks/wire.py [--seconds 5] [--json]

hop        one message from one actor to another, from before it is written or packed until it is read there (for Ray: until the method runs; for raw TCP: the
           same bytes, half a round trip), one at a time; both actors read the same monotonic clock of this machine
stream     small messages from one actor to another, until all have been read there: 200 at a time through a ring, over ZeroMQ and over raw TCP (unpacked), each
           by itself through a ring, and a call for each message
team       decisions per second of a team in a world that waits, an actor a node, with --wire memory, zmq and ray

Actors are Ray actors of a private session, with the project's own rings and couriers.
"""

from __future__ import annotations

import socket
import statistics
import time
from typing import Any

import numba
import numpy as np
import tyro

import asyncnet
from asyncnet.actors.courier import ZmqCourier
from asyncnet.actors.frames import pack, unpack
from asyncnet.actors.lines import PATIENT
from asyncnet.actors.memory import Memory
from asyncnet.actors.session import session
from asyncnet.benchmarks import Row, bounce, faster, shorter, show, whole
from asyncnet.kernels.plain import as_python
from asyncnet.kernels.shared_words import system
from asyncnet.loop.compiled import ring
from asyncnet.loop.compiled.agenda import who
from asyncnet.loop.message import ACTIVITY

WHO = int(as_python(who)(ACTIVITY, 1, 0))
SIZE = 2  # an episode number and one value


def messages(count: int) -> tuple[np.ndarray, np.ndarray]:
    """So many small messages as a loop hands them over: (at, who, seq, stamp, size) each, and their payloads."""
    rows = np.zeros((count, 5), dtype=np.int64)
    rows[:, 1], rows[:, 2], rows[:, 3], rows[:, 4] = WHO, np.arange(count), np.arange(count), SIZE
    return rows, np.zeros(SIZE * count)


BATCH = bounce.BATCH  # messages a frame, in the stream
HEAD = 4  # bytes before each frame on raw TCP: its length


class Peer:
    """One end of each measurement; loops of its own are not needed here, its methods are the loops."""

    def __init__(self) -> None:
        self.courier = ZmqCourier("127.0.0.1")
        self.memory, self.system = Memory(1, 2**13), system()
        self.calls = 0
        self.other: Any = None

    def address(self) -> tuple[list[str], list[str]]:
        return self.courier.address, self.memory.address

    def connect(self, address: tuple[list[str], list[str]], other: Any) -> None:
        self.courier.connect({"other": address[0]}, {})
        self.other, self.theirs = other, Memory.of(address[1])
        self.peers = np.zeros((1, ring.PEER_COLUMNS), dtype=np.int64)
        columns = [ring.OUT, ring.OUT_WORDS, ring.BELL_AT, ring.IN, ring.IN_WORDS]
        self.peers[0, columns] = self.memory.ring(0), self.memory.words, self.theirs.bell, self.theirs.ring(0), self.theirs.words

    def compile(self, what: str) -> None:
        order = self.system.ctypes.data, self.memory.bell, self.peers
        getattr(bounce, what).compile(tuple(map(numba.typeof, (*order, 0, WHO, np.zeros(SIZE), PATIENT))))

    def through_rings(self, what: str, count: int) -> Any:
        """One of bounce.py."""
        order = self.system.ctypes.data, self.memory.bell, self.peers
        return getattr(bounce, what)(*order, count, WHO, np.zeros(SIZE), PATIENT)

    def answer(self, hops: int) -> list[float]:
        """Take messages, answer each, and say how long each was on its way, in microseconds."""
        out, (rows, numbers) = [], messages(1)
        for _ in range(hops):
            while not (came := self.courier.receive(1_000_000)):
                pass
            out.append((time.monotonic_ns() - int(came[0].rows[0, 0])) / 1e3)
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
            came = sum(len(batch.rows) for batch in self.courier.receive(1_000_000))
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

    def listen(self) -> int:
        """Open a port for raw TCP."""
        self.server = socket.create_server(("127.0.0.1", 0))
        return self.server.getsockname()[1]

    def accept(self) -> None:
        self.tcp = self.server.accept()[0]
        self.tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.tcp.makefile("rb", 1 << 20)

    def dial(self, port: int) -> None:
        self.tcp = socket.create_connection(("127.0.0.1", port))
        self.tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.tcp.makefile("rb", 1 << 20)

    def answer_tcp(self, hops: int) -> None:
        """Send every frame back."""
        size = len(pack(*messages(1), 0))
        for _ in range(hops):
            self.tcp.sendall(self.file.read(size))

    def ask_tcp(self, hops: int) -> list[float]:
        """Send a frame of one message, each after the answer to the last; half of each round trip in microseconds."""
        out, frame = [], pack(*messages(1), 0)
        for _ in range(hops):
            began = time.monotonic_ns()
            self.tcp.sendall(frame)
            self.file.read(len(frame))
            out.append((time.monotonic_ns() - began) / 2e3)
        return out

    def sink_tcp(self, count: int) -> float:
        """Take `count` messages in frames; seconds from the first frame to the last."""
        seen, began = 0, 0.0
        while seen < count:
            size = int.from_bytes(self.file.read(HEAD), "little")
            seen += len(unpack(self.file.read(size)).rows)
            began = began or time.perf_counter()
        return time.perf_counter() - began

    def pour_tcp(self, count: int) -> None:
        """Send `count` messages, BATCH a frame."""
        rows, numbers = messages(count)
        for first in range(0, count, BATCH):
            part = rows[first : first + BATCH]
            frame = pack(part, numbers[SIZE * first : SIZE * (first + len(part))], time.monotonic_ns())
            self.tcp.sendall(len(frame).to_bytes(HEAD, "little") + frame)


def waiting(name: str, length: dict[str, int]) -> asyncnet.Scenario:
    """A shipped scenario with on-arrival clocks and a world that waits, and no injected delay."""
    return asyncnet.load(name).replace(
        {"tick": 1, "task.world": {"waits": True, "interval": 1.0, "timeout": 1e6}, **length},
        clocks={"default": {"kind": "on-arrival"}},
        links={"default": []},
    )


def decisions_per_second(scenario: asyncnet.Scenario, wire: str) -> float:
    record = whole(asyncnet.run(scenario, "ray", wire=wire, out=None).record)
    return record.score["decisions"] / record.measured["elapsed_s"]


def measure(seconds: float = 2.0) -> list[Row]:
    """Hop, stream and teams."""
    hops, count, calls = int(1000 * seconds), int(200_000 * seconds), int(400 * seconds)
    with session():
        import ray

        remote = ray.remote(Peer).options(num_cpus=0, max_concurrency=1)
        a, b = remote.remote(), remote.remote()
        one, two = ray.get([a.address.remote(), b.address.remote()])
        ray.get([a.connect.remote(two, b), b.connect.remote(one, a)])
        for what in ("answer", "ask", "sink", "pour", "pour_batches"):  # compile
            ray.get([one.compile.remote(what) for one in (a, b)])
        port = ray.get(a.listen.remote())
        ray.get([a.accept.remote(), b.dial.remote(port)])
        answering = b.through_rings.remote("answer", 20 * hops + 100)
        ray.get(a.through_rings.remote("ask", 20 * hops + 100))
        ring_hop = statistics.median(ray.get(answering)[100:].tolist()) / 1e3
        answering = b.answer.remote(hops + 100)
        ray.get(a.ask.remote(hops + 100))
        wire_hop = statistics.median(ray.get(answering)[100:])
        answering = b.answer_tcp.remote(hops + 100)
        tcp_hop = statistics.median(ray.get(a.ask_tcp.remote(hops + 100))[100:])
        ray.get(answering)
        ray_hop = statistics.median(ray.get(a.ask_ray.remote(calls + 50))[50:])
        rung = {}
        for pour in ("pour_batches", "pour"):
            sinking, pouring = b.through_rings.remote("sink", 10 * count), a.through_rings.remote(pour, 10 * count)
            rung[pour] = 10 * count / (ray.get(sinking) / 1e9)
            ray.get(pouring)
        sinking, pouring = b.sink.remote(count), a.pour.remote(count, BATCH)
        streamed = count / ray.get(sinking)
        ray.get(pouring)
        sinking, pouring = b.sink_tcp.remote(count), a.pour_tcp.remote(count)
        raw = count / ray.get(sinking)
        ray.get(pouring)
        called = calls / ray.get(a.pour_ray.remote(calls))
    rows = [
        shorter("hop, one way, ring", ring_hop, "us", "raw TCP, same bytes", tcp_hop),
        shorter("hop, one way, ring", ring_hop, "us", "ZeroMQ", wire_hop),
        shorter("hop, one way, ZeroMQ", wire_hop, "us", "Ray call", ray_hop),
        shorter("hop, one way, ZeroMQ", wire_hop, "us", "raw TCP, same bytes", tcp_hop),
        faster("stream of small messages, ring", rung["pour_batches"], "messages/s", "raw TCP, same frames", raw),
        faster("stream of small messages, ring, each by itself", rung["pour"], "messages/s", "raw TCP, frames", raw),
        faster("stream of small messages, ZeroMQ", streamed, "messages/s", "Ray calls", called),
        faster("stream of small messages, ZeroMQ", streamed, "messages/s", "raw TCP, same frames", raw),
    ]
    teams = {
        "three layers, multiplexer k=3": ("multiplexer3-weight-max", "task.decisions", int(400 * seconds)),
        "three layers and a critic, CartPole": ("cartpole-free", "task.episodes", int(10 * seconds)),
    }
    for what, (name, key, length) in teams.items():
        ours, *others = (decisions_per_second(waiting(name, {key: times * length}), wire) for wire, times in (("memory", 10), ("zmq", 1), ("ray", 1)))
        for wire, theirs in zip(("zmq", "ray"), others, strict=True):
            rows.append(faster(f"team: {what}, --wire memory", ours, "decisions/s", f"--wire {wire}", theirs))
    return rows


def main(seconds: float = 5.0, json: bool = False) -> None:
    """Measure hop, stream and team.

    Args:
        seconds: about how long each measurement takes.
        json: print one JSON object.
    """
    show(measure(seconds), json)


if __name__ == "__main__":
    tyro.cli(main)
