"""The recording of a run on real clocks: what the nodes of each loop heard, in order, in checksummed segments.

A file holds one loop's segments, one after another; if its process was lost, those of its next life are in the next file: 2.anr, 2-1.anr. There events are
counted on from the one after which the state was taken with which that life began.

A segment is a head (magic, version, length of the body; CRC-32 of these and the body) and a msgpack body,
a flat list of plain values and columns. A column is whole numbers in the narrowest type that holds them, all their lowest bytes first, compressed. Times are
steps from row to row. Sequence numbers are steps from one to the next of a code (kind, receiver, sender), code by code; there a loss, whose number is
negative, counts as its message would, and a column of bits says which are lost. Sums wrap at 64 bits, so any whole numbers come back.
"""

from __future__ import annotations

import functools
import os
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import msgpack
import numpy as np
from numpy.typing import NDArray

from asyncnet.runs import durable
from asyncnet.scenario.schema import ScenarioError

MOST_EVENTS = 1 << 20  # in a segment
MOST_NUMBERS = 6 << 20  # in its transitions
MOST_DIGESTS = 1 << 17
MOST_BYTES = 48 << 20  # of its body
MOST_HELD = 48 << 20  # bytes of what is read, of all files together: one segment of each
LARGEST_FILE = 1 << 34  # bytes
SUFFIX = ".anr"
VERSION = 1

_HEAD, _CRC, _COLUMN = struct.Struct("<3sBI"), struct.Struct("<I"), struct.Struct("<BI")
_FRONT = _HEAD.size + _CRC.size
_MAGIC = b"anr"
_LOOP = re.compile(r"[0-9A-Za-z_-]{1,64}")
_PLAIN = (str, int, int, bool, int, int, int)  # loop, number, first, last, time of the first event, rows and width of the transitions
_MOST = (MOST_EVENTS,) * 6 + (MOST_NUMBERS,) + (MOST_DIGESTS,) * 3  # of each column; after them come the digests' bytes
_WIDTHS = (1, 2, 4, 8)
_ITEMS = len(_PLAIN) + len(_MOST) + 1
_PER_EVENT, _PER_NUMBER, _PER_DIGEST = 24, 8, 320  # bytes that they take once they are read
_PIECE = 1 << 16


class Digest(NamedTuple):
    """What a node's state was after so many of its loop's events: eight bytes for each of its fields."""

    event: int
    node: int
    fields: bytes


class Segment(NamedTuple):
    """A piece of a loop's recording."""

    loop: str
    number: int  # among this loop's, from 0
    first: int  # the number of its first event among this loop's, from 0
    events: NDArray[np.int64]  # (n, 3): now in microseconds, code, sequence number; -seq: that message was lost
    transitions: NDArray[np.float64]  # (m, w): what the steps of a task in Python led to
    digests: tuple[Digest, ...]
    last: bool  # the loop ended in order

    @property
    def held(self) -> int:
        """The bytes that it takes."""
        return _held(len(self.events), self.transitions.size, len(self.digests), sum(len(digest.fields) for digest in self.digests))


def life_of(path: Path) -> tuple[str, int]:
    """Of which loop a file is, and of which life of it, the first being 0; (the file's name, 0) if it is not named so."""
    loop, dash, life = path.stem.rpartition("-")
    return (loop, int(life)) if dash and re.fullmatch("[1-9][0-9]{0,5}", life) else (path.stem, 0)


class BadSegment(ValueError):
    """The bytes are not a segment of this format; the text says in one line what is wrong."""


