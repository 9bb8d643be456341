"""Products of matrices against their sums written out one by one, in the order that products.py promises, whatever the shapes are cut into."""

import numba
import numpy as np
import pytest

from asyncnet.kernels import products
from asyncnet.kernels.arithmetic import dot

SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 47, 64]


@numba.njit(error_model="numpy")
def added_up(x, weight, bias, out):
    products.add_up(x, weight, bias, out)


@numba.njit(error_model="numpy")
def projected(a, weight, out):
    products.project(a, weight, out)


@numba.njit(error_model="numpy")
def dots(a, weight, out):
    for b in range(a.shape[0]):
        for i in range(weight.shape[0]):
            out[b, i] = dot(a[b], weight[i])


def wide(rng, *shape):
    """Numbers of many magnitudes, so that another order has other bits."""
    return rng.normal(size=shape) * 10.0 ** rng.integers(-6, 6, shape)


@pytest.mark.parametrize("streams", [1, 2, 3, 4, 5, 8, 11])
@pytest.mark.parametrize("inputs", [0, 1, 3, 4, 5, 8, 37])
def test_potentials_are_added_up_input_by_input(streams, inputs):
    rng, differs = np.random.default_rng(streams + 100 * inputs), False
    for units in SIZES:
        x, weight, bias = wide(rng, streams, inputs), wide(rng, inputs, units), wide(rng, units)
        guarded, expected = np.full((streams + 2, units), np.pi), np.tile(bias, (streams, 1))
        added_up(x, weight, bias, guarded[1:-1])
        for i in range(inputs):
            expected += x[:, i : i + 1] * weight[i]
        assert guarded[1:-1].tobytes() == expected.tobytes()
        assert (guarded[[0, -1]] == np.pi).all(), "nothing beside it is written"
        differs |= (x @ weight + bias).tobytes() != expected.tobytes()
    assert differs or inputs < 3, "another order would show"


@pytest.mark.parametrize("streams", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("inputs", [1, 3, 4, 5, 8, 37])
def test_projections_have_the_bits_of_dot(streams, inputs):
    rng = np.random.default_rng(streams + 100 * inputs)
    for units in SIZES:
        a, weight = wide(rng, streams, units), wide(rng, inputs, units)
        guarded, expected = np.full((streams + 2, inputs), np.pi), np.empty((streams, inputs))
        projected(a, weight, guarded[1:-1])
        dots(a, weight, expected)
        assert guarded[1:-1].tobytes() == expected.tobytes()
        assert (guarded[[0, -1]] == np.pi).all()
