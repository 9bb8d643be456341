"""The bytes of one frame: a batch of messages between two event loops.

A frame is an eight-byte head (magic, version, length of the body) and a msgpack body of two byte strings: every integer of every
message as little-endian int64, column by column, and every payload value as little-endian float64, one message after the other.
Columns of fixed width decode several times faster than a list of integers per message, and they leave nothing to validate per
integer: eight bytes are always an int64. There is no checksum; the CURVE transport authenticates each frame.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NoReturn

import msgpack
import numpy as np
from numpy.typing import NDArray

MAX_FRAME = 8 * 1024 * 1024
"""Longest frame in bytes, head included."""

Message = tuple[int, int, int, int, int, int, NDArray[np.float64], int]
"""`(at, kind, dst, src, seq, stamp, payload, sent)`; `at`, `stamp` and `sent` are in microseconds where they are times."""

_HEAD = struct.Struct("<3sBI")
_MAGIC = b"anf"
_VERSION = 1
_INTS = 8  # the seven integers of a message and the number of values in its payload
_F8 = np.dtype("<f8")
_ONE = struct.Struct(f"<{_INTS}q")


class BadFrame(ValueError):
    """The bytes are not a frame of this format; the text says in one line what is wrong."""


def pack(messages: Sequence[Message]) -> bytes:
    """Return one frame with the messages in their order.

    Every float64 bit pattern travels unchanged, NaN and infinities included. ValueError: a payload is not a one-dimensional
    float64 array, an integer does not fit int64, a message has not eight fields, or the frame would exceed `MAX_FRAME`.
    """
    try:
        if messages:
            at, kind, dst, src, seq, stamp, payload, sent = zip(*messages, strict=True)
            size = [array.size for array in payload]
            if [1 for array in payload if array.dtype != _F8 or array.ndim != 1]:
                raise ValueError("a payload must be a one-dimensional float64 array")
            layout = _ONE if len(at) == 1 else struct.Struct(f"<{_INTS * len(at)}q")
            ints = layout.pack(*at, *kind, *dst, *src, *seq, *stamp, *sent, *size)
            floats = b"".join([array.tobytes() for array in payload])
        else:
            ints = floats = b""
    except (struct.error, AttributeError, TypeError) as error:
        raise ValueError(f"not a message: {error}") from error
    body = msgpack.packb((ints, floats))
    if _HEAD.size + len(body) > MAX_FRAME:
        raise ValueError(f"a frame of {_HEAD.size + len(body)} bytes exceeds {MAX_FRAME}")
    return _HEAD.pack(_MAGIC, _VERSION, len(body)) + body


def unpack(frame: bytes) -> list[Message]:
    """Return the messages of a frame in their order.

    Payloads are writable and contiguous. Those of one frame are disjoint parts of one buffer, so keeping one keeps the payloads of
    its whole frame alive: copy what is to be held for long. BadFrame: anything but a whole, well-formed frame.
    """
    ints, floats = _body(frame)
    count, rest = divmod(len(ints), 8 * _INTS)
    if rest:
        raise BadFrame(f"{len(ints)} bytes of integers are not whole messages")
    if len(floats) % 8:
        raise BadFrame(f"{len(floats)} bytes of payload are not whole float64 values")
    layout = _ONE if count == 1 else struct.Struct(f"<{_INTS * count}q")
    values = layout.unpack(ints)
    size = values[7 * count :]
    if sum(size) * 8 != len(floats) or (count and min(size) < 0):
        raise BadFrame("the payload sizes do not add up to the payload")
    # A bytearray is the one copy that makes the result writable.
    whole = np.frombuffer(bytearray(floats), dtype=_F8)
    if count == 1:
        return [(*values[:6], whole, values[6])]
    payload = [whole[end - length : end] for end, length in zip(accumulate(size), size, strict=True)]
    at, kind, dst, src, seq, stamp, sent = (values[column * count : (column + 1) * count] for column in range(7))
    return list(zip(at, kind, dst, src, seq, stamp, payload, sent, strict=True))


def _body(frame: bytes) -> tuple[bytes, bytes]:
    """Return the two byte strings of a frame, or raise BadFrame."""
    if not isinstance(frame, bytes):
        raise BadFrame(f"a frame is bytes, not {type(frame).__name__}")
    if not _HEAD.size < len(frame) <= MAX_FRAME:
        raise BadFrame(f"a length of {len(frame)} bytes is out of bounds")
    magic, version, length = _HEAD.unpack_from(frame)
    if magic != _MAGIC or version != _VERSION:
        raise BadFrame("unknown magic or version")
    if length != len(frame) - _HEAD.size:
        raise BadFrame(f"the head says {length} bytes, {len(frame) - _HEAD.size} came")
    try:
        body = msgpack.unpackb(
            memoryview(frame)[_HEAD.size :],
            use_list=False,
            ext_hook=_no_extension,
            max_array_len=2,
            max_map_len=0,
            max_str_len=0,
            max_bin_len=MAX_FRAME,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise BadFrame(f"not msgpack within the limits: {type(error).__name__}") from error
    if type(body) is not tuple or len(body) != 2 or type(body[0]) is not bytes or type(body[1]) is not bytes:
        raise BadFrame("the body is not two byte strings")
    return body


def _no_extension(code: int, data: Any) -> NoReturn:
    raise BadFrame(f"extension type {code}")
