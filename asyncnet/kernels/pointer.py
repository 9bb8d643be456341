"""Reaching things by their address: kernels that one compiled loop calls, arrays that it is given as a table of whole numbers.

So the loop hosts nodes of every type, also of rules it has never heard of, and a call from Python costs one argument instead of ten. Each
type's `handle` is compiled once, whether Python calls it or the loop; the loop itself is compiled once for all of them. A call costs a few
nanoseconds more than an inlined one. In plain Python an address of a kernel is a number in a list of them.
"""

import ctypes
import functools
import math
from typing import Any

import numpy as np
from numba import types

from asyncnet.kernels.numba_internals import arrays, calls
from asyncnet.kernels.plain import PLAIN, compiled_as

_FLAT = types.Array(types.float64, 1, "C")
_WHOLE = types.int64
# handle(state, config, now, kind, port, seq, stamp, payload, out, numbers) -> flags
HANDLE = (_FLAT, _FLAT, _WHOLE, _WHOLE, _WHOLE, _WHOLE, _WHOLE, _FLAT, types.Array(types.int64, 2, "C"), _FLAT)

BEGIN = (_FLAT, _FLAT, _FLAT)  # begin(state, config, numbers)

_handles: list[Any] = []


@functools.cache
def address(handle: Any) -> int:
    """Where the machine code of an entry with the signature of `handle` begins; compiles it, or finds it compiled."""
    if PLAIN:
        _handles.append(handle)
        return len(_handles) - 1
    return calls.address(handle, HANDLE, _WHOLE)


@compiled_as(calls.by_address(HANDLE, _WHOLE))
def call(at, state, config, now, kind, port, seq, stamp, payload, out, numbers):
    """Call the `handle` at that address."""
    return _handles[at](state, config, now, kind, port, seq, stamp, payload, out, numbers)


def _at(kind: Any, place: int, shape: tuple[int, ...]) -> np.ndarray:
    size = math.prod(shape) * np.dtype(kind).itemsize
    return np.ndarray(shape, kind, (ctypes.c_char * int(size)).from_address(int(place)))


# The array of that shape (a tuple of ints) at an address; whoever gives the address keeps the array alive.
@compiled_as(arrays.at_address(types.int64))
def wholes_at(place, shape):
    """Of 64-bit whole numbers."""
    return _at(np.int64, place, shape)


@compiled_as(arrays.at_address(types.int32))
def halves_at(place, shape):
    """Of 32-bit whole numbers."""
    return _at(np.int32, place, shape)


@compiled_as(arrays.at_address(types.float64))
def numbers_at(place, shape):
    """Of 64-bit numbers."""
    return _at(np.float64, place, shape)


@compiled_as(arrays.prefetch)
def fetch(array, at):
    """Have the processor bring element `at` of a flat array into its cache while it does other things: a hint, without any effect on results."""
