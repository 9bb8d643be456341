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
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, NullCache, UserProvidedCacheLocator
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from asyncnet.interrupts import leaving
from asyncnet.reach import remember, seal

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


def kernel(function: Callable) -> Callable:
    """Compile an inner kernel: called from other kernels only (from Python its text is `.py_func`)."""
    _note(function)
    return numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_HOW)(function)


def inlined(function: Callable) -> Callable:
    """Compile a kernel so small and frequent that it must become part of whoever calls it."""
    _note(function)
    return numba.njit(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, **_HOW)(function)


def entry(function: Callable) -> Callable:
    """Compile a kernel that Python calls, and keep its machine code in the cache folder."""
    _note(function)
    return entry_kept(function, seal(function.__module__), function.__module__.rpartition(".")[2].replace("_", " "))


def entry_kept(function: Callable, digest: str, name: str) -> Callable:
    """The same for a function of which `digest` says all that it is made of, and `name` what it is."""
    made = numba.njit(no_cfunc_wrapper=True, **_HOW)(function)
    made._cache = _cache(function, hashlib.sha256((_VERSIONS + digest).encode()).hexdigest(), name)
    return made


def kept(made: Any, signature: tuple[Any, ...]) -> bool:
    """Whether an entry's machine code for these types of arguments is in the cache folder, or compiled in this process."""
    return signature in made.overloads or made._cache.holds(signature, made.targetctx)


def tell(text: str) -> None:
    """Tell whoever listens (`telling`)."""
    if hear := _hears.get():
        hear(text)


class _Told:
    """A cache of numba's for which a file that cannot be read or written is one that is not there, and which tells what it does not hold."""

    name: str

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # whatever unpickling a damaged file raises
            found = None
        if found is None and not _quiet.get() and (hear := _hears.get()):
            hear(COMPILING)
            hear(f"compiling {self.name}")
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _not_kept(f"{cache_folder()}: {error.strerror}")


class _InFolder(CompileResultCacheImpl):
    _locator_classes = [UserProvidedCacheLocator]  # nowhere else: not beside the source


class _ByWhatItHolds(IndexDataCacheFile):
    """A file for the code of each signature, named by all that tells it from others.

    numba numbers them and keeps an index: two processes that compile at once may both give out a number, and one then loads code for other arguments.
    """

    def holds(self, key: Any) -> bool:
        return os.path.exists(self._data_path(self._name(key)))

    def save(self, key: Any, data: Any) -> None:
        self._save_data(self._name(key), data)

    def load(self, key: Any) -> Any:
        with suppress(FileNotFoundError):
            return self._load_data(self._name(key))

    def _name(self, key: Any) -> str:
        return f"{self._index_name.removesuffix('.nbi')}.{hashlib.sha256(repr(key).encode()).hexdigest()[:20]}.nbc"


class _Kept(_Told, FunctionCache):
    _impl_class = _InFolder

    def __init__(self, function: Callable) -> None:
        super().__init__(function)
        self._cache_file = _ByWhatItHolds(self.cache_path, self._impl.filename_base, None)

    def holds(self, signature: tuple[Any, ...], context: Any) -> bool:
        return self._cache_file.holds(self._index_key(signature, context.codegen()))


class _InMemory(_Told, NullCache):
    def holds(self, signature: tuple[Any, ...], context: Any) -> bool:
        return False


def _cache(function: Callable, digest: str, name: str) -> _Told:
    folder, before = cache_folder(), numba.config.CACHE_DIR
    try:
        numba.config.CACHE_DIR = str(folder / digest[:20]) if folder else ""  # read now, not later
        made = _Kept(function)
    except RuntimeError:  # there is no such place, or it cannot be written
        _not_kept(f"{folder}: cannot be written")
        made = _InMemory()
    finally:
        numba.config.CACHE_DIR = before
    made.name = name
    return made


def array_value(context: Any, builder: ir.IRBuilder, kind: types.Array, data: ir.Value, sizes: list[ir.Value]) -> ir.Value:
    """For code that generates code: a contiguous array of that type over `data`, without a share in its ownership."""
    width = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    step, steps = width, []
    for size in reversed(sizes):
        steps.insert(0, step)
        step = builder.mul(step, size)
    made = make_array(kind)(context, builder)
    populate_array(made, data=data, shape=sizes, strides=steps, itemsize=width, meminfo=None)
    return made._getvalue()


@intrinsic
def view(typingctx, base, at, shape):
    """A contiguous array of that shape (a tuple of ints) over base[at:], without a share in its ownership; base holds float64 or int64.

    Slices of NumPy arrays count references, atomically and for every field; these are plain arithmetic, which the compiler drops where unused.
    The caller keeps `base` alive, as Python does for the arguments of an entry.
    """
    dims = len(shape)
    signature = types.Array(base.dtype, dims, "C")(base, types.int64, types.UniTuple(types.int64, dims))

    def generate(context, builder, signature, args):
        whole = make_array(signature.args[0])(context, builder, args[0])
        sizes = [builder.extract_value(args[2], i) for i in range(dims)]
        return array_value(context, builder, signature.return_type, builder.gep(whole.data, [args[1]]), sizes)

    return signature, generate
