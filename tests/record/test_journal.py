"""What a loop heard comes back to the bit; a recording that is damaged, cut or hostile is read up to there, and the place is named."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import msgpack
import numpy as np
import pytest
from hypothesis import example, given

from asyncnet.record.journal import BadSegment, Digest, Reader, Segment, Writer, decode, encode
from asyncnet.scenario.schema import ScenarioError
from support.places import TESTS

LOW, HIGH = -(2**63), 2**63 - 1
int64 = st.one_of(st.integers(LOW, HIGH), st.integers(-3, 3), st.sampled_from([LOW, LOW + 1, HIGH]))
rows = st.lists(st.tuples(int64, int64, int64), max_size=20).map(lambda rows: np.array(rows, dtype=np.int64).reshape(-1, 3))
transitions = hnp.arrays(np.float64, st.tuples(st.integers(0, 3), st.integers(0, 3)), elements=st.floats(width=64))
digests = st.lists(st.builds(Digest, int64, int64, st.binary(max_size=20)), max_size=3).map(tuple)
counts = st.integers(0, HIGH)
segments = st.builds(Segment, st.from_regex(r"[0-9A-Za-z_-]{1,64}", fullmatch=True), counts, counts, rows, transitions, digests, st.booleans())


def plain(segment: Segment) -> Any:
    """All of it, as what compares equal if the bits do."""
    events, transitions = ((array.dtype, array.shape, array.tobytes()) for array in (segment.events, segment.transitions))
    return segment._replace(events=events, transitions=transitions)


def synthetic(nodes: int = 5, seconds: float = 5.0) -> np.ndarray:
    """What nodes hear that tick every 500 us with 20% jitter, tell one or two others each time, lose a tenth, and take messages in before they tick."""
    rng = np.random.default_rng(0)
    agenda, ticks, said = [(int(rng.integers(500)), i) for i in range(nodes)], [0] * nodes, {}
    inbox: list[list[tuple[int, int]]] = [[] for _ in range(nodes)]
    rows: list[tuple[int, int, int]] = []
    while agenda[0][0] < seconds * 1e6:
        at, i = agenda.pop(0)
        now = at + int(rng.exponential(30))
        ticks[i] += 1
        rows += [*((now, code, seq) for code, seq in sorted(inbox[i])), (now, 5 << 58 | i << 29 | i, ticks[i])]
        inbox[i].clear()
        for kind, dst in ((4, (i + 1) % nodes), (3, (i - 1) % nodes))[: rng.integers(1, 3)]:
            code = kind << 58 | dst << 29 | i
            said[code] = said.get(code, 0) + 1
            if rng.random() < 0.1:
                rows.append((now, code, -said[code]))
            else:
                inbox[dst].append((code, said[code]))
        agenda = sorted([*agenda, (at + int(500 * rng.uniform(0.8, 1.2)), i)])
    return np.array(rows, dtype=np.int64)


def segment(number: int, last: bool = False, loop: str = "2") -> Segment:
    """One of three events, with a transition and a digest."""
    events = np.array([[500 * number + i, 1 << 58 | i % 2, (number + 1) * (-1) ** i] for i in range(3)], dtype=np.int64)
    return Segment(loop, number, 3 * number, events, np.full((1, 2), 0.1 * number), (Digest(3 * number + 3, 1, bytes([number]) * 16),), last)


TAPE = [segment(0), segment(1), segment(2, last=True)]
BYTES = [encode(one) for one in TAPE]
STARTS = [0, len(BYTES[0]), len(BYTES[0]) + len(BYTES[1])]
WHOLE = b"".join(BYTES)


def read(path: Path, data: bytes | None = None) -> tuple[list[Segment], str | None]:
    """The segments and the damage of a file, which may first be given this content; the same one way and segment by segment."""
    if data is not None:
        path.write_bytes(data)
    reader = Reader(path)
    found = list(reader)
    assert reader.damage is None or (reader.damage.startswith(f"{path}: ") and "\n" not in reader.damage)
    return found, reader.damage


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """At most a megabyte is taken meanwhile."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "2.anr"


# --- what is written is read ------------------------------------------------------------------------------------------------------


