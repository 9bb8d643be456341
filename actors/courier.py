"""How a loop's messages reach loops in other actors: over ZeroMQ, or as plain Ray actor calls. Both carry the same frames.

A courier serves the gateway of one loop (gateway.py).
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from .frames import MAX_FRAME, PART, BadFrame, Batch, Part, pack, parts, unpack
from .wire import MAX_WAITING, ZmqWire

MOST_BYTES = 2**30
"""Bytes that may wait on each side of a connection, in frames of the size of the largest message: fewer of them where messages are large, but always two."""

SENDER = (1 << 29) - 1  # the bits of `who` that say from whom


class Courier:
    """What both wires share; `where` says which peer hosts a node, `clock` reads the run's time in microseconds.

    No message has more than `largest` numbers. Each sender may have one here of which not all parts have come.
    """

    def __init__(self, largest: int = PART) -> None:
        self.largest = largest
        full = -(-largest // PART)
        self.waiting = max(2 * full, min(MAX_WAITING, MOST_BYTES // min(MAX_FRAME, 8 * largest + 128)))  # frames
        self.clock: Callable[[], int] = lambda: 0
        self.where: Mapping[int, str] = {}
        self.turned_away: Counter[int] = Counter()  # messages, by kind, receiver and sender (agenda.who), that found no room here
        self._noting = threading.Lock()
        self._unfinished: dict[str, list[Part]] = {}
        self.malformed = 0

    def send(self, peer: str, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray | None:
        """Send messages (frames.Batch) to a peer; returns those that its queue had no room for, None if there are none."""
        if rows.nbytes + numbers.nbytes > MAX_FRAME - 64 and len(rows) > 1:
            half = len(rows) // 2
            at = int(rows[:half, 4].sum())
            left = [part for part in (self.send(peer, rows[:half], numbers[:at]), self.send(peer, rows[half:], numbers[at:])) if part is not None]
            return np.concatenate(left) if left else None
        if len(numbers) > PART:  # one message; what has gone out of one that finds no room is dropped by its receiver
            return None if all(self._send(peer, frame) for frame in parts(rows[0], numbers, self.clock())) else rows.copy()
        return None if self._send(peer, pack(rows, numbers, self.clock())) else rows.copy()

    def receive(self, timeout: int) -> list[Batch]:
        """The messages that have come, a batch for each frame; waits up to `timeout` microseconds for the first."""
        came = []
        for frame in self._receive(timeout):
            try:
                found = unpack(frame)
                batch = self._whole(found) if isinstance(found, Part) else found
            except BadFrame:
                self.malformed += 1
                continue
            if batch is not None and len(batch.rows):
                came.append(batch)
        return came

    def _whole(self, part: Part) -> Batch | None:
        """The message whose last part this is, None if more have to come. The parts of a message come in their order, and one after another."""
        who, size = part.row[1], part.row[-1]
        sender = self.where.get(who & SENDER)
        if sender is None or size > self.largest:
            raise BadFrame("a part of a message that nobody sends")
        waiting = self._unfinished.setdefault(sender, [])
        if part.first == 0:
            waiting.clear()
        if not waiting or (waiting[-1].row == part.row and waiting[-1].first + PART == part.first):  # else one before it was turned away
            waiting.append(part)
        if part.first + len(part.numbers) < size:
            return None
        del self._unfinished[sender]
        if sum(len(one.numbers) for one in waiting) != size or any(one.row != part.row for one in waiting):
            self._turn_away(part)
            return None
        return Batch(np.array([part.row]), np.concatenate([one.numbers for one in waiting]), part.sent)

    def _turn_away(self, found: Batch | Part) -> None:
        """Note the messages that end with a frame that finds no room here."""
        if isinstance(found, Batch):
            self.turn_away(found.rows[:, 1])
        elif found.first + len(found.numbers) == found.row[-1]:
            self.turn_away(np.array(found.row[1:2]))

    def turn_away(self, codes: np.ndarray) -> None:
        """Note messages that found no room, by kind, receiver and sender (agenda.who)."""
        with self._noting:
            self.turned_away.update(codes.tolist())

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

    def __init__(self, host: str, largest: int = PART) -> None:
        super().__init__(largest)
        self._wire = ZmqWire(host, self.waiting)
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

    def __init__(self, host: str, largest: int = PART) -> None:
        del host
        super().__init__(largest)
        self.address: list[str] = []
        self.refused = 0
        self._inbox: queue.Queue[bytes] = queue.Queue(self.waiting)
        self._handles: Mapping[str, Any] = {}

    def connect(self, peers: Mapping[str, list[str]], handles: Mapping[str, Any]) -> None:
        """`handles` are the other hosts as Ray actors, by name."""
        del peers
        self._handles = handles

    def deliver(self, frame: bytes) -> None:
        """Called, through Ray, by the other hosts."""
        try:
            self._inbox.put_nowait(frame)
        except queue.Full:
            self.refused += 1
            with suppress(BadFrame):
                self._turn_away(unpack(frame))

    def wake(self) -> None:
        with suppress(queue.Full):  # then it need not be woken
            self._inbox.put_nowait(b"")

    def _send(self, peer: str, frame: bytes) -> bool:
        try:
            self._handles[peer].deliver.remote(frame)
        except Exception as error:
            if type(error).__name__ != "PendingCallsLimitExceeded":  # Ray's own, by name: it is not there where hands are plain objects
                raise
            self.refused += 1
            return False
        return True

    def _receive(self, timeout: int) -> list[bytes]:
        frames = []
        try:
            frames.append(self._inbox.get(timeout=timeout / 1e6) if timeout > 0 else self._inbox.get_nowait())
            while True:
                frames.append(self._inbox.get_nowait())
        except queue.Empty:
            return [frame for frame in frames if frame]


COURIERS = {"memory": ZmqCourier, "zmq": ZmqCourier, "ray": RayCourier}
"""By wire; `memory` is for those with whom none can be shared."""
