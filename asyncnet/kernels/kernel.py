"""How kernels are compiled, and where their machine code is kept.

A kernel is a module-level function over arrays and scalars in a small subset of NumPy, which writes into arrays it is given. Inner
kernels are compiled as part of whoever calls them; only entry points are kept on disk.

An entry's folder is named by the text of all that it is made of (reach.py), the versions of numba and NumPy, and whether indices are checked
(NUMBA_BOUNDSCHECK). So it is never stale, and an old one can be deleted at any time. A cache that cannot be written costs time, never the run: `telling`
says so, and what is being compiled.
"""

import atexit
import functools
import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numba
import numpy as np

from asyncnet.interrupts import leaving
from asyncnet.kernels.numba_internals import arrays, caches
from asyncnet.kernels.plain import PLAIN, compiled_as, marked, silent
from asyncnet.kernels.reach import remember, seal

# error_model="numpy": a division by zero gives inf, as in NumPy, and costs no branch. No fastmath: sums keep their written order, which
# is what makes a layer cut into units give the same bits.
_HOW = {"error_model": "numpy", "nogil": True, "fastmath": False}

_VERSIONS = f"numba {numba.__version__} numpy {np.__version__} boundscheck {numba.config.BOUNDSCHECK} "

COMPILING = "compiling what this run needs and has not been compiled here yet: up to a minute"
_hears: ContextVar[Callable[[str], None] | None] = ContextVar("hears", default=None)
_quiet: ContextVar[bool] = ContextVar("quiet", default=False)
_untold: list[str] = []
_troubles: list[str] = []


@contextmanager
def telling(hear: Callable[[str], None]) -> Iterator[None]:
    """Within, `hear` is told what is being compiled, which takes its time, and why it cannot be kept."""
    token = _hears.set(functools.cache(hear))  # each thing once
    try:
        while _untold:
            hear(_untold.pop(0))
        yield
    finally:
        _hears.reset(token)


@contextmanager
def quietly() -> Iterator[None]:
    """Within, nobody is told what is being compiled: the caller has said it."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


def _not_kept(why: str) -> None:
    """Say it, once."""
    if not _troubles:
        _troubles.append(why)
        (_hears.get() or _untold.append)(f"compiled kernels are not kept: {why}; $ASYNCNET_CACHE can name another folder for them")


@functools.cache
def cache_folder() -> Path | None:
    """The folder for compiled kernels: $ASYNCNET_CACHE, else $XDG_CACHE_HOME/asyncnet, else ~/.cache/asyncnet.

    Where that cannot be written: one for this process and its children, removed at its end; None if there is no place for that either.
    """
    wanted = os.environ.get("ASYNCNET_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "asyncnet")
    try:
        os.makedirs(wanted, exist_ok=True)
        tempfile.TemporaryFile(dir=wanted).close()
        return Path(wanted)
    except OSError as error:
        _not_kept(f"{wanted}: {error.strerror}")
    try:
        instead = tempfile.mkdtemp(prefix="kernels-of-asyncnet-")
    except OSError:
        return None
    remove = functools.partial(shutil.rmtree, instead, ignore_errors=True)
    atexit.register(remove)
    leaving.append(remove)
    os.environ["ASYNCNET_CACHE"] = instead
    return Path(instead)


def _note(function: Callable) -> None:
    """Remember the text that a kernel is part of; TypeError if it is not a function of a module.

    numba tells the functions in compiled code apart by module, name, types and a number that counts what a process has compiled. Two that a factory makes
    have one name, and may in two processes get each other's number: code of both, kept on disk and loaded into a third, would then call the wrong one.
    """
    if not function.__qualname__.isidentifier():  # nested in another, or a lambda
        raise TypeError(f"{function.__module__}.{function.__qualname__}: a kernel is a function of a module, not made inside another")
    remember(function.__module__)
    marked(function)


def _compiled(function: Callable, **how: bool) -> Callable:
    _note(function)
    return function if PLAIN else numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **how, **_HOW)(function)


def kernel(function: Callable) -> Callable:
    """Compile an inner kernel: called from other kernels only (from Python: plain.as_python)."""
    return _compiled(function)


def inlined(function: Callable) -> Callable:
    """Compile a kernel so small and frequent that it must become part of whoever calls it."""
    return _compiled(function, forceinline=True)


def entry(function: Callable) -> Callable:
    """Compile a kernel that Python calls, and keep its machine code in the cache folder."""
    _note(function)
    return entry_kept(function, seal(function.__module__), function.__module__.rpartition(".")[2].replace("_", " "))


def entry_kept(function: Callable, digest: str, name: str) -> Callable:
    """The same for a function of which `digest` says all that it is made of, and `name` what it is."""
    if PLAIN:
        return silent(function)
    made = numba.njit(no_cfunc_wrapper=True, **_HOW)(function)
    folder = cache_folder()
    part = folder / hashlib.sha256((_VERSIONS + digest).encode()).hexdigest()[:20] if folder else None
    caches.keep(made, part, functools.partial(_missing, name), lambda error: _not_kept(f"{folder}: {error.strerror}"))
    return made


def kept(made: Any, signature: tuple[Any, ...]) -> bool:
    """Whether nothing has to be compiled for an entry with these types of arguments."""
    return PLAIN or caches.kept(made, signature)


def tell(text: str) -> None:
    """Tell whoever listens (`telling`)."""
    if hear := _hears.get():
        hear(text)


def _missing(name: str) -> None:
    """Say what has to be compiled now."""
    if not _quiet.get() and (hear := _hears.get()):
        hear(COMPILING)
        hear(f"compiling {name}")


@compiled_as(arrays.view)
def view(base, at, shape):
    """A contiguous array of that shape (a tuple of ints) over base[at:], without a share in its ownership; base holds float64 or int64."""
    if at < 0 or not base.flags.c_contiguous:
        raise ValueError(f"view from element {at} of an array of shape {base.shape} and strides {base.strides}")
    return base.reshape(-1)[at : at + math.prod(shape)].reshape(shape)


@inlined
def lent(array):
    """The same array without a share in its ownership: whoever is given it counts no references to it, which costs more than taking in a message."""
    return view(array, 0, array.shape)


@inlined
def row_at(array, i):
    """array[i] of a two-dimensional one, as a view."""
    return view(array, i * array.shape[1], (array.shape[1],))


@inlined
def plane_at(array, i):
    """array[i] of a three-dimensional one, as a view."""
    return view(array, i * array.shape[1] * array.shape[2], (array.shape[1], array.shape[2]))


@inlined
def row_in_plane(array, i, j):
    """array[i, j] of a three-dimensional one, as a view."""
    return view(array, (i * array.shape[1] + j) * array.shape[2], (array.shape[2],))