@given(segments)
@example(Segment("a", 0, 0, np.array([[HIGH, LOW, LOW], [LOW, HIGH, HIGH], [HIGH, LOW, 0]]), np.zeros((0, 0)), (), False))
@example(Segment("a", 0, 0, np.zeros((0, 3), dtype=np.int64), np.zeros((2, 0)), (Digest(0, 0, b""),), True))
@example(Segment("a", 0, 0, np.arange(3 * 70_000, dtype=np.int64).reshape(-1, 3), np.zeros((0, 9)), (), True))
def test_a_segment_gives_back_what_a_loop_heard(segment):
    assert plain(decode(encode(segment))) == plain(segment)


def test_an_event_of_a_usual_run_takes_two_bytes_at_most():
    events = synthetic()
    data = encode(Segment("1", 0, 0, events, np.zeros((0, 0)), (), False))
    assert len(events) > 100_000
    assert np.array_equal(decode(data).events, events)
    assert len(data) < 2 * len(events)


def test_a_file_gives_back_its_segments(tmp_path):
    writer = Writer(tmp_path / "record")
    for one, data in zip(TAPE, BYTES, strict=True):
        writer.append("2", data)
        writer.append("1", encode(one._replace(loop="1")))
    writer.close()
    for name in ("1", "2"):
        found, damage = read(tmp_path / "record" / f"{name}.anr")
        assert [plain(one) for one in found] == [plain(one._replace(loop=name)) for one in TAPE]
        assert damage is None


@pytest.mark.parametrize(
    "change",
    [
        {"loop": "../2"},
        {"loop": ""},
        {"loop": "2" * 65},
        {"events": np.zeros((2, 4), dtype=np.int64)},
        {"events": np.zeros((2, 3))},
        {"events": np.zeros(((1 << 22) + 1, 3), dtype=np.int64)},
        {"transitions": np.zeros(3)},
        {"transitions": np.zeros((1 << 12, (1 << 12) + 1))},
    ],
)
def test_what_is_no_segment_is_not_encoded(change):
    with pytest.raises(ValueError, match=r"events must be|too many"):
        encode(TAPE[0]._replace(**change))


# --- writing ----------------------------------------------------------------------------------------------------------------------


def test_a_file_that_is_there_is_not_appended_to(path):
    path.write_bytes(BYTES[0])
    with pytest.raises(FileExistsError, match=r"2\.anr"):
        Writer(path.parent).append("2", BYTES[0])
    assert path.read_bytes() == BYTES[0]


