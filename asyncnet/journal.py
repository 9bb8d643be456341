"""The recording of a run on real clocks: what the nodes of each loop heard, in order, in checksummed segments (docs/recording.md).

A segment is a head (magic, version, length of the body, CRC-32 of these and the body) and a msgpack body. Columns of events are stored as differences, in the
narrowest type that holds them, their bytes grouped by significance, compressed: two to four bytes an event.
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

from asyncnet import durable
from asyncnet.scenario import ScenarioError

VERSION = 1
MOST_EVENTS = 1 << 22  # in a segment
MOST_BODY = 1 << 28  # bytes
SUFFIX = ".anr"
_HEAD, _CRC = struct.Struct("<3sBI"), struct.Struct("<I")
_MAGIC = b"anr"
_KEYS = ("loop", "number", "first", "count", "codes", "starts", "who", "seq", "now", "began", "shape", "outcomes", "digests", "last")


class Digest(NamedTuple):
    """What a node's state was after so many of its loop's events: eight bytes for each field."""

    event: int
    node: int
    fields: bytes


class Segment(NamedTuple):
    """A piece of a loop's recording. An event is a row (now, who, sequence number) as in Loop's tape; an outcome is what a step of a task in Python led to."""

    loop: str
    number: int  # among this loop's, from 0
    first: int  # the number of its first event among this loop's, from 0
    events: np.ndarray  # (n, 3) int64
    outcomes: np.ndarray  # (m, w) float64
    digests: tuple[Digest, ...]
    last: bool  # the loop ended in order


class BadSegment(ValueError):
    """The bytes are not a segment of this format; the text says in one line what is wrong."""


def encode(segment: Segment) -> bytes:
    """The bytes of a segment."""
    now, who, seq = np.ascontiguousarray(segment.events.T)
    codes, index = np.unique(who, return_inverse=True)
    # Sequence numbers of one code mostly count up, so each is stored as the step from the one before of its code.
    order = np.argsort(index, kind="stable")
    steps = np.diff(seq[order], prepend=0)
    heads = np.searchsorted(index[order], np.arange(len(codes)))
    starts = seq[order][heads]
    steps[heads] = 0
    ordered = np.empty_like(steps)
    ordered[order] = steps
    body = {
        "loop": segment.loop,
        "number": segment.number,
        "first": segment.first,
        "count": len(segment.events),
        "codes": codes.astype("<i8").tobytes(),
        "starts": starts.astype("<i8").tobytes(),
        "who": _packed(index),
        "seq": _packed(ordered),
        "now": _packed(np.diff(now, prepend=now[:1])),
        "began": int(now[0]) if len(now) else 0,
        "shape": list(segment.outcomes.shape),
        "outcomes": zlib.compress(_shuffled(segment.outcomes.astype("<f8")), 1),
        "digests": [list(digest) for digest in segment.digests],
        "last": segment.last,
    }
    packed = msgpack.packb(body)
    head = _HEAD.pack(_MAGIC, VERSION, len(packed))
    return head + _CRC.pack(zlib.crc32(packed, zlib.crc32(head))) + packed


def decode(data: bytes) -> Segment:
    """The segment in these bytes; raises BadSegment."""
    length = _length(data[: _HEAD.size])
    if len(data) != _HEAD.size + _CRC.size + length:
        raise BadSegment("it is not as long as it says")
    (seal,) = _CRC.unpack_from(data, _HEAD.size)
    body = memoryview(data)[_HEAD.size + _CRC.size :]
    if zlib.crc32(body, zlib.crc32(data[: _HEAD.size])) != seal:
        raise BadSegment("its checksum does not match")
    try:
        return _segment(_unpackb(body))
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError, zlib.error, msgpack.UnpackException) as error:
        raise BadSegment(f"not a segment: {' '.join(str(error).split())[:200] or type(error).__name__}") from None


def _segment(body: Any) -> Segment:
    if type(body) is not dict or tuple(body) != _KEYS:
        raise BadSegment("not the keys of a segment")
    loop, number, first, count, last = body["loop"], body["number"], body["first"], body["count"], body["last"]
    if not (type(loop) is str and _NAME.fullmatch(loop) and type(last) is bool and all(type(n) is int and n >= 0 for n in (number, first, count))):
        raise BadSegment("loop, number, first, count or last is of another type")
    if count > MOST_EVENTS:
        raise BadSegment(f"{count} events, at most {MOST_EVENTS}")
    codes, starts = np.frombuffer(body["codes"], "<i8"), np.frombuffer(body["starts"], "<i8")
    index, steps, gaps = (_unpacked(body[name], count) for name in ("who", "seq", "now"))
    if len(codes) != len(starts) or (count and not 0 <= index.min() <= index.max() < len(codes)):
        raise BadSegment("an event has no code")
    order = np.argsort(index, kind="stable")
    heads = np.searchsorted(index[order], np.arange(len(codes)))
    if count:
        steps = steps[order]
        sums = np.cumsum(steps)
        base = starts - sums[heads]
        seq = np.empty(count, dtype=np.int64)
        seq[order] = sums + base[index[order]]
        events = np.column_stack((np.cumsum(gaps) + body["began"], codes[index], seq))
    else:
        events = np.zeros((0, 3), dtype=np.int64)
    rows, width = body["shape"]
    size = 8 * rows * width
    if not (0 <= rows <= MOST_EVENTS and 0 <= width <= 1 << 20 and size <= MOST_BODY):
        raise BadSegment("outcomes of an impossible shape")
    outcomes = _restored(_expanded(body["outcomes"], size), np.dtype("<f8")).reshape(rows, width)
    digests = tuple(Digest(event, node, fields) for event, node, fields in body["digests"])
    if not all(type(d.event) is int and type(d.node) is int and type(d.fields) is bytes for d in digests):
        raise BadSegment("a digest of another type")
    return Segment(loop, number, first, events, outcomes, digests, last)


class Writer:
    """Appends segments to a file for each loop in a folder, each on the disk when `append` returns."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, int] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def append(self, loop: str, data: bytes) -> None:
        """Add a loop's next segment; FileExistsError if another Writer has made its file."""
        if loop not in self._files:
            if not _NAME.fullmatch(loop):
                raise ValueError(f"{loop!r} is no name of a loop")
            self._files[loop] = durable.create(self._folder / f"{loop}{SUFFIX}")
        durable.append(self._files[loop], data)

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()


