"""Arrays made where they are named: over a part of another, or over memory at an address, without a share in its ownership.

Slices of NumPy arrays count references, atomically and for every field; these are plain arithmetic, which the compiler drops where unused. Whoever gives
the memory keeps it alive, as Python does for the arguments of an entry.
"""

from functools import reduce
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.np.arrayobj import make_array, populate_array


def array_value(context: Any, builder: ir.IRBuilder, kind: types.Array, data: ir.Value, sizes: list[ir.Value]) -> ir.Value:
    """For code that generates code: a contiguous array of that type over `data`."""
    width = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    step, steps = width, []
    for size in reversed(sizes):
        steps.insert(0, step)
        step = builder.mul(step, size)
    made = make_array(kind)(context, builder)
    populate_array(made, data=data, shape=sizes, strides=steps, itemsize=width, meminfo=None)
    return made._getvalue()


def view(typingctx, base, at, shape):
    """A contiguous array of that shape (a tuple of ints) over base[at:]; base holds float64 or int64. NUMBA_BOUNDSCHECK=1 looks whether it is inside."""
    dims = len(shape)
    signature = types.Array(base.dtype, dims, "C")(base, types.int64, types.UniTuple(types.int64, dims))

    def generate(context, builder, signature, args):
        whole = make_array(signature.args[0])(context, builder, args[0])
        sizes = [builder.extract_value(args[2], i) for i in range(dims)]
        if numba.config.BOUNDSCHECK:
            lengths = [builder.extract_value(whole.shape, i) for i in range(signature.args[0].ndim)]
            end, room = builder.add(args[1], reduce(builder.mul, sizes)), reduce(builder.mul, lengths)
            outside = builder.or_(builder.icmp_signed("<", args[1], args[1].type(0)), builder.icmp_signed(">", end, room))
            with builder.if_then(outside, likely=False):
                context.call_conv.return_user_exc(builder, IndexError, ("view is out of bounds",))
        return array_value(context, builder, signature.return_type, builder.gep(whole.data, [args[1]]), sizes)

    return signature, generate


def at_address(kind: types.Type) -> Any:
    """An array of that type of numbers and that shape (a tuple of ints) at an address."""

    def at(typingctx, place, shape):
        array = types.Array(kind, len(shape), "C")
        signature = array(types.int64, types.UniTuple(types.int64, len(shape)))

        def generate(context, builder, signature, args):
            data = builder.inttoptr(args[0], context.get_data_type(kind).as_pointer())
            return array_value(context, builder, array, data, [builder.extract_value(args[1], i) for i in range(len(shape))])

        return signature, generate

    return at


def prefetch(typingctx, array, at):
    """The processor's hint to bring element `at` of a flat array into its cache."""
    signature = types.void(array, types.int64)

    def generate(context, builder, signature, args):
        data = builder.bitcast(builder.gep(make_array(signature.args[0])(context, builder, args[0]).data, [args[1]]), ir.IntType(8).as_pointer())
        whole = ir.IntType(32)
        hint = builder.module.declare_intrinsic("llvm.prefetch", [data.type], ir.FunctionType(ir.VoidType(), [data.type, whole, whole, whole]))
        builder.call(hint, [data, whole(1), whole(3), whole(1)])  # to be written, kept in every cache, data
        return context.get_dummy_value()

    return signature, generate