def test_a_file_that_a_failed_append_may_have_torn_is_not_appended_to(path, monkeypatch):
    writer, write = Writer(path.parent), os.write

    def full(descriptor: int, data: memoryview) -> int:
        if len(data) < len(BYTES[1]):
            raise OSError(28, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    writer.append("2", BYTES[0])
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        writer.append("2", BYTES[1])
    monkeypatch.undo()
    with pytest.raises(FileExistsError):
        writer.append("2", BYTES[1])
    assert read(path)[1] == f"{path}: ends within segment 1, at byte {STARTS[1]}"


@pytest.mark.parametrize("loop", ["", "..", "a/b", "a.b", "a\0", "é", "2" * 65])
def test_a_loop_has_a_plain_name(tmp_path, loop):
    with pytest.raises(ValueError, match="no name of a loop"):
        Writer(tmp_path).append(loop, BYTES[0])
    assert os.listdir(tmp_path) == []


# --- damage -----------------------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_anywhere_is_seen_and_what_is_before_it_is_read(path):
    for at in range(len(WHOLE)):
        number = sum(at >= start for start in STARTS) - 1
        found, damage = read(path, WHOLE[:at] + bytes([WHOLE[at] ^ 1 << at % 8]) + WHOLE[at + 1 :])
        assert [plain(one) for one in found] == [plain(one) for one in TAPE[:number]]
        assert f"segment {number}, at byte {STARTS[number]}" in damage
        if at - STARTS[number] >= 8:
            assert damage.endswith(": its checksum does not match")


def test_a_file_cut_anywhere_is_read_up_to_there(path):
    for cut in range(len(WHOLE)):
        number = sum(cut >= start for start in STARTS[1:])
        found, damage = read(path, WHOLE[:cut])
        assert [plain(one) for one in found] == [plain(one) for one in TAPE[:number]]
        if cut == 0:
            assert damage == f"{path}: holds no segment"
        elif cut in STARTS:
            assert damage == f"{path}: ends without the loop's end, after segment {number - 1}"
        else:
            assert damage == f"{path}: ends within segment {number}, at byte {STARTS[number]}"


@pytest.mark.parametrize(
    ("whole", "why", "parts"),
    [
        (1, "segment 1, at byte {0}: it does not follow", [TAPE[0], TAPE[2]]),
        (1, "segment 1, at byte {0}: it does not follow", [TAPE[0], TAPE[0]]),
        (1, "segment 1, at byte {0}: it does not follow", [TAPE[0], TAPE[1]._replace(loop="1")]),
        (1, "segment 1, at byte {0}: it does not follow", [TAPE[0], TAPE[1]._replace(first=4)]),
        (1, "segment 1, at byte {0}: it does not follow", [TAPE[0]._replace(last=True), TAPE[1]]),
        (0, "segment 0, at byte 0: it is not the first", [TAPE[1]]),
        (0, "segment 0, at byte 0: it is not the first", [TAPE[0]._replace(loop="1")]),
    ],
)
def test_segments_that_do_not_follow_one_another_are_seen(path, whole, why, parts):
    data = [encode(part) for part in parts]
    found, damage = read(path, b"".join(data))
    assert len(found) == whole
    assert why.format(len(data[0])) in damage


# --- hostile files ----------------------------------------------------------------------------------------------------------------


def sealed(body: Any, magic: bytes = b"anr", version: int = 1) -> bytes:
    data = body if isinstance(body, bytes) else msgpack.packb(body)
    head = struct.pack("<3sBI", magic, version, len(data))
    return head + struct.pack("<I", zlib.crc32(head + data)) + data


def forged(at: int, value: Any) -> bytes:
    """The first segment with another item in its body, and a checksum that matches."""
    items = msgpack.unpackb(BYTES[0][12:])
    items[at] = value
    return sealed(items)


def column(width: int, size: int, data: bytes) -> bytes:
    return struct.pack("<BI", width, size) + zlib.compress(data)


LOOP, NUMBER, FIRST, LAST, BEGAN, ROWS, WIDTH, CODES, HEADS, INDEX, SEQ, LOST, NOW, TRANSITIONS, EVENTS, NODES, SIZES, FIELDS = range(18)
BOMB = zlib.compress(bytes(1 << 26), 9)


def test_a_forged_segment_that_is_well_formed_is_read():
    assert decode(forged(NUMBER, 7)).number == 7


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("length", b""),
        ("length", BYTES[0][:-1]),
        ("length", BYTES[0] + b"\0"),
        ("magic or version", sealed([], magic=b"anf")),
        ("magic or version", sealed([], version=2)),
        ("at most", struct.pack("<3sBII", b"anr", 1, 2**32 - 1, 0)),
        ("not that of a segment", sealed([])),
        ("not that of a segment", sealed(7)),
        ("not that of a segment", sealed({})),
        ("msgpack", sealed({1: 2})),
        ("msgpack", sealed(b"")),
        ("msgpack", sealed([0] * 19)),
        ("msgpack", sealed(b"\xdd\xff\xff\xff\xff")),
        ("msgpack", sealed(b"\xdd\x00\x00\x00\x12" * 200)),
        ("msgpack", sealed(b"\x91" * 5000)),
        ("msgpack|extension", sealed(b"\x91\xc7\x00\x05")),
        ("msgpack|extension", sealed(b"\x91\xd7\xff" + bytes(8))),
        ("msgpack", forged(LOOP, "2" * 65)),
        ("out of bounds", forged(LOOP, "../2")),
        ("not that of a segment", forged(LOOP, b"2")),
        ("not that of a segment", forged(NUMBER, True)),
        ("not that of a segment", forged(NUMBER, 1.0)),
        ("out of bounds", forged(NUMBER, -1)),
        ("out of bounds", forged(FIRST, -1)),
        ("not that of a segment", forged(LAST, 1)),
        ("out of bounds", forged(BEGAN, 2**63)),
        ("out of bounds", forged(ROWS, 2**40)),
        ("transitions", forged(ROWS, 2)),
        ("transitions", forged(WIDTH, 3)),
        ("not that of a segment", forged(CODES, [])),
        ("cut short", forged(CODES, b"\1")),
        ("3 bytes, at most", forged(CODES, column(3, 1, bytes(3)))),
        ("0 bytes, at most", forged(CODES, column(0, 1, b""))),
        ("at most 1048576", forged(NOW, column(1, (1 << 20) + 1, bytes((1 << 20) + 1)))),
        ("at most 6291456", forged(TRANSITIONS, column(8, 2**32 - 1, bytes(8)))),
        ("does not hold", forged(NOW, column(1, 3, bytes(2)))),
        ("does not hold", forged(NOW, column(1, 3, bytes(4)))),
        ("does not hold", forged(NOW, column(1, 3, bytes(3))[:-1])),
        ("does not hold", forged(NOW, column(1, 3, bytes(3)) + b"\0")),
        ("does not hold", forged(NOW, struct.pack("<BI", 1, 3) + BOMB)),
        ("one length", forged(NOW, struct.pack("<BI", 1, 0) + BOMB)),
        ("does not hold", forged(TRANSITIONS, struct.pack("<BI", 1, 2) + BOMB)),
        ("not compressed", forged(NOW, struct.pack("<BI", 1, 3) + b"abc")),
        ("one length", forged(NOW, column(1, 2, bytes(2)))),
        ("one length", forged(SEQ, column(1, 4, bytes(4)))),
        ("one length", forged(LOST, column(1, 2, bytes(2)))),
        ("one length", forged(HEADS, column(1, 1, bytes(1)))),
        ("no code", forged(INDEX, column(1, 3, b"\0\1\2"))),
        ("no code", forged(INDEX, column(1, 3, b"\0\1\xff"))),
        ("no event", forged(INDEX, column(1, 3, b"\0\0\0"))),
        ("one length", forged(NODES, column(1, 0, b""))),
        ("longer than all", forged(SIZES, column(1, 1, b"\xff"))),
        ("longer than all", forged(SIZES, column(8, 1, b"\xff" * 7 + b"\x7f"))),
        ("add up", forged(SIZES, column(1, 1, b"\x08"))),
        ("add up", forged(FIELDS, bytes(24))),
    ],
)
def test_a_hostile_segment_is_refused_in_one_line_and_takes_no_memory(why, data):
    with little_memory(), pytest.raises(BadSegment, match=why) as caught:
        decode(data)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200))
