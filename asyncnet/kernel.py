"""How kernels are compiled, and where their machine code is kept.

A kernel is a module-level function over arrays and scalars in a small subset of NumPy, which writes into arrays it is given. Inner
kernels are compiled as part of whoever calls them; only entry points are kept on disk.

The cache folder is named by the text of every kernel and by numba's version. So it is never stale, and an old one can be deleted at any time.
"""

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

# error_model="numpy": a division by zero gives inf, as in NumPy, and costs no branch. No fastmath: sums keep their written order, which
# is what makes a layer cut into units give the same bits.
_HOW = {"error_model": "numpy", "nogil": True, "fastmath": False}


@functools.cache
def cache_folder() -> Path:
    """The folder for compiled kernels: under $ASYNCNET_CACHE, else $XDG_CACHE_HOME/asyncnet, else ~/.cache/asyncnet."""
    base = os.environ.get("ASYNCNET_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "asyncnet")
    here = Path(__file__).parent
    texts = [path.read_bytes() for path in sorted(here.rglob("*.py"))]
    seal = hashlib.sha256(f"numba {numba.__version__} numpy {np.__version__} ".encode())
    for text in texts:
        if b"asyncnet.kernel import" in text:
            seal.update(text)
    folder = Path(base) / seal.hexdigest()[:20]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kernel(function: Callable) -> Callable:
    """Compile an inner kernel: called from other kernels only (from Python its text is `.py_func`)."""
    return numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_HOW)(function)


def inlined(function: Callable) -> Callable:
    """Compile a kernel so small and frequent that it must become part of whoever calls it."""
    return numba.njit(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, **_HOW)(function)


def entry(function: Callable) -> Callable:
    """Compile a kernel that Python calls, and keep its machine code in the cache folder."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(cache_folder())  # read when the function is decorated, not later
    try:
        return numba.njit(cache=True, no_cfunc_wrapper=True, **_HOW)(function)
    finally:
        numba.config.CACHE_DIR = before


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