def encode(segment: Segment) -> bytes:
    """The bytes of a segment; ValueError if it is not of the form of a Segment or larger than one may be."""
    loop, number, first, events, transitions, digests, last = segment
    if events.dtype != np.int64 or events.shape != (len(events), 3) or transitions.dtype != np.float64 or transitions.ndim != 2 or not _LOOP.fullmatch(loop):
        raise ValueError("events must be (n, 3) int64, transitions (m, w) float64, and the loop's name letters, digits, _ and -")
    if len(events) > MOST_EVENTS or transitions.size > MOST_NUMBERS or len(digests) > MOST_DIGESTS:
        raise ValueError(f"{len(events)} events, {transitions.size} numbers of transitions, {len(digests)} digests: too many for a segment")
    now, code, seq = np.ascontiguousarray(events.T)
    codes = np.unique(code)
    index = np.searchsorted(codes, code)
    order, heads, _ = _by_code(index, len(codes))
    said = np.abs(seq).view(np.uint64)[order]
    steps = np.diff(said, prepend=said[:1])
    steps[heads] = 0
    columns = (
        codes,
        said[heads],
        index,
        steps,
        np.packbits(seq < 0).view(np.int8),
        np.diff(now.view(np.uint64), prepend=now.view(np.uint64)[:1]),
        np.ascontiguousarray(transitions).reshape(-1),
        np.array([digest.event for digest in digests], dtype=np.int64),
        np.array([digest.node for digest in digests], dtype=np.int64),
        np.array([len(digest.fields) for digest in digests], dtype=np.int64),
    )
    plain = (loop, number, first, last, int(now[0]) if len(now) else 0, *transitions.shape)
    body = msgpack.packb((*plain, *(_packed(column) for column in columns), b"".join(digest.fields for digest in digests)))
    if len(body) > MOST_BYTES:
        raise ValueError(f"a segment of {len(body)} bytes exceeds {MOST_BYTES}")
    head = _HEAD.pack(_MAGIC, VERSION, len(body))
    return b"".join((head, _CRC.pack(zlib.crc32(body, zlib.crc32(head))), body))