def test_random_bodies_are_refused(body):
    for data in (body, sealed(body)):
        with pytest.raises(BadSegment):
            decode(data)


@given(st.integers(0, 17), st.one_of(st.binary(max_size=20), st.integers(-(2**63), 2**64 - 1), st.text(max_size=3), st.booleans(), st.none()))
def test_any_item_in_the_place_of_any_other_gives_bad_segment_or_a_segment(at, value):
    try:
        found = decode(forged(at, value))
    except BadSegment:
        return
    assert (found.events.shape, found.transitions.shape, len(found.digests)) == ((3, 3), (1, 2), 1)


def test_a_segment_longer_than_its_file_takes_no_memory(path):
    with little_memory():
        _, damage = read(path, struct.pack("<3sBII", b"anr", 1, 1 << 25, 0) + bytes(9))
    assert damage == f"{path}: ends within segment 0, at byte 0"


def test_what_is_no_plain_file_is_not_read(tmp_path):
    (tmp_path / "file").write_bytes(WHOLE)
    (tmp_path / "link.anr").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe.anr")
    (tmp_path / "folder.anr").mkdir()
    with (tmp_path / "large.anr").open("wb") as file:
        file.truncate((1 << 34) + 1)  # takes no room on the disk
    for name, why in (("link", "symbolic link"), ("pipe", "regular file"), ("folder", "regular file"), ("large", "at most"), ("missing", "No such file")):
        with pytest.raises(ScenarioError, match=why) as caught:
            read(tmp_path / f"{name}.anr")
        assert caught.value.where == str(tmp_path / f"{name}.anr")


MOST_MEMORY = 128  # MiB; docs/recording.md


def hostile(count: int, seed: int) -> dict[str, Any]:
    """What became of so many hostile recordings (hostile.py), all replayed by one process."""
    done = subprocess.run(
        [sys.executable, "-m", "support.hostile", str(count), str(seed)], cwd=TESTS, capture_output=True, text=True, timeout=2500, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def test_hostile_recordings_end_in_a_line_each_and_take_no_more_memory_than_is_promised():
    found = hostile(60, 1)
    assert found["recordings"] == 60
    assert found["most"] < MOST_MEMORY, found


@pytest.mark.study
@pytest.mark.timeout(3000)
def test_five_hundred_hostile_recordings_take_no_more_memory_than_is_promised():
    found = hostile(500, 2)
    print(found)
    assert found["recordings"] == 500
    assert found["most"] < MOST_MEMORY, found
