"""How a loop's messages reach loops in other actors: over ZeroMQ, or as plain Ray actor calls. Both carry the same frames.

A courier batches what the loop posts until the loop is about to wait, one frame for each peer; it measures what each message took on the way,
from the moment it was posted to the moment it was unpacked, injected delay not included.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping
from typing import Any

from asyncnet.message import CHANNELS

from .frames import BadFrame, pack, unpack
from .gauge import Gauge
from .wire import ZmqWire


class Courier:
    """What both wires share; `where` says which peer hosts a node, `clock` reads the run's time in microseconds."""

    def __init__(self) -> None:
        self.clock: Callable[[], int] = lambda: 0
        self.where: Mapping[int, str] = {}
        self.gauges = {channel: Gauge() for channel in CHANNELS.values()}
        self.malformed = 0
        self._outgoing: dict[str, list[tuple]] = {}

    def post(self, event: tuple, now: int) -> None:
        """Take an event for a node hosted elsewhere."""
        del now  # the sender's turn began then; what the wire takes begins here
        self._outgoing.setdefault(self.where[event[2]], []).append((*event, self.clock()))

    def flush(self) -> None:
        """Send what was posted, a frame for each peer."""
        if self._outgoing:
            for peer, messages in self._outgoing.items():
                self._send(peer, pack(messages))
            self._outgoing = {}

    def collect(self, timeout: int) -> list[tuple]:
        """Events that have come; waits up to `timeout` microseconds for the first."""
        events: list[tuple] = []
        for frame in self._receive(timeout):
            try:
                messages = unpack(frame)
            except BadFrame:
                self.malformed += 1
                continue
            now = self.clock()
            for *event, sent in messages:
                self.gauges[event[1]].add(now - sent)
                events.append(tuple(event))
        return events

    def wake(self) -> None:
        """Make a waiting `collect` return; from any thread."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what the wire holds."""

    def _send(self, peer: str, frame: bytes) -> None:
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

    def _send(self, peer: str, frame: bytes) -> None:
        self._handles[peer].deliver.remote(frame)

    def _receive(self, timeout: int) -> list[bytes]:
        frames = []
        try:
            frames.append(self._inbox.get(timeout=timeout / 1e6) if timeout > 0 else self._inbox.get_nowait())
            while True:
                frames.append(self._inbox.get_nowait())
        except queue.Empty:
            return [frame for frame in frames if frame]


COURIERS = {"zmq": ZmqCourier, "ray": RayCourier}
