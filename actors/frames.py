"""The bytes of one frame: a batch of messages between two event loops.

A frame is an eight-byte head (magic, version, length of the body) and a msgpack body of two byte strings: the whole numbers (when it was sent, then five
for each message, as rows) as little-endian int64, and every payload value as little-endian float64, one message after the other. Both sides
have them as arrays, so nothing is copied but the bytes themselves. There is no checksum; the CURVE transport authenticates each frame.

A message too long for one frame goes in parts, frames of another magic: the whole numbers are when it was sent, its one row, and where in its payload the
part begins. All parts but the last are full, so that there are only so many.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

import msgpack
import numpy as np
from numpy.typing import NDArray

MAX_FRAME = 8 * 1024 * 1024
"""Longest frame in bytes, head included."""

COLUMNS = 5
"""`(at, who, seq, stamp, size)` of each message: who packs kind, receiver and sender (asyncnet/loop/compiled/agenda.py), size counts its payload's values."""

PART = (MAX_FRAME - 128) // 8
"""Values in a full part of a message."""

_HEAD = struct.Struct("<3sBI")
_SENT, _ONE = struct.Struct("<q"), struct.Struct(f"<{1 + COLUMNS}q")
_MAGIC, _PART_MAGIC = b"anf", b"anp"
_PART = struct.Struct(f"<{2 + COLUMNS}q")
_VERSION = 2


class Batch(NamedTuple):
    """Messages as arrays: rows (n, COLUMNS) int64, their payloads one after another, and when they were sent, in microseconds."""

    rows: NDArray[np.int64]
    numbers: NDArray[np.float64]
    sent: int


class Part(NamedTuple):
    """A part of one message: its row, the values of its payload from `first` on, and when it was sent."""

    row: tuple[int, ...]
    first: int
    numbers: NDArray[np.float64]
    sent: int


class BadFrame(ValueError):
    """The bytes are not a frame of this format; the text says in one line what is wrong."""


def pack(rows: NDArray[np.int64], numbers: NDArray[np.float64], sent: int) -> bytes:
    """Return one frame with the messages in their order.

    Every float64 bit pattern travels unchanged, NaN and infinities included. ValueError: the arrays are not of the form of a Batch, or the frame would
    exceed `MAX_FRAME`.
    """
    if rows.dtype != np.int64 or numbers.dtype != np.float64 or rows.ndim != 2 or rows.shape[1] != COLUMNS or numbers.ndim != 1:
        raise ValueError(f"rows must be (n, {COLUMNS}) int64 and numbers (m,) float64")
    return _framed(_MAGIC, sent.to_bytes(8, "little", signed=True) + rows.tobytes(), numbers.tobytes())


def parts(row: NDArray[np.int64], numbers: NDArray[np.float64], sent: int) -> Iterator[bytes]:
    """The frames that carry one message of any length, in their order."""
    for first in range(0, len(numbers), PART):
        yield _framed(_PART_MAGIC, _PART.pack(sent, *row.tolist(), first), numbers[first : first + PART].tobytes())


def _framed(magic: bytes, ints: bytes, floats: bytes) -> bytes:
    body = msgpack.packb((ints, floats))
    if _HEAD.size + len(body) > MAX_FRAME:
        raise ValueError(f"a frame of {_HEAD.size + len(body)} bytes exceeds {MAX_FRAME}")
    return _HEAD.pack(magic, _VERSION, len(body)) + body


def unpack(frame: bytes) -> Batch | Part:
    """Return the messages of a frame in their order, or a part of one; arrays are read-only and share the frame's memory.

    BadFrame: anything but a whole, well-formed frame, whose sizes add up to its payload.
    """
    magic, ints, floats = _body(frame)
    if magic == _PART_MAGIC:
        return _part(ints, floats)
    if len(ints) < 8 or (len(ints) - 8) % (8 * COLUMNS):
        raise BadFrame(f"{len(ints)} bytes of integers are not whole messages")
    if len(floats) % 8:
        raise BadFrame(f"{len(floats)} bytes of payload are not whole float64 values")
    if len(ints) == _ONE.size:  # the usual frame of a team that waits: struct reads one message faster than NumPy
        sent, *_, whole = _ONE.unpack(ints)
        fits = whole >= 0
    else:
        (sent,) = _SENT.unpack_from(ints)
        sizes = np.frombuffer(ints, "<i8", offset=8)[COLUMNS - 1 :: COLUMNS]
        fits = not len(sizes) or (sizes.min() >= 0 and sizes.max() <= len(floats))  # so their sum cannot overflow
        whole = int(sizes.sum()) if fits else 0
    if not fits or whole * 8 != len(floats):
        raise BadFrame("the payload sizes do not add up to the payload")
    return Batch(np.ndarray((len(ints) // (8 * COLUMNS), COLUMNS), "<i8", ints, 8), np.ndarray(whole, "<f8", floats), sent)


def _part(ints: bytes, floats: bytes) -> Part:
    """Return a part, or raise BadFrame."""
    if len(ints) != _PART.size:
        raise BadFrame(f"{len(ints)} bytes of integers are not a part's")
    sent, *row, first = _PART.unpack(ints)
    if not 0 <= first < row[-1] or first % PART or len(floats) != 8 * min(PART, row[-1] - first):
        raise BadFrame("a part that does not fit into its message")
    return Part(tuple(row), first, np.frombuffer(floats, "<f8"), sent)


def _body(frame: bytes) -> tuple[bytes, bytes, bytes]:
    """Return magic and the two byte strings of a frame, or raise BadFrame."""
    if not isinstance(frame, bytes):
        raise BadFrame(f"a frame is bytes, not {type(frame).__name__}")
    if not _HEAD.size < len(frame) <= MAX_FRAME:
        raise BadFrame(f"a length of {len(frame)} bytes is out of bounds")
    magic, version, length = _HEAD.unpack_from(frame)
    if magic not in (_MAGIC, _PART_MAGIC) or version != _VERSION:
        raise BadFrame("unknown magic or version")
    if length != len(frame) - _HEAD.size:
        raise BadFrame(f"the head says {length} bytes, {len(frame) - _HEAD.size} came")
    try:
        body = _unpackb(memoryview(frame)[_HEAD.size :])
    except (ValueError, msgpack.UnpackException) as error:
        raise BadFrame(f"not msgpack within the limits: {type(error).__name__}") from error
    if type(body) is not tuple or len(body) != 2 or type(body[0]) is not bytes or type(body[1]) is not bytes:
        raise BadFrame("the body is not two byte strings")
    return magic, *body


def _no_extension(code: int, data: Any) -> NoReturn:
    raise BadFrame(f"extension type {code}")


_unpackb = functools.partial(
    msgpack.unpackb, use_list=False, ext_hook=_no_extension, max_array_len=2, max_map_len=0, max_str_len=0, max_bin_len=MAX_FRAME, max_ext_len=0
)
