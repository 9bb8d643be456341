"""Words that other processes read and write too, at their addresses: loads and stores that neither compiler nor processor may move past each other.

All of them are sequentially consistent, and a store is therefore as dear as an exchange: some 20 cycles. Plain reads and writes around them keep the sides
that acquire and release give them.
"""

from llvmlite import ir
from numba import types


def _pointer(builder: ir.IRBuilder, place: ir.Value) -> ir.Value:
    return builder.inttoptr(place, ir.IntType(64).as_pointer())


def load(typingctx, place):
    """What the word at an address holds."""

    def generate(context, builder, signature, args):
        return builder.load_atomic(_pointer(builder, args[0]), "seq_cst", 8)

    return types.int64(types.int64), generate


def store(typingctx, place, value):
    """Write a word at an address."""

    def generate(context, builder, signature, args):
        builder.store_atomic(args[1], _pointer(builder, args[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def add(typingctx, place, value):
    """Add to the word at an address, as one step; returns what it held."""

    def generate(context, builder, signature, args):
        return builder.atomic_rmw("add", _pointer(builder, args[0]), args[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate
