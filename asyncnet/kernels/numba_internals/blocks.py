"""Blocks of a product of matrices whose sums stay in registers until all that belongs to them has been added, each step written down.

A loop over units alone loads and stores every sum for each input; here the sums of a few streams by a few units are added up side by side, which is what the
order of the additions within each of them leaves free.
"""

import functools
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np.arrayobj import make_array

LANES = 4


def _vector(width: int) -> ir.VectorType:
    return ir.VectorType(ir.DoubleType(), width)


def _data(context: Any, builder: ir.IRBuilder, kinds: Any, values: Any) -> list[ir.Value]:
    return [make_array(kind)(context, builder, value).data for kind, value in zip(kinds, values, strict=True)]


def _columns(context: Any, builder: ir.IRBuilder, kind: Any, value: Any) -> ir.Value:
    return builder.extract_value(make_array(kind)(context, builder, value).shape, 1)


def _rows(builder: ir.IRBuilder, first: ir.Value, rows: int, width: ir.Value) -> list[ir.Value]:
    """Where each of so many rows of that width begins, from row `first` on."""
    return [builder.mul(builder.add(first, first.type(r)), width) for r in range(rows)]


def _load(builder: ir.IRBuilder, data: ir.Value, at: ir.Value, width: int) -> ir.Value:
    loaded = builder.load(builder.bitcast(builder.gep(data, [at]), _vector(width).as_pointer()))
    loaded.align = 8
    return loaded


def _store(builder: ir.IRBuilder, value: ir.Value, data: ir.Value, at: ir.Value) -> None:
    builder.store(value, builder.bitcast(builder.gep(data, [at]), value.type.as_pointer())).align = 8


def _mask(*places: int) -> ir.Constant:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(places)), list(places))


def _side_by_side(builder: ir.IRBuilder, numbers: list[ir.Value]) -> ir.Value:
    """Numbers as a vector."""
    vector = ir.Constant(_vector(len(numbers)), ir.Undefined)
    for n, number in enumerate(numbers):
        vector = builder.insert_element(vector, number, ir.IntType(32)(n))
    return vector


def _add_product(builder: ir.IRBuilder, at: ir.Value, one: ir.Value, other: ir.Value) -> None:
    builder.store(builder.fadd(builder.load(at), builder.fmul(one, other)), at)


def weighing(rows: int, units: int) -> Callable:
    """out[b + r, j + n] += x[b + r, i] * weight[i, j + n] for every i in turn, r < rows and n < units."""
    parts = [(first, min(LANES, units - first)) for first in range(0, units, LANES)]

    def weigh(typingctx, x, weight, out, b, j):
        def generate(context, builder, signature, args):
            kinds, (inputs, weights, sums) = signature.args, _data(context, builder, signature.args[:3], args[:3])
            many, all_units = _columns(context, builder, kinds[0], args[0]), _columns(context, builder, kinds[1], args[1])
            b, j = args[3:]
            places = [[builder.add(row, builder.add(j, j.type(first))) for first, _ in parts] for row in _rows(builder, b, rows, all_units)]
            kept = [
                [cgutils.alloca_once_value(builder, _load(builder, sums, place, width)) for place, (_, width) in zip(row, parts, strict=True)] for row in places
            ]
            starts = _rows(builder, b, rows, many)
            with cgutils.for_range(builder, many) as loop:
                row = builder.add(builder.mul(loop.index, all_units), j)
                theirs = [_load(builder, weights, builder.add(row, row.type(first)), width) for first, width in parts]
                for start, sets in zip(starts, kept, strict=True):
                    number = builder.load(builder.gep(inputs, [builder.add(start, loop.index)]))
                    for at, their in zip(sets, theirs, strict=True):
                        _add_product(builder, at, _side_by_side(builder, [number] * their.type.count), their)
            for sets, row in zip(kept, places, strict=True):
                for at, place in zip(sets, row, strict=True):
                    _store(builder, builder.load(at), sums, place)
            return context.get_dummy_value()

        return types.void(x, weight, out, types.int64, types.int64), generate

    return weigh


def projecting(rows: int) -> Callable:
    """out[b + r, i + n] = the sum of a[b + r] * weight[i + n] in four interleaved partial sums and what is left over, for r < rows and n < 4."""

    def project(typingctx, a, weight, out, b, i):
        def generate(context, builder, signature, args):
            kinds, (values, weights, sums) = signature.args, _data(context, builder, signature.args[:3], args[:3])
            many, width = _columns(context, builder, kinds[1], args[1]), _columns(context, builder, kinds[2], args[2])
            b, i = args[3:]
            mine, theirs = _rows(builder, b, rows, many), _rows(builder, i, LANES, many)
            whole = builder.and_(many, many.type(-LANES))
            kept = [[cgutils.alloca_once_value(builder, ir.Constant(_vector(LANES), [0.0] * LANES)) for _ in theirs] for _ in mine]
            with cgutils.for_range_slice(builder, whole.type(0), whole, whole.type(LANES)) as (j, _):
                fours = [_load(builder, weights, builder.add(row, j), LANES) for row in theirs]
                for row, sets in zip(mine, kept, strict=True):
                    four = _load(builder, values, builder.add(row, j), LANES)
                    for at, other in zip(sets, fours, strict=True):
                        _add_product(builder, at, four, other)
            added = [functools.reduce(builder.fadd, _turned(builder, [builder.load(at) for at in sets])) for sets in kept]
            ends = [cgutils.alloca_once_value(builder, four) for four in added]
            with cgutils.for_range_slice(builder, whole, many, whole.type(1)) as (j, _):
                column = _side_by_side(builder, [builder.load(builder.gep(weights, [builder.add(row, j)])) for row in theirs])
                for row, at in zip(mine, ends, strict=True):
                    number = builder.load(builder.gep(values, [builder.add(row, j)]))
                    _add_product(builder, at, _side_by_side(builder, [number] * LANES), column)
            for at, row in zip(ends, _rows(builder, b, rows, width), strict=True):
                _store(builder, builder.load(at), sums, builder.add(row, i))
            return context.get_dummy_value()

        return types.void(a, weight, out, types.int64, types.int64), generate

    return project


def _turned(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """The columns of four by four numbers."""
    a, b, c, d = rows
    even = [builder.shuffle_vector(one, other, _mask(0, 4, 2, 6)) for one, other in ((a, b), (c, d))]
    odd = [builder.shuffle_vector(one, other, _mask(1, 5, 3, 7)) for one, other in ((a, b), (c, d))]
    return [builder.shuffle_vector(*pair, mask) for mask in (_mask(0, 1, 4, 5), _mask(2, 3, 6, 7)) for pair in (even, odd)]
