"""Sums in four interleaved partial sums, each step written down: the instructions that the loop vectoriser may not choose without leave to reorder."""

import functools
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np.arrayobj import make_array


def _partial_sums(context: Any, builder: ir.IRBuilder, whole: ir.Value, sets: list[list[ir.Value]]) -> list[ir.Value]:
    """For each set of arrays the sum over the first `whole` products of their elements: four partial sums, then over those from the first to the last."""
    four = ir.VectorType(ir.DoubleType(), 4)
    sums = [cgutils.alloca_once_value(builder, ir.Constant(four, [0.0] * 4)) for _ in sets]
    with cgutils.for_range_slice(builder, whole.type(0), whole, whole.type(4)) as (i, _):
        for at, arrays in zip(sums, sets, strict=True):
            parts = []
            for data in arrays:
                part = builder.load(builder.bitcast(builder.gep(data, [i]), four.as_pointer()))
                part.align = 8
                parts.append(part)
            builder.store(builder.fadd(builder.load(at), functools.reduce(builder.fmul, parts)), at)
    lanes = [[builder.extract_element(builder.load(at), ir.IntType(32)(k)) for k in range(4)] for at in sums]
    return [functools.reduce(builder.fadd, others, first) for first, *others in lanes]


def _data(context: Any, builder: ir.IRBuilder, kinds: Any, values: Any) -> list[ir.Value]:
    return [make_array(kind)(context, builder, value).data for kind, value in zip(kinds, values, strict=True)]


def total(typingctx, a, whole):
    """The sum of the first `whole` elements of a."""

    def generate(context, builder, signature, args):
        return _partial_sums(context, builder, args[1], [_data(context, builder, signature.args[:1], args[:1])])[0]

    return types.float64(a, types.int64), generate


def dot(typingctx, a, b, whole):
    """The sum of the first `whole` elements of a * b."""

    def generate(context, builder, signature, args):
        return _partial_sums(context, builder, args[2], [_data(context, builder, signature.args[:2], args[:2])])[0]

    return types.float64(a, b, types.int64), generate


def dots(typingctx, a, b0, b1, b2, b3, whole):
    """The same for a with each of four others, at once."""

    def generate(context, builder, signature, args):
        first, *others = _data(context, builder, signature.args[:5], args[:5])
        sums = _partial_sums(context, builder, args[5], [[first, other] for other in others])
        return context.make_tuple(builder, signature.return_type, sums)

    return types.UniTuple(types.float64, 4)(a, b0, b1, b2, b3, types.int64), generate
