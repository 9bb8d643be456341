"""Kernels as plain Python: with NUMBA_DISABLE_JIT=1 in the environment nothing is compiled, so that breakpoint(), print and pdb work inside a kernel.

Every kernel is Python already, and what it calls has a Python text beside the machine code (`compiled_as`), so both come to the same bits; a few hundred times
slower. Whole numbers wrap and divisions by zero give inf in both, here without NumPy's warnings.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic

PLAIN = bool(numba.config.DISABLE_JIT)
SLOWLY = "NUMBA_DISABLE_JIT=1: kernels run as plain Python, hundreds of times slower than compiled"


def as_python(kernel: Any) -> Callable:
    """The Python function that a kernel is compiled from; takes whole arrays too, where its text does."""
    return getattr(kernel, "py_func", kernel)


def marked(function: Callable) -> Callable:
    """Have `is_kernel` know a function."""
    function.is_kernel = True
    return function


def is_kernel(found: Any) -> bool:
    """Whether that is a kernel, compiled or not: made by kernel(), inlined() or entry()."""
    return getattr(as_python(found), "is_kernel", False)


def silent(function: Callable) -> Callable:
    """The same without NumPy's warnings: compiled code gives none."""
    return np.errstate(all="ignore")(function)


def compiled_as(define: Callable) -> Callable[[Callable], Any]:
    """Have compiled code take what `define` generates (numba.extending.intrinsic) in the place of a function, whose text says what that does."""

    def instead(function: Callable) -> Any:
        if PLAIN:
            return function
        mine = inspect.signature(function)
        context = inspect.Parameter("typingctx", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        define.__signature__ = mine.replace(parameters=[context, *mine.parameters.values()])  # one that takes any number of arguments would be no intrinsic
        return functools.update_wrapper(intrinsic(define), function)

    return instead
