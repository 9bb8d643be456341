"""Sums in four interleaved partial sums, each step written down: the instructions that the loop vectoriser may not choose without leave to reorder."""

import functools
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np.arrayobj import make_array


def _in_fours(builder: ir.IRBuilder, whole: ir.Value, arrays: list[ir.Value]) -> ir.Value:
    """The sum over the first `whole` products of the arrays' elements: four partial sums, then over those from the first to the last."""
    four = ir.VectorType(ir.DoubleType(), 4)
    at = cgutils.alloca_once_value(builder, ir.Constant(four, [0.0] * 4))
    with cgutils.for_range_slice(builder, whole.type(0), whole, whole.type(4)) as (i, _):
        parts = []
        for data in arrays:
            part = builder.load(builder.bitcast(builder.gep(data, [i]), four.as_pointer()))
            part.align = 8
            parts.append(part)
        builder.store(builder.fadd(builder.load(at), functools.reduce(builder.fmul, parts)), at)
    first, *others = [builder.extract_element(builder.load(at), ir.IntType(32)(k)) for k in range(4)]
    return functools.reduce(builder.fadd, others, first)


def _data(context: Any, builder: ir.IRBuilder, kinds: Any, values: Any) -> list[ir.Value]:
    return [make_array(kind)(context, builder, value).data for kind, value in zip(kinds, values, strict=True)]


def total(typingctx, a, whole):
    """The sum of the first `whole` elements of a."""

    def generate(context, builder, signature, args):
        return _in_fours(builder, args[1], _data(context, builder, signature.args[:1], args[:1]))

    return types.float64(a, types.int64), generate


def dot(typingctx, a, b, whole):
    """The sum of the first `whole` elements of a * b."""

    def generate(context, builder, signature, args):
        return _in_fours(builder, args[2], _data(context, builder, signature.args[:2], args[:2]))

    return types.float64(a, b, types.int64), generate
