"""How a loop's messages reach loops in other actors: over ZeroMQ, or as plain Ray actor calls. Both carry the same frames.

A courier is the wire of one loop (compiled_loop.Wire). It measures what each message took on the way, from the moment it was packed to the moment it was
unpacked, injected delay not included.
"""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from asyncnet.agenda import KIND_SHIFT
from asyncnet.message import CHANNELS

from .frames import MAX_FRAME, BadFrame, pack, unpack
from .gauge import Gauge
from .wire import ZmqWire

MOST_UNMEASURED = 100  # frames whose time on the wire is noted but not counted yet: no message should wait for that


class Courier:
    """What both wires share; `where` says which peer hosts a node, `clock` reads the run's time in microseconds."""

    def __init__(self) -> None:
        self.clock: Callable[[], int] = lambda: 0
        self.where: Mapping[int, str] = {}
        self._gauges = {channel: Gauge() for channel in CHANNELS.values()}
        self._unmeasured: list[tuple[int, np.ndarray]] = []
        self.malformed = 0

    def send(self, peer: str, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray | None:
        """Send messages (frames.Batch) to a peer; returns those that its queue had no room for, None if there are none."""
        if rows.nbytes + numbers.nbytes > MAX_FRAME - 64 and len(rows) > 1:
            half = len(rows) // 2
            at = int(rows[:half, 4].sum())
            left = [part for part in (self.send(peer, rows[:half], numbers[:at]), self.send(peer, rows[half:], numbers[at:])) if part is not None]
            return np.concatenate(left) if left else None
        return None if self._send(peer, pack(rows, numbers, self.clock())) else rows.copy()

    def receive(self, timeout: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Messages that have come, a pair (rows, numbers) for each frame; waits up to `timeout` microseconds for the first."""
        came = []
        for frame in self._receive(timeout):
            try:
                batch = unpack(frame)
            except BadFrame:
                self.malformed += 1
                continue
            self._unmeasured.append((self.clock() - batch.sent, batch.rows))
            came.append((batch.rows, batch.numbers))
        if len(self._unmeasured) >= MOST_UNMEASURED:
            self._measure()
        return came

    def measured(self) -> dict[int, Gauge]:
        """How long messages took, by channel; for the loop's thread, or once that has ended."""
        self._measure()
        return self._gauges

    def _measure(self) -> None:
        for took, rows in self._unmeasured:
            for code, count in Counter((rows[:, 1] >> KIND_SHIFT).tolist()).items():
                if code in self._gauges:  # else the loop has refused it
                    self._gauges[code].add(took, count)
        self._unmeasured.clear()

    def wake(self) -> None:
        """Make a waiting `receive` return; from any thread."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what the wire holds."""

    def _send(self, peer: str, frame: bytes) -> bool:
        raise NotImplementedError

    def _receive(self, timeout: int) -> list[bytes]:
        raise NotImplementedError


class ZmqCourier(Courier):
    """Frames over ZeroMQ with CURVE keys."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self._wire = ZmqWire(host)
        self.address = [*self._wire.address, self._wire.client_key]
        self._send, self._receive = self._wire.send, self._wire.collect
        self.wake, self.close = self._wire.wake, self._wire.close

    def connect(self, peers: Mapping[str, list[str]], handles: Mapping[str, Any]) -> None:
        """`peers` are the addresses of all others, by name; an empty mapping only admits nobody."""
        del handles
        self._wire.connect({name: (endpoint, key) for name, (endpoint, key, _) in peers.items()}, [client for _, _, client in peers.values()])

    @property
    def refused(self) -> int:
        """Frames dropped because a peer's queue was full."""
        return self._wire.refused


class RayCourier(Courier):
    """Frames as arguments of plain actor calls: for clusters that block ports, and the yardstick of the other."""

    refused = 0

    def __init__(self, host: str) -> None:
        del host
        super().__init__()
        self.address: list[str] = []
        self._inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._handles: Mapping[str, Any] = {}

    def connect(self, peers: Mapping[str, list[str]], handles: Mapping[str, Any]) -> None:
        """`handles` are the other hosts as Ray actors, by name."""
        del peers
        self._handles = handles

    def deliver(self, frame: bytes) -> None:
        """Called, through Ray, by the other hosts."""
        self._inbox.put(frame)

    def wake(self) -> None:
        self._inbox.put(b"")

    def _send(self, peer: str, frame: bytes) -> bool:
        self._handles[peer].deliver.remote(frame)
        return True

    def _receive(self, timeout: int) -> list[bytes]:
        frames = []
        try:
            frames.append(self._inbox.get(timeout=timeout / 1e6) if timeout > 0 else self._inbox.get_nowait())
            while True:
                frames.append(self._inbox.get_nowait())
        except queue.Empty:
            return [frame for frame in frames if frame]


COURIERS = {"zmq": ZmqCourier, "ray": RayCourier}
