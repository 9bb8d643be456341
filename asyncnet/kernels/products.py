"""Products of matrices, for all streams at once: a layer's potentials, and what it tells its inputs.

Every sum has one order, whatever it is computed beside: over inputs one by one, so that a layer and its units get the same bits; over units in the four
partial sums of arithmetic.py, so that a layer and a hearer of its units do. What is free is which sums are computed side by side: a few streams by a few units
at a time stay in registers, and a sum need not wait for itself.
"""

from typing import Any

from asyncnet.kernels.arithmetic import dot
from asyncnet.kernels.kernel import kernel, row_at
from asyncnet.kernels.numba_internals import blocks
from asyncnet.kernels.plain import compiled_as


def _weighing(streams: int, units: int) -> Any:
    def block(x, weight, out, b, j):
        sums, columns = out[b : b + streams, j : j + units], weight[:, j : j + units]
        for i in range(weight.shape[0]):
            sums += x[b : b + streams, i : i + 1] * columns[i]

    return compiled_as(blocks.weighing(streams, units))(block)


def _projecting(streams: int) -> Any:
    def block(a, weight, out, b, i):
        for r in range(b, b + streams):
            for n in range(i, i + 4):
                out[r, n] = dot(a[r], weight[n])

    return compiled_as(blocks.projecting(streams))(block)


_four_by_8, _four_by_4, _four_by_3, _four_by_2, _four_by_1 = (_weighing(4, units) for units in (8, 4, 3, 2, 1))
_one_by_32, _one_by_8, _one_by_4, _one_by_3, _one_by_2, _one_by_1 = (_weighing(1, units) for units in (32, 8, 4, 3, 2, 1))
_two_projected, _one_projected = _projecting(2), _projecting(1)


@kernel
def _add_up_four(x, weight, out, b):
    """What add_up does for four streams from b on."""
    units, j = weight.shape[1], 0
    while j + 8 <= units:
        _four_by_8(x, weight, out, b, j)
        j += 8
    if j + 4 <= units:
        _four_by_4(x, weight, out, b, j)
        j += 4
    if units - j == 3:
        _four_by_3(x, weight, out, b, j)
    elif units - j == 2:
        _four_by_2(x, weight, out, b, j)
    elif units - j == 1:
        _four_by_1(x, weight, out, b, j)


@kernel
def _add_up_one(x, weight, out, b):
    """The same for one stream."""
    units, j = weight.shape[1], 0
    while j + 32 <= units:
        _one_by_32(x, weight, out, b, j)
        j += 32
    while j + 8 <= units:
        _one_by_8(x, weight, out, b, j)
        j += 8
    if j + 4 <= units:
        _one_by_4(x, weight, out, b, j)
        j += 4
    if units - j == 3:
        _one_by_3(x, weight, out, b, j)
    elif units - j == 2:
        _one_by_2(x, weight, out, b, j)
    elif units - j == 1:
        _one_by_1(x, weight, out, b, j)


@kernel
def add_up(x, weight, bias, out):
    """out = x W + bias, inputs in their order; x (B, I), W (I, O), bias (O,), out (B, O). No branch on a silent input: a mispredicted one costs more."""
    streams, units = out.shape
    for b in range(streams):
        row = row_at(out, b)
        for j in range(units):
            row[j] = bias[j]
    fours = streams - streams % 4
    for b in range(0, fours, 4):
        _add_up_four(x, weight, out, b)
    for b in range(fours, streams):
        _add_up_one(x, weight, out, b)


@kernel
def project(a, weight, out):
    """out[b, i] = dot(a[b], weight[i]), to the bit; a (B, O), weight (I, O), out (B, I)."""
    streams, inputs = out.shape
    twos, fours = streams - streams % 2, inputs - inputs % 4
    for i in range(0, fours, 4):
        for b in range(0, twos, 2):
            _two_projected(a, weight, out, b, i)
        if twos < streams:
            _one_projected(a, weight, out, twos, i)
    for b in range(streams):
        row, sums = row_at(a, b), row_at(out, b)
        for i in range(fours, inputs):
            sums[i] = dot(row, row_at(weight, i))
