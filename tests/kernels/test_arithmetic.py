"""The arithmetic of kernels against numbers of more digits: how many units in the last place it is off, over the whole domain, and in which order it sums."""

import math

import numba
import numpy as np
import pytest

from asyncnet.kernels import arithmetic

LONG = np.longdouble
pytestmark = pytest.mark.skipif(np.finfo(LONG).nmant < 63, reason="no numbers of more digits here")


@numba.njit(error_model="numpy")
def everywhere(x, exp, log1p, sigmoid, softplus):
    """All four functions, in loops that vectorise as those over units do."""
    for i in range(x.size):
        exp[i] = arithmetic.exp(x[i])
    for i in range(x.size):
        log1p[i] = arithmetic.log1p(x[i])
    for i in range(x.size):
        sigmoid[i] = arithmetic.sigmoid(x[i])
    for i in range(x.size):
        softplus[i] = arithmetic.softplus(x[i])


@numba.njit(error_model="numpy")
def sums(a, rows, out):
    arithmetic.project(a, rows, out)
    return arithmetic.total(a), arithmetic.dot(a, rows[0])


def found(name, x):
    out = {name: np.empty_like(x) for name in ("exp", "log1p", "sigmoid", "softplus")}
    everywhere(x, **out)
    return out[name]


def off(values, exact):
    """The largest error in units in the last place of the exact value."""
    return float(np.max(np.abs(values.astype(LONG) - exact) / np.spacing(np.abs(exact.astype(float)))))


def spread(low, high, n=400_000):
    """Numbers over an interval: evenly, at random, and close to both ends and to 0."""
    rng = np.random.default_rng(1)
    near = np.geomspace(1e-300, 1.0, 20_000)
    ends = [low, high, 0.0, np.nextafter(low, high), np.nextafter(high, low)]
    x = np.concatenate((np.linspace(low, high, n), rng.uniform(low, high, n), near, -near, low + near, high - near, ends))
    return x[(x >= low) & (x <= high)]


@pytest.mark.parametrize(
    ("name", "low", "high", "exact", "most"),
    [
        ("exp", -700.0, 700.0, np.exp, 2.0),
        ("log1p", 0.0, 1.0, np.log1p, 6.0),
        ("sigmoid", np.nextafter(-20.0, 0.0), np.nextafter(20.0, 0.0), lambda x: 1 / (1 + np.exp(-x)), 3.0),
        ("softplus", -30.0, 30.0, lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), 6.0),
    ],
)
def test_a_function_is_right_to_the_units_in_the_last_place_that_its_file_says(name, low, high, exact, most):
    x = spread(low, high)
    assert off(found(name, x), exact(x.astype(LONG))) < most
    assert {2.0: "two", 3.0: "three", 6.0: "six"}[most] in arithmetic.__doc__


def test_sigmoid_and_softplus_are_exact_beyond_their_ends_as_in_the_released_code():
    assert found("sigmoid", np.array([-math.inf, -1e300, -20.0, 20.0, 1e300, math.inf])).tolist() == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    assert found("softplus", np.array([-math.inf, -1e300, -30.1, 30.1, 1e300, math.inf])).tolist() == [0.0, 0.0, 0.0, 30.1, 1e300, math.inf]


def in_order(numbers):
    """The sum as the file describes it: four interleaved partial sums, from the first to the last, then what is left over."""
    whole = len(numbers) - len(numbers) % 4
    lanes = [0.0] * 4
    for i in range(whole):
        lanes[i % 4] += numbers[i]
    s = ((lanes[0] + lanes[1]) + lanes[2]) + lanes[3]
    for number in numbers[whole:]:
        s += number
    return s


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 8, 31, 64, 1001])
@pytest.mark.parametrize("m", [1, 4, 7])
def test_sums_have_the_bits_of_their_order_and_the_error_of_sums(n, m):
    rng = np.random.default_rng(n + m)
    a, rows = rng.normal(size=n) * 10.0 ** rng.integers(-9, 9, n), rng.normal(size=(m, n))
    projected = np.empty(m)
    total, dot = sums(a, rows, projected)
    assert total == in_order(a.tolist())
    assert dot == projected[0]
    assert projected.tolist() == [in_order((a * row).tolist()) for row in rows]
    for value, numbers in ((total, a), *zip(projected, a * rows, strict=True)):
        assert abs(value - math.fsum(numbers)) <= 2**-53 * n * math.fsum(np.abs(numbers))