def decode(data: bytes, most: int = MOST_HELD) -> Segment:
    """The segment in these bytes; BadSegment if they are anything but one whole, well-formed segment, or if it would take more bytes than `most`."""
    if len(data) < _FRONT or len(data) != _length(data):
        raise BadSegment(f"{len(data)} bytes are not the length that its head says")
    body = memoryview(data)[_FRONT:]
    if zlib.crc32(body, zlib.crc32(data[: _HEAD.size])) != _CRC.unpack_from(data, _HEAD.size)[0]:
        raise BadSegment("its checksum does not match")
    try:
        items = _unpackb(body)
    except (ValueError, msgpack.UnpackException) as error:
        raise BadSegment(f"not msgpack within the limits: {type(error).__name__}") from error
    del data, body  # its items are copies
    if type(items) is not tuple or tuple(map(type, items)) != (*_PLAIN, *(bytes,) * (len(_MOST) + 1)):
        raise BadSegment("its body is not that of a segment")
    (loop, number, first, last, began, rows, width), packed, fields = items[: len(_PLAIN)], items[len(_PLAIN) : -1], items[-1]
    if not _LOOP.fullmatch(loop) or min(number, first, rows, width) < 0 or max(rows, width) > MOST_NUMBERS or not -(2**63) <= began < 2**63:
        raise BadSegment("its plain values are out of bounds")
    sizes = [_size(*pair) for pair in zip(packed, _MOST, strict=True)]
    codes, starts, index, steps, lost, gaps, numbers, *digests = sizes
    if not (steps == gaps == index and lost == -(-index // 8) and starts == codes <= index):
        raise BadSegment("its columns of events are not of one length")
    if len(set(digests)) > 1:
        raise BadSegment("its columns of digests are not of one length")
    if rows * width != numbers:
        raise BadSegment(f"{numbers} numbers are not {rows} transitions of {width}")
    if _held(index, numbers, digests[0], len(fields)) > most:
        raise BadSegment(f"with what is read of other files it takes more than {MOST_HELD >> 20} MiB")
    events = _events(*(_unpacked(column) for column in packed[:6]), began)
    transitions = _unpacked(packed[6]).view(np.float64).reshape(rows, width)
    return Segment(loop, number, first, events, transitions, _digests(*(_unpacked(column) for column in packed[7:]), fields), last)


def _held(events: int, numbers: int, digests: int, fields: int) -> int:
    return _PER_EVENT * events + _PER_NUMBER * numbers + _PER_DIGEST * digests + fields


class Writer:
    """Appends segments to a file for each loop, `LOOP.anr` in a folder; what `append` has returned from is on the disk."""

    def __init__(self, folder: Path) -> None:
        durable.make(folder)
        self._folder = folder
        self._files: dict[str, int] = {}

    def append(self, loop: str, data: bytes) -> None:
        """Add a loop's next segment; FileExistsError if its file was there before, or if an earlier append to it has failed and may have torn it."""
        if not _LOOP.fullmatch(loop):
            raise ValueError(f"{loop!r} is no name of a loop: letters, digits, _ and -")
        descriptor = self._files.pop(loop, None)
        if descriptor is None:
            descriptor = durable.create(self._folder / f"{loop}{SUFFIX}")
        try:
            durable.append(descriptor, data)
        except OSError:
            os.close(descriptor)
            raise
        self._files[loop] = descriptor

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.popitem()[1])


class Room:
    """How many bytes of recordings may be held at a time; readers may share it."""

    def __init__(self) -> None:
        self.left = MOST_HELD


class Reader:
    """The segments of one file, read one at a time, up to the first that is not whole; each takes its room until the next is asked for.

    After them `damage` says in one line what is wrong with the file, or is None if the loop ended in order. Iterating raises ScenarioError if there is no such
    file, or it is too large, or none that may be opened (a symbolic link is not followed).
    """

    def __init__(self, path: Path, room: Room | None = None) -> None:
        self.path, self._room = path, room or Room()
        self.damage: str | None = None

    def __iter__(self) -> Iterator[Segment]:
        place = number = events = 0
        last = False
        while True:
            try:
                data = self._read(place)
                if not data:
                    break
                if len(data) < _FRONT or len(data) < _length(data):
                    self.damage = f"{self.path}: ends within segment {number}, at byte {place}"
                    return
                segment, size = decode(data, self._room.left), len(data)
                del data
                if number == 0 and life_of(self.path)[1]:
                    events = segment.first
                if last or (segment.loop, segment.number, segment.first) != (self.path.stem, number, events):
                    raise BadSegment("it does not follow the one before" if number else "it is not the first of this loop")
            except BadSegment as error:
                self.damage = f"{self.path}: segment {number}, at byte {place}: {error}"
                return
            place, number, events, last = place + size, number + 1, events + len(segment.events), segment.last
            held = segment.held
            self._room.left -= held
            yield segment
            del segment
            self._room.left += held
        if not last:
            self.damage = f"{self.path}: ends without the loop's end, after segment {number - 1}" if number else f"{self.path}: holds no segment"

    def _read(self, place: int) -> bytes:
        """The segment that begins there, or what there is of it; the file is open meanwhile, and only then, for there may be many."""
        try:
            with durable.plain(self.path) as file:
                size = os.fstat(file.fileno()).st_size
                if size > LARGEST_FILE:
                    raise ScenarioError(str(self.path), "", f"{size} bytes, at most {LARGEST_FILE} are read")
                front = os.pread(file.fileno(), _FRONT, place)
                whole = _length(front) if len(front) == _FRONT else 0
                return os.pread(file.fileno(), whole, place) if place + whole <= size and whole else front
        except OSError as error:
            raise ScenarioError(str(self.path), "", error.strerror or str(error)) from None


def _length(front: bytes) -> int:
    """The length of the segment that begins so."""
    magic, version, length = _HEAD.unpack_from(front)
    if magic != _MAGIC or version != VERSION:
        raise BadSegment("unknown magic or version")
    if length > MOST_BYTES:
        raise BadSegment(f"its head says {length} bytes, at most {MOST_BYTES}")
    return _FRONT + length


def _by_code(index: NDArray[np.int64], codes: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """The rows code by code, where each code begins among them, and how many it has."""
    counts = np.bincount(index, minlength=codes)
    narrow = index.astype(np.uint16) if codes <= 1 << 16 else index  # sorted by radix, in a tenth of the time
    return np.argsort(narrow, kind="stable"), np.cumsum(counts) - counts, counts


def _events(
    codes: NDArray[np.int64],
    starts: NDArray[np.int64],
    index: NDArray[np.int64],
    steps: NDArray[np.int64],
    lost: NDArray[np.int64],
    gaps: NDArray[np.int64],
    began: int,
) -> NDArray[np.int64]:
    starts, steps, gaps, size = starts.view(np.uint64), steps.view(np.uint64), gaps.view(np.uint64), len(index)
    if size and not 0 <= index.min() <= index.max() < len(codes):
        raise BadSegment("an event has no code")
    order, heads, counts = _by_code(index, len(codes))
    if not counts.all():
        raise BadSegment("a code has no event")
    sums = np.cumsum(steps)
    said = np.empty(size, dtype=np.uint64)
    said[order] = sums + np.repeat(starts - sums[heads], counts)
    said = np.where(np.unpackbits(lost.astype(np.uint8), count=size), -said, said)
    now = np.cumsum(gaps) + np.array(began).view(np.uint64)
    return np.column_stack((now.view(np.int64), codes[index], said.view(np.int64)))


def _digests(events: NDArray[np.int64], nodes: NDArray[np.int64], sizes: NDArray[np.int64], fields: bytes) -> tuple[Digest, ...]:
    if sizes.size and not 0 <= sizes.min() <= sizes.max() <= len(fields):  # so their sum cannot overflow
        raise BadSegment("a digest is longer than all together")
    ends = np.cumsum(sizes)
    if (ends[-1] if sizes.size else 0) != len(fields):
        raise BadSegment("the sizes of the digests do not add up")
    rows = zip(*(column.tolist() for column in (events, nodes, ends - sizes, ends)), strict=True)
    return tuple(Digest(event, node, fields[begin:end]) for event, node, begin, end in rows)


def _packed(column: np.ndarray) -> bytes:
    """A column; of eight-byte values the bits count, whatever their type."""
    numbers = column.view(np.int64) if column.itemsize == 8 else column
    low, high = (int(numbers.min()), int(numbers.max())) if numbers.size else (0, 0)
    width = next(width for width in _WIDTHS if -(1 << (8 * width - 1)) <= low and high < 1 << (8 * width - 1))
    return _COLUMN.pack(width, numbers.size) + zlib.compress(numbers.astype(f"<i{width}").view(np.uint8).reshape(-1, width).T.tobytes(), 1)


def _size(data: bytes, most: int) -> int:
    """How many numbers a column says that it holds."""
    if len(data) < _COLUMN.size:
        raise BadSegment("a column is cut short")
    width, size = _COLUMN.unpack_from(data)
    if width not in _WIDTHS or size > most:
        raise BadSegment(f"a column of {size} numbers of {width} bytes, at most {most} of {_WIDTHS}")
    return size


def _unpacked(data: bytes) -> NDArray[np.int64]:
    """The numbers of a column; beside them little more is held than the bytes of one place."""
    width, size = _COLUMN.unpack_from(data)
    numbers, plane = np.empty((size, width), np.uint8), bytearray()
    planes = 0
    for piece in _decompressed(data):
        plane += piece
        while planes < width and len(plane) >= size > 0:
            numbers[:, planes] = np.frombuffer(plane, np.uint8, size)
            plane, planes = plane[size:], planes + 1
        if len(plane) > (size if planes < width else 0):
            break
    if plane or (planes < width and size):
        raise BadSegment(f"a column does not hold its {size} numbers of {width} bytes")
    return numbers.view(f"<i{width}").reshape(-1).astype(np.int64, copy=False)


def _decompressed(data: bytes) -> Iterator[bytes]:
    """What a column's bytes are, in pieces; BadSegment if there is more or less of them than one compressed stream."""
    stream, left = zlib.decompressobj(), memoryview(data)[_COLUMN.size :]
    try:
        while left and not stream.eof:
            tail, left = left[:_PIECE], left[_PIECE:]
            while tail and not stream.eof:
                yield stream.decompress(tail, _PIECE)
                tail = stream.unconsumed_tail
    except zlib.error as error:
        raise BadSegment("a column is not compressed data") from error
    if left or not stream.eof or stream.unused_data:
        raise BadSegment("a column does not hold one compressed stream")


def _no_extension(code: int, data: Any) -> NoReturn:
    raise BadSegment(f"extension type {code}")


_unpackb = functools.partial(
    msgpack.unpackb, use_list=False, ext_hook=_no_extension, max_array_len=_ITEMS, max_map_len=0, max_str_len=64, max_bin_len=MOST_BYTES, max_ext_len=0
)
