"""The memory that a host shares with the others of its machine (asyncnet/loop/compiled/ring.py says what lies where).

It has no name anywhere: a file in memory that only its processes hold, so no death of any of them can leave it behind. A peer opens it through the owner's
descriptor, which takes the same user, the same machine and the same view of its processes; whether that is so is found by trying. Its size is sealed.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import secrets
import weakref
from contextlib import suppress

import numpy as np

from asyncnet.loop.compiled.ring import (
    BELL,
    FIRST_RING,
    GATE_BELL,
    HEAD_KEY,
    HEAD_LAYOUT,
    HEAD_MAGIC,
    HEAD_RINGS,
    HEAD_WORDS,
    KEY_WORDS,
    LAYOUT,
    MAGIC,
    READER,
    WORDS,
)

_NAME = "asyncnet"
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
MOST_BYTES = 2**36
_library = ctypes.CDLL(None, use_errno=True)
_library.mmap.restype = ctypes.c_void_p
_library.mmap.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long
_library.munmap.argtypes = ctypes.c_void_p, ctypes.c_size_t


class Anonymous:
    """So many words in a file that has no name; `address` is what other processes open it by."""

    def __init__(self, words: int) -> None:
        self._file = os.memfd_create(_NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self._file, 8 * words)
            fcntl.fcntl(self._file, fcntl.F_ADD_SEALS, _SEALS)
            self._map()
        except BaseException:
            os.close(self._file)
            raise
        self.address = [str(os.getpid()), str(self._file)]

    @classmethod
    def opened(cls, address: list[str]) -> Anonymous:
        """Another process's; OSError if it cannot be reached from here or is none, and ValueError if that is no address."""
        pid, descriptor = map(int, address)
        path = f"/proc/{pid}/fd/{descriptor}"
        if not os.readlink(path).startswith(f"/memfd:{_NAME} "):
            raise OSError("no memory of ours")
        made = cls.__new__(cls)
        made.address, made._file = address, os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if fcntl.fcntl(made._file, fcntl.F_GET_SEALS) & _SEALS != _SEALS or os.fstat(made._file).st_size > MOST_BYTES:
                raise OSError("its size may change, or it is too large")
            made._map()
        finally:
            made.hide()
        return made

    def _map(self) -> None:
        self.all = _mapped(self._file, os.fstat(self._file).st_size)
        self.start = self.all.ctypes.data

    def hide(self) -> None:
        """Close the descriptor: who has opened it keeps it, nobody else comes in."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Memory:
    """So many rings of so many words each (a power of two), and two bells; `address` is what peers open it by."""

    def __init__(self, rings: int, words: int) -> None:
        self.rings, self.words = rings, words
        self._hold(Anonymous(_length(rings, words)))
        self.all[[HEAD_MAGIC, HEAD_LAYOUT, HEAD_RINGS, HEAD_WORDS]] = MAGIC, LAYOUT, rings, words
        self.all[HEAD_KEY : HEAD_KEY + KEY_WORDS] = np.frombuffer(secrets.token_bytes(8 * KEY_WORDS), dtype=np.int64)
        self.address = [*self._held.address, self.key.hex()]

    def _hold(self, memory: Anonymous) -> None:
        self._held, self.all, self.start, self.hide = memory, memory.all, memory.start, memory.hide

    @classmethod
    def of(cls, address: list[str]) -> Memory | None:
        """Another host's, by its address; None if it cannot be reached from here, or is not what the address says."""
        with suppress(OSError, ValueError, OverflowError):
            *place, key = address
            made = cls.__new__(cls)
            made._hold(Anonymous.opened(place))
            if made.all.size < FIRST_RING:
                return None
            magic, layout, made.rings, made.words = made.all[:HEAD_KEY].tolist()
            size = _length(made.rings, made.words) if min(made.rings, made.words) >= 0 else -1
            if (magic, layout, made.key, size) == (MAGIC, LAYOUT, bytes.fromhex(key), made.all.size) and made.words & (made.words - 1) == 0 < made.words:
                return made
        return None

    @property
    def key(self) -> bytes:
        """By which it is known."""
        return self.all[HEAD_KEY : HEAD_KEY + KEY_WORDS].tobytes()

    @property
    def bell(self) -> int:
        """The address of its owner's bell."""
        return self.start + 8 * BELL

    @property
    def gate_bell(self) -> int:
        """The address of the bell of its owner's gateway."""
        return self.start + 8 * GATE_BELL

    def ring(self, number: int) -> int:
        """The address of a ring."""
        return self.start + 8 * self._place(number)

    def _place(self, number: int) -> int:
        return FIRST_RING + number * (WORDS + self.words)

    def clear(self, number: int) -> None:
        """Have a ring be as it was made: empty, and read by nobody."""
        self.all[self._place(number) : self._place(number) + WORDS] = 0

    def read_by(self, number: int, reader: Memory) -> None:
        """Say who reads a ring."""
        self.all[self._place(number) + READER] = int.from_bytes(reader.key[:8], "little", signed=True)

    def is_read_by(self, number: int, reader: Memory) -> bool:
        """Whether that is who reads a ring."""
        return int(self.all[self._place(number) + READER]) == int.from_bytes(reader.key[:8], "little", signed=True)


def _mapped(file: int, size: int) -> np.ndarray:
    """The words of a file in memory, there until the last array over them is gone; Python's own map would keep a descriptor open beside it."""
    start = _library.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, file, 0)
    if start == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    words = (ctypes.c_int64 * (size // 8)).from_address(start)
    weakref.finalize(words, _library.munmap, start, size)
    return np.frombuffer(words, dtype=np.int64)


def _length(rings: int, words: int) -> int:
    """How many words such a memory has."""
    return FIRST_RING + rings * (WORDS + words)
