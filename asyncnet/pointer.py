"""Reaching things by their address: kernels that one compiled loop calls, arrays that it is given as a table of whole numbers.

So the loop hosts nodes of every type, also of rules it has never heard of, and a call from Python costs one argument instead of ten. Each
type's `handle` is compiled once, whether Python calls it or the loop; the loop itself is compiled once for all of them. A call costs a few
nanoseconds more than an inlined one.
"""

import functools
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from asyncnet.kernel import array_value

_FLAT = types.Array(types.float64, 1, "C")
_WHOLE = types.int64
# handle(state, config, now, kind, port, seq, stamp, payload, out, numbers) -> flags
HANDLE = (_FLAT, _FLAT, _WHOLE, _WHOLE, _WHOLE, _WHOLE, _WHOLE, _FLAT, types.Array(types.int64, 2, "C"), _FLAT)

BEGIN = (_FLAT, _FLAT)  # begin(state, config)


@functools.cache
def address(handle: Any) -> int:
    """Where the machine code of an entry with the signature of `handle` begins; compiles it, or finds it compiled."""
    handle.compile(HANDLE)
    made = handle.overloads[HANDLE]
    if made.signature.return_type != _WHOLE:
        raise TypeError(f"{handle.__name__} returns {made.signature.return_type}, not a whole number")
    return made.library.get_pointer_to_function(made.fndesc.llvm_func_name)


@intrinsic
def call(typingctx, at, state, config, now, kind, port, seq, stamp, payload, out, numbers):
    """Call the `handle` at that address."""
    signature = _WHOLE(_WHOLE, *HANDLE)

    def generate(context, builder, signature, args):
        convention = context.call_conv
        pointer = builder.inttoptr(args[0], ir.PointerType(convention.get_function_type(_WHOLE, HANDLE)))
        status, flags = convention.call_function(builder, pointer, _WHOLE, HANDLE, args[1:])
        with builder.if_then(status.is_error, likely=False):
            convention.return_status_propagate(builder, status)
        return flags

    return signature, generate


def _at(kind: types.Type) -> Any:
    def at(typingctx, place, shape):
        array = types.Array(kind, len(shape), "C")
        signature = array(_WHOLE, types.UniTuple(_WHOLE, len(shape)))

        def generate(context, builder, signature, args):
            data = builder.inttoptr(args[0], context.get_data_type(kind).as_pointer())
            return array_value(context, builder, array, data, [builder.extract_value(args[1], i) for i in range(len(shape))])

        return signature, generate

    return intrinsic(at)


# The array of that shape (a tuple of ints) at an address; whoever gives the address keeps the array alive.
wholes_at, halves_at, numbers_at = _at(types.int64), _at(types.int32), _at(types.float64)


@intrinsic
def fetch(typingctx, array, at):
    """Have the processor bring element `at` of a flat array into its cache while it does other things: a hint, without any effect on results."""
    signature = types.void(array, types.int64)

    def generate(context, builder, signature, args):
        data = builder.bitcast(builder.gep(make_array(signature.args[0])(context, builder, args[0]).data, [args[1]]), ir.IntType(8).as_pointer())
        whole = ir.IntType(32)
        hint = builder.module.declare_intrinsic("llvm.prefetch", [data.type], ir.FunctionType(ir.VoidType(), [data.type, whole, whole, whole]))
        builder.call(hint, [data, whole(1), whole(3), whole(1)])  # to be written, kept in every cache, data
        return context.get_dummy_value()

    return signature, generate