class Reader:
    """The segments of one file, in order, up to the first that is not whole; then `damage` says what is wrong with it, or None if the loop ended in order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.damage: str | None = None

    def __iter__(self) -> Iterator[Segment]:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise ScenarioError(str(self._path), "", error.strerror or str(error)) from None
        with os.fdopen(descriptor, "rb") as file:
            number = events = place = 0
            last = False
            while head := file.read(_HEAD.size):
                try:
                    if last:
                        raise BadSegment("it comes after the loop's end")
                    rest = _CRC.size + _length(head)
                    data = head + file.read(rest)
                    if len(data) < _HEAD.size + rest:
                        self.damage = f"{self._path}: ends within segment {number}, at byte {place}"
                        return
                    segment = decode(data)
                    if (segment.loop, segment.number, segment.first) != (self._path.stem, number, events):
                        raise BadSegment("it does not follow the one before")
                except BadSegment as error:
                    self.damage = f"{self._path}: segment {number}, at byte {place}: {error}"
                    return
                yield segment
                number, events, place, last = number + 1, events + len(segment.events), place + len(data), segment.last
            if not last:
                self.damage = f"{self._path}: ends without the loop's end, after {number} segments"


_NAME = re.compile(r"[0-9A-Za-z_-]{1,64}")


def _length(head: bytes) -> int:
    if len(head) < _HEAD.size:
        raise BadSegment("its head is cut")
    magic, version, length = _HEAD.unpack(head)
    if magic != _MAGIC or version != VERSION:
        raise BadSegment("unknown magic or version")
    if length > MOST_BODY:
        raise BadSegment(f"{length} bytes, at most {MOST_BODY}")
    return length


def _packed(column: np.ndarray) -> list[Any]:
    """Whole numbers in the narrowest type that holds them, compressed: (bytes of one, data)."""
    low, high = (int(column.min()), int(column.max())) if column.size else (0, 0)
    kind = next(kind for kind in ("<i1", "<i2", "<i4", "<i8") if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return [np.dtype(kind).itemsize, zlib.compress(_shuffled(column.astype(kind)), 1)]


def _unpacked(packed: Any, count: int) -> np.ndarray:
    size, data = packed
    if size not in (1, 2, 4, 8):
        raise BadSegment("a column of an unknown type")
    return _restored(_expanded(data, size * count), np.dtype(f"<i{size}")).astype(np.int64)


def _shuffled(array: np.ndarray) -> bytes:
    """All first bytes, then all second ones, and so on."""
    return np.ascontiguousarray(array).view(np.uint8).reshape(-1, array.itemsize).T.tobytes()


def _restored(data: bytes, kind: np.dtype) -> np.ndarray:
    return np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(kind.itemsize, -1).T).view(kind).reshape(-1)


def _expanded(data: Any, size: int) -> bytes:
    """Decompressed data of exactly that size; nothing longer is ever made."""
    if type(data) is not bytes:
        raise BadSegment("a column that is not bytes")
    engine = zlib.decompressobj()
    out = engine.decompress(data, size + 1)
    if len(out) != size or not engine.eof or engine.unused_data:
        raise BadSegment("a column of another length")
    return out


def _no_extension(code: int, data: Any) -> NoReturn:
    raise BadSegment(f"extension type {code}")


_unpackb = functools.partial(
    msgpack.unpackb, ext_hook=_no_extension, max_array_len=MOST_EVENTS, max_map_len=len(_KEYS), max_str_len=64, max_bin_len=MOST_BODY, max_ext_len=0
)
