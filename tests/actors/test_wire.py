"""The data plane: frames keep their form, connections admit only whom they should, and nothing stays open."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import msgpack
import numpy as np
import psutil
import pytest
import zmq
from hypothesis import example, given

from asyncnet.actors.courier import MOST_BYTES, Courier, RayCourier
from asyncnet.actors.frames import COLUMNS, MAX_FRAME, PART, BadFrame, Batch, Part, pack, unpack
from asyncnet.actors.wire import MAX_WAITING, ZmqWire

GUARD = 20.0  # seconds; only a deadlock takes that long

int64 = st.integers(-(2**63), 2**63 - 1)
payloads = hnp.arrays(np.float64, st.integers(0, 12), elements=st.floats(width=64))
messages = st.lists(st.tuples(int64, int64, int64, int64, payloads), max_size=8)


def batch_of(messages, sent: int = 0) -> Batch:
    rows = np.array([(*ints, payload.size) for *ints, payload in messages], dtype=np.int64).reshape(-1, COLUMNS)
    return Batch(rows, np.concatenate([np.zeros(0), *(payload for *_, payload in messages)]), sent)


def assert_well_formed(batch: Batch) -> None:
    assert (batch.rows.dtype, batch.rows.ndim, batch.rows.shape[1]) == (np.int64, 2, COLUMNS)
    assert (batch.numbers.dtype, batch.numbers.ndim) == (np.float64, 1)
    assert sum(batch.rows[:, 4].tolist()) == batch.numbers.size
    assert all(size >= 0 for size in batch.rows[:, 4].tolist())
    assert not batch.rows.flags.writeable
    assert not batch.numbers.flags.writeable


def assert_bad_or_well_formed(frame: bytes) -> None:
    try:
        found = unpack(frame)
    except BadFrame as error:
        reason = str(error)
    else:
        if isinstance(found, Part):
            assert 0 <= found.first < found.first + len(found.numbers) <= found.row[-1]
        else:
            assert_well_formed(found)
        return
    assert reason
    assert "\n" not in reason


def frame_of(body: object, magic: bytes = b"anf", version: int = 2) -> bytes:
    data = body if isinstance(body, bytes) else msgpack.packb(body)
    return struct.pack("<3sBI", magic, version, len(data)) + data


# --- frames -----------------------------------------------------------------------------------------------------------------------


@given(messages, int64)
def test_a_frame_gives_back_its_messages(messages, sent: int) -> None:
    batch = batch_of(messages, sent)
    back = unpack(pack(*batch))
    assert_well_formed(back)
    assert (back.rows.tobytes(), back.numbers.tobytes(), back.sent) == (batch.rows.tobytes(), batch.numbers.tobytes(), sent)


@given(messages, st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 7)), min_size=1, max_size=4))
def test_flipped_bits_give_bad_frame_or_messages(messages, flips: list[tuple[int, int]]) -> None:
    frame = bytearray(pack(*batch_of(messages)))
    for at, bit in flips:
        frame[at % len(frame)] ^= 1 << bit
    assert_bad_or_well_formed(bytes(frame))


@given(messages, st.integers(0, 10_000))
def test_a_shortened_frame_is_bad(messages, cut: int) -> None:
    frame = pack(*batch_of(messages))
    with pytest.raises(BadFrame):
        unpack(frame[: cut % len(frame)])


@given(st.binary(max_size=200))
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\x92\xc6\xff\xff\xff\xff")
@example(b"\x91" * 1500)
@example(b"\xd5\x01ab")
@example(b"\x92\xc7\x00\x05\xc4\x00")
@example(b"\x81\x90\x01")
@example(b"\xa1\xff")
def test_random_bodies_give_bad_frame_or_messages(body: bytes) -> None:
    assert_bad_or_well_formed(body)
    assert_bad_or_well_formed(frame_of(body))


def ints(*sizes: int) -> bytes:
    return struct.pack(f"<{1 + COLUMNS * len(sizes)}q", 0, *(value for size in sizes for value in (0, 0, 0, 0, size)))


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        frame_of([b"\0" * 8, b""], magic=b"xxx"),
        frame_of([b"\0" * 8, b""], version=1),
        frame_of([b"", b""]),
        frame_of([b"\0" * 8, b""]) + b"\0",
        frame_of([b""]),
        frame_of([b"", b"", b""]),
        frame_of(["", b""]),
        frame_of([b"", [b""]]),
        frame_of({}),
        frame_of([b"1" * 63, b""]),
        frame_of([ints(1), b"1" * 7]),
        frame_of([ints(1), b""]),
        frame_of([ints(), b"1" * 8]),
        frame_of([ints(2, -1), b"1" * 8]),
        frame_of([ints(2**62, 2**62), b""]),
        frame_of([msgpack.ExtType(5, b""), b""]),
        frame_of(b"\0" * MAX_FRAME),
    ],
)
def test_a_malformed_frame_is_bad(frame: bytes) -> None:
    with pytest.raises(BadFrame):
        unpack(frame)


def test_only_bytes_are_a_frame() -> None:
    with pytest.raises(BadFrame):
        unpack(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "numbers", "why"),
    [
        (np.zeros((1, COLUMNS)), np.zeros(0), "must be"),
        (np.zeros((1, COLUMNS), dtype=np.int64), np.zeros(0, dtype=np.float32), "must be"),
        (np.zeros((1, COLUMNS - 1), dtype=np.int64), np.zeros(0), "must be"),
        (np.zeros(COLUMNS, dtype=np.int64), np.zeros(0), "must be"),
        (np.zeros((1, COLUMNS), dtype=np.int64), np.zeros((1, 1)), "must be"),
        (np.zeros((1, COLUMNS), dtype=np.int64), np.zeros(MAX_FRAME // 8), "exceeds"),
    ],
)
def test_what_are_no_messages_are_not_packed(rows, numbers, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        pack(rows, numbers, 0)


def test_what_is_too_long_for_one_frame_goes_in_several() -> None:
    sender = Courier()
    sent = []
    sender._send = lambda peer, frame: sent.append((peer, unpack(frame))) is None
    rows = np.zeros((100, COLUMNS), dtype=np.int64)
    rows[:, 2], rows[:, 4] = np.arange(100), 20_000
    numbers = np.arange(100 * 20_000, dtype=np.float64)
    assert sender.send("r", rows, numbers) is None
    assert len(sent) > 1
    assert np.array_equal(np.concatenate([batch.rows for _, batch in sent]), rows)
    assert np.array_equal(np.concatenate([batch.numbers for _, batch in sent]), numbers)


def exchange(frames: list[bytes], largest: int) -> tuple[Courier, list[Batch]]:
    """A courier that has been given frames of node 1, which peer "s" hosts, and what came of them."""
    receiver = Courier(largest)
    receiver.where = {1: "s"}
    receiver._receive = lambda timeout: frames
    return receiver, receiver.receive(0)


def one_message(size: int, seq: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return np.array([[9, 1, seq, 3, size]]), np.arange(float(size))


def sent_of(*messages) -> list[bytes]:
    sender, frames = Courier(), []
    sender._send = lambda peer, frame: frames.append(frame) is None
    for rows, numbers in messages:
        assert sender.send("r", rows, numbers) is None
    return frames


def test_a_message_longer_than_a_frame_goes_in_parts_and_comes_whole_in_its_place() -> None:
    large, small = one_message(1024 * 1025, seq=1), one_message(3, seq=2)
    frames = sent_of(large, small)
    assert len(frames) == 3
    assert all(len(frame) <= MAX_FRAME for frame in frames)
    receiver, came = exchange(frames, large[1].size)
    assert receiver.malformed == 0
    for (rows, numbers, _), (sent_rows, sent_numbers) in zip(came, (large, small), strict=True):
        assert rows.tolist() == sent_rows.tolist()
        assert np.array_equal(numbers, sent_numbers)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.randoms(use_true_random=False), st.data())
def test_parts_lost_repeated_or_damaged_make_no_message_that_was_not_sent(sizes, random, data) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for module in ("frames", "courier"):
            patch.setattr(f"asyncnet.actors.{module}.PART", 4)
        messages = [one_message(size, seq) for seq, size in enumerate(sizes)]
        frames = sent_of(*messages)
        assert len(exchange(frames, 30)[1]) == len(sizes)
        for _ in range(data.draw(st.integers(1, 4))):
            at = random.randrange(len(frames))
            kind = random.choice(("lose", "repeat", "swap", "flip"))
            if kind == "lose" and len(frames) > 1:
                del frames[at]
            elif kind == "repeat":
                frames.insert(at, frames[random.randrange(len(frames))])
            elif kind == "swap":
                other = random.randrange(len(frames))
                frames[at], frames[other] = frames[other], frames[at]
            elif kind == "flip":
                damaged = bytearray(frames[at])
                damaged[random.randrange(12)] ^= 1 << random.randrange(8)  # its head, or where its numbers begin
                frames[at] = bytes(damaged)
        receiver, came = exchange(frames, 30)
        for rows, numbers, _ in came:
            for row in rows:
                assert numbers.tolist() == list(range(row[4])), "as it was sent"
        assert all(len(waiting) <= 8 for waiting in receiver._unfinished.values()), "one message of each sender, as long as the longest"


def test_parts_of_what_nobody_sends_are_malformed() -> None:
    rows, numbers = one_message(PART + 1)
    stranger = rows.copy()
    stranger[0, 1] = 2
    receiver, came = exchange(sent_of((rows, numbers), (stranger, numbers)), PART)  # the one too long, the other from nowhere
    assert (receiver.malformed, came, receiver._unfinished) == (4, [], {})


def test_a_message_that_finds_room_for_half_of_it_is_refused_and_the_next_comes_through() -> None:
    sender, frames, rooms = Courier(), [], iter([True, False, True, True])
    sender._send = lambda peer, frame: next(rooms) and frames.append(frame) is None
    first, second = one_message(2 * PART - 1, seq=1), one_message(2 * PART - 1, seq=2)
    assert sender.send("r", *first).tolist() == first[0].tolist()
    assert sender.send("r", *second) is None
    receiver, came = exchange(frames, 2 * PART)
    assert [rows[0, 2] for rows, _, _ in came] == [2]
    assert (receiver.malformed, dict(receiver.turned_away)) == (0, {})


def test_an_inbox_that_is_full_turns_away_and_counts() -> None:
    receiver = RayCourier("127.0.0.1", largest=2)
    frames = sent_of(*(one_message(2, seq) for seq in range(MAX_WAITING + 50)))
    for frame in frames:
        receiver.deliver(frame)
    receiver.wake()
    assert (receiver.refused, dict(receiver.turned_away)) == (50, {1: 50})
    assert len(receiver.receive(0)) == MAX_WAITING


def test_fewer_frames_may_wait_where_messages_are_large_but_always_those_of_one() -> None:
    assert Courier(1000).waiting == MAX_WAITING
    for largest in (PART, 10 * PART, 1000 * PART):
        waiting = Courier(largest).waiting
        assert waiting >= largest // PART
        assert waiting * MAX_FRAME <= max(MOST_BYTES, 2 * 8 * largest + 2 * MAX_FRAME)


def test_what_finds_no_room_is_given_back_in_order() -> None:
    sender = Courier()
    rooms = iter([True, False, True, False, False, True, True, True])
    sender._send = lambda peer, frame: next(rooms)
    rows = np.zeros((100, COLUMNS), dtype=np.int64)
    rows[:, 2], rows[:, 4] = np.arange(100), 80_000
    left = sender.send("r", rows, np.zeros(100 * 80_000))
    assert next(rooms, None) is None
    assert 0 < len(left) < 100
    assert (np.diff(left[:, 2]) > 0).all()


# --- wire -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def wires() -> Iterator[Callable[[], ZmqWire]]:
    made: list[ZmqWire] = []

    def make() -> ZmqWire:
        made.append(ZmqWire())
        return made[-1]

    yield make
    for wire in made:
        wire.close()


def gather(wire: ZmqWire, count: int) -> list[bytes]:
    frames: list[bytes] = []
    end = time.monotonic() + GUARD
    while len(frames) < count and time.monotonic() < end:
        frames += wire.collect(100_000)
    return frames


def test_frames_of_each_sender_keep_their_order(wires: Callable[[], ZmqWire]) -> None:
    receiver, senders = wires(), [wires() for _ in range(3)]
    receiver.connect({}, {sender.client_key for sender in senders})
    for sender in senders:
        sender.connect({"r": receiver.address}, ())
    got: list[bytes] = []
    for number in range(1000):
        for which, sender in enumerate(senders):
            assert sender.send("r", struct.pack("<BI", which, number))
        got += receiver.collect(0)
    got += gather(receiver, 3000 - len(got))
    for which in range(3):
        assert [number for source, number in (struct.unpack("<BI", frame) for frame in got) if source == which] == list(range(1000))


ECHO = """
import json, sys
from asyncnet.actors.wire import ZmqWire
endpoint, key, client = json.loads(sys.argv[1])
wire = ZmqWire()
wire.connect({"driver": (endpoint, key)}, {client})
print(json.dumps([*wire.address, wire.client_key]), flush=True)
while True:
    for frame in wire.collect(None):
        if frame == b"end":
            wire.close()
            sys.exit(0)
        wire.send("driver", frame)
