"""What kernels need to talk with other processes of this machine: words in shared memory, the clock, and falling asleep until a word changes.

    load, store, add      a word at an address, sequentially consistent
    nanoseconds           the monotonic clock, which all processes of a machine read alike
    wait, wake            sleep while a word holds a value; wake whoever sleeps on it (the kernel's futex; Linux)

A futex looks at the lower 32 bits of a word, the first four bytes on the little-endian machines that are supported. The C library's functions are called by
address, which is found once in each process (`SYSTEM`), so compiled code that is kept on disk holds none.
"""

import ctypes
import platform
import sys

import numpy as np

from asyncnet.kernels.kernel import inlined
from asyncnet.kernels.numba_internals import atomics, calls
from asyncnet.kernels.plain import compiled_as
from asyncnet.kernels.pointer import wholes_at

_FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine(), 0)
_WAIT, _WAKE, _EVERYBODY = 0, 1, 2**31 - 1
_MONOTONIC = 1
AVAILABLE = sys.platform == "linux" and _FUTEX > 0 and sys.byteorder == "little"

CLOCK_GETTIME, SYSCALL, SECONDS, FRACTION = range(4)  # of `system`: two addresses, and room for a time
_library = ctypes.CDLL(None, use_errno=True)


def system() -> np.ndarray:
    """What the kernels here are given as `system`, the address of it: of each thread its own, for there is room for a time in it."""
    addresses = [ctypes.cast(getattr(_library, name), ctypes.c_void_p).value for name in ("clock_gettime", "syscall")]
    return np.array([*addresses, 0, 0], dtype=np.int64)


def _word(place: int) -> ctypes.c_int64:
    return ctypes.c_int64.from_address(int(place))


@compiled_as(atomics.load)
def load(place):
    """What the word at an address holds."""
    return np.int64(_word(place).value)


@compiled_as(atomics.store)
def store(place, value):
    """Write a word at an address."""
    _word(place).value = int(value)


@compiled_as(atomics.add)
def add(place, value):
    """Add to the word at an address; returns what it held. In plain Python not one step: there one process at a time has a loop."""
    word = _word(place)
    before = word.value
    word.value = before + int(value)
    return np.int64(before)


def _called(at: int, *arguments: int) -> int:
    return ctypes.CFUNCTYPE(ctypes.c_long, *[ctypes.c_long] * len(arguments))(int(at))(*map(int, arguments))


@compiled_as(calls.c_function(2))
def _call_two(at, one, two):
    return _called(at, one, two)


@compiled_as(calls.c_function(7))
def _call_seven(at, one, two, three, four, five, six, seven):
    return _called(at, one, two, three, four, five, six, seven)


@inlined
def nanoseconds(system):
    """The present on the monotonic clock."""
    words = wholes_at(system, (4,))
    _call_two(words[CLOCK_GETTIME], _MONOTONIC, system + 8 * SECONDS)
    return words[SECONDS] * 1_000_000_000 + words[FRACTION]


@inlined
def wait(system, place, seen, duration):
    """Sleep while the lower half of the word at `place` is that of `seen`, for so many nanoseconds at most; may also return for no reason."""
    words = wholes_at(system, (4,))
    words[SECONDS], words[FRACTION] = duration // 1_000_000_000, duration % 1_000_000_000
    _call_seven(words[SYSCALL], _FUTEX, place, _WAIT, seen & 0xFFFFFFFF, system + 8 * SECONDS, 0, 0)


@inlined
def wake(system, place):
    """Wake all who sleep on the word at `place`."""
    words = wholes_at(system, (4,))
    _call_seven(words[SYSCALL], _FUTEX, place, _WAKE, _EVERYBODY, 0, 0, 0)
