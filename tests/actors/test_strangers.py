"""Bytes from strangers at a host's socket, and what is no frame from one who has a key: both are counted or turned away, and cost nothing."""

import os
import random
import socket
import time

import numpy as np
import psutil
import pytest

from asyncnet.actors import frames
from asyncnet.actors.courier import ZmqCourier

FRAMES = int(os.environ.get("ASYNCNET_FRAMES", "20000"))  # 5,000,000 takes some minutes
MOST = 64 << 20  # bytes by which memory may grow


@pytest.fixture
def pair():
    """A courier, and one whose key it admits, which knows it as `r`; both are closed afterwards."""
    here, there = ZmqCourier("127.0.0.1"), ZmqCourier("127.0.0.1")
    here.connect({"s": there.address}, {})
    there.connect({"r": here.address}, {})
    here.where = {1: "s"}
    yield here, there
    here.close()
    there.close()


def whole():
    rows = np.array([[k, 1 << 58, k, 0, 3] for k in range(3)], dtype=np.int64)
    return frames.pack(rows, np.arange(9.0), 5)


def spoiled(chance, frame):
    """A frame with some bytes changed, cut, or no frame at all."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(300))
    out = bytearray(frame)
    for _ in range(chance.randrange(5)):
        out[chance.randrange(len(out))] = chance.randrange(256)
    return bytes(out[: chance.randrange(len(out) + 1)] if chance.random() < 0.2 else out)


def send(there, frame):
    """Have a frame go out, when there is room."""
    while not there._send("r", frame):
        time.sleep(0.0005)


def heard(here, wanted):
    """The numbers of messages that come until one of the frame `wanted` has."""
    until, taken = time.monotonic() + 60.0, 0
    while time.monotonic() < until:
        for rows, numbers, sent in here.receive(50_000):
            if sent == wanted:
                return taken
            assert len(numbers) == rows[:, 4].sum()
            taken += len(rows)
    raise TimeoutError


def test_frames_that_are_none_are_counted_and_what_comes_after_them_is_heard(pair):
    here, there = pair
    chance, good, sent, taken, process = random.Random(1), whole(), 0, 0, psutil.Process()
    before = 0
    while sent < FRAMES:
        batch = [spoiled(chance, good) for _ in range(500)]
        for frame in batch:
            send(there, frame)
            sent += 1
            if sent % 50 == 0:
                taken += sum(len(rows) for rows, *_ in here.receive(0))
        if sent == 5000:
            before = process.memory_info().rss
    send(there, frames.pack(np.array([[9, 1 << 58, 9, 0, 1]], dtype=np.int64), np.ones(1), 123_456_789))
    taken += heard(here, 123_456_789)
    assert here.malformed > FRAMES // 10, "they were none"
    assert taken > FRAMES // 10, "and some were"
    assert process.memory_info().rss - before < MOST


def test_bytes_that_are_no_handshake_get_nothing_through_and_keep_nobody_out(pair):
    here, there = pair
    endpoint = here.address[0].removeprefix("tcp://").rpartition(":")
    chance, process = random.Random(2), psutil.Process()
    before, sent = process.memory_info().rss, 0
    while sent < FRAMES:
        with socket.create_connection((endpoint[0], int(endpoint[2]))) as stranger:
            stranger.settimeout(2.0)
            try:
                for _ in range(200):
                    greeting = b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00CURVE".ljust(64, b"\0") if chance.random() < 0.1 else b""
                    sent += 1
                    stranger.sendall(greeting + chance.randbytes(chance.randrange(1, 200)))
            except OSError:
                pass  # the door is shut
    assert here.receive(0) == []
    assert here.malformed == 0
    assert process.memory_info().rss - before < MOST
    send(there, frames.pack(np.array([[9, 1 << 58, 9, 0, 1]], dtype=np.int64), np.ones(1), 77))
    assert heard(here, 77) == 0