"""


def test_two_processes_talk(wires: Callable[[], ZmqWire]) -> None:
    wire = wires()
    child = subprocess.Popen([sys.executable, "-c", ECHO, json.dumps([*wire.address, wire.client_key])], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        endpoint, key, client = json.loads(child.stdout.readline())
        wire.connect({"echo": (endpoint, key)}, {client})
        for number in range(300):
            frame = pack(*batch_of([(number, 1, 2, 3, np.arange(5.0))]))
            assert wire.send("echo", frame)
            assert gather(wire, 1) == [frame]
        wire.send("echo", b"end")
        assert child.wait(GUARD) == 0
    finally:
        child.kill()
        child.wait()


def test_a_stranger_who_knows_the_address_gets_nothing_through(wires: Callable[[], ZmqWire]) -> None:
    receiver, stranger, friend = wires(), wires(), wires()
    receiver.connect({}, {friend.client_key})
    stranger.connect({"r": receiver.address}, ())
    friend.connect({"r": receiver.address}, ())
    for _ in range(20):
        stranger.send("r", b"stranger")
    friend.send("r", b"friend")
    assert gather(receiver, 1) == [b"friend"]
    assert receiver.collect(500_000) == []
    # The stranger's frames did wait at the door: the same wire, admitted, is let in.
    receiver.connect({}, {friend.client_key, stranger.client_key})
    assert gather(receiver, 20) == [b"stranger"] * 20


def test_without_curve_nothing_comes_through(wires: Callable[[], ZmqWire]) -> None:
    receiver = wires()
    receiver.connect({}, ())
    with zmq.Context() as context, context.socket(zmq.PUSH) as plain:
        plain.linger = 0
        plain.connect(receiver.address[0])
        plain.send(b"plain", zmq.DONTWAIT)
        assert receiver.collect(300_000) == []


def test_a_false_server_gets_nothing(wires: Callable[[], ZmqWire]) -> None:
    sender, server, claimed = wires(), wires(), wires()
    server.connect({}, {sender.client_key})
    sender.connect({"r": (server.address[0], claimed.address[1])}, ())
    sender.send("r", b"secret")
    assert server.collect(300_000) == []


def test_a_full_queue_refuses_and_counts(wires: Callable[[], ZmqWire]) -> None:
    sender, other = wires(), wires()
    sender.connect({"nobody": ("tcp://127.0.0.1:9", other.address[1])}, ())
    results = [sender.send("nobody", b"x") for _ in range(MAX_WAITING + 50)]
    assert results == [True] * MAX_WAITING + [False] * 50
    assert sender.refused == 50


def test_a_peer_may_be_replaced(wires: Callable[[], ZmqWire]) -> None:
    sender, old, new = wires(), wires(), wires()
    for receiver in (old, new):
        receiver.connect({}, {sender.client_key})
    sender.connect({"r": old.address}, ())
    sender.send("r", b"one")
    assert gather(old, 1) == [b"one"]
    sender.connect({"r": new.address}, ())
    sender.send("r", b"two")
    assert gather(new, 1) == [b"two"]
    sender.connect({}, ())
    with pytest.raises(KeyError):
        sender.send("r", b"three")


def test_wake_ends_a_wait_from_another_thread(wires: Callable[[], ZmqWire]) -> None:
    wire = wires()
    got: list[list[bytes]] = []
    loop = threading.Thread(target=lambda: got.append(wire.collect(None)), daemon=True)
    loop.start()
    loop.join(0.2)
    assert loop.is_alive()
    wire.wake()
    loop.join(GUARD)
    assert got == [[]]


def test_a_wake_ahead_of_the_wait_counts_once(wires: Callable[[], ZmqWire]) -> None:
    wire = wires()
    wire.wake()
    wire.wake()
    assert wire.collect(None) == []
    start = time.monotonic()
    assert wire.collect(50_000) == []
    assert time.monotonic() - start >= 0.05


def test_collect_waits_about_as_long_as_asked(wires: Callable[[], ZmqWire]) -> None:
    wire = wires()
    for timeout in (0, 300, 20_000):
        start = time.monotonic()
        assert wire.collect(timeout) == []
        assert timeout / 1e6 <= time.monotonic() - start < GUARD


def test_a_high_descriptor_is_waited_on_too(wires: Callable[[], ZmqWire], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncnet.actors.wire._SELECT_LIMIT", 0)
    receiver, sender = wires(), wires()
    receiver.connect({}, {sender.client_key})
    sender.connect({"r": receiver.address}, ())
    assert receiver.collect(1500) == []
    sender.send("r", b"x")
    assert gather(receiver, 1) == [b"x"]


def test_bad_hosts_keys_and_frames_are_refused(wires: Callable[[], ZmqWire]) -> None:
    for host in ("0.0.0.0", "::", "*", "example.org"):
        with pytest.raises(ValueError, match="address"):
            ZmqWire(host)
    wire = wires()
    with pytest.raises(ValueError, match="40 characters"):
        wire.connect({}, {"short"})
    with pytest.raises(ValueError, match="40 characters"):
        wire.connect({"r": (wire.address[0], "short")}, ())
    wire.connect({"r": wire.address}, {wire.client_key})
    with pytest.raises(ValueError, match="exceeds"):
        wire.send("r", bytes(MAX_FRAME + 1))
    assert wire.send("r", bytes(MAX_FRAME))
    assert len(gather(wire, 1)[0]) == MAX_FRAME


def test_close_leaves_no_descriptor_and_no_thread() -> None:
    ZmqWire().close()  # what the library opens once per process is open now
    process = psutil.Process()
    before = process.num_fds(), process.num_threads()
    first, second = ZmqWire(), ZmqWire()
    for one, other in ((first, second), (second, first)):
        one.connect({"o": other.address}, {other.client_key})
    first.send("o", b"x")
    assert gather(second, 1) == [b"x"]
    first.send("o", b"lost")
    assert process.num_fds() > before[0]
    first.close()
    second.close()
    first.close()
    first.wake()
    for _ in range(100):  # another test's thread may have been counted before it had ended
        after = process.num_fds(), process.num_threads()
        if all(now <= then for now, then in zip(after, before, strict=True)):
            break
        time.sleep(0.05)
    assert all(now <= then for now, then in zip(after, before, strict=True))
