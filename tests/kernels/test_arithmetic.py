"""The arithmetic of kernels against numbers of more digits: how many units in the last place it is off, over the whole domain, and in which order it sums."""

import math

import numba
import numpy as np
import pytest

from asyncnet.kernels import arithmetic

LONG = np.longdouble
pytestmark = pytest.mark.skipif(np.finfo(LONG).nmant < 63, reason="no numbers of more digits here")


@numba.njit(error_model="numpy")
def everywhere(x, exp, log1p, sigmoid, softplus, mean, slope, log, cosine):
    """All functions, in loops that vectorise as those over units do."""
    for i in range(x.size):
        exp[i] = arithmetic.exp(x[i])
    for i in range(x.size):
        log1p[i] = arithmetic.log1p(x[i])
    for i in range(x.size):
        sigmoid[i] = arithmetic.sigmoid(x[i])
    for i in range(x.size):
        softplus[i] = arithmetic.softplus(x[i])
    for i in range(x.size):
        mean[i], slope[i] = arithmetic.softplus_and_slope(x[i])
    for i in range(x.size):
        log[i] = arithmetic.log(x[i])
    for i in range(x.size):
        cosine[i] = arithmetic.cosine_of_turns(x[i])


@numba.njit(error_model="numpy")
def sums(a, other):
    return arithmetic.total(a), arithmetic.dot(a, other)


def found(name, x):
    out = {name: np.empty_like(x) for name in ("exp", "log1p", "sigmoid", "softplus", "mean", "slope", "log", "cosine")}
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
        ("log", 2.0**-1022, 2.0**1000, np.log, 3.0),
        ("log", 2.0**-54, 1.0, np.log, 3.0),
        ("sigmoid", np.nextafter(-20.0, 0.0), np.nextafter(20.0, 0.0), lambda x: 1 / (1 + np.exp(-x)), 3.0),
        ("slope", np.nextafter(-20.0, 0.0), np.nextafter(20.0, 0.0), lambda x: 1 / (1 + np.exp(-x)), 3.0),
        ("softplus", -30.0, 30.0, lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), 6.0),
    ],
)
def test_a_function_is_right_to_the_units_in_the_last_place_that_its_file_says(name, low, high, exact, most):
    x = spread(low, high)
    assert off(found(name, x), exact(x.astype(LONG))) < most
    assert {2.0: "two", 3.0: "three", 6.0: "six"}[most] in arithmetic.__doc__


def test_a_cosine_of_turns_is_as_near_as_its_file_says():
    v = spread(0.0, 1.0)
    exact = np.cos(2 * np.arccos(LONG(-1)) * v.astype(LONG))
    assert float(np.max(np.abs(found("cosine", v).astype(LONG) - exact))) < 4e-16
    assert "4e-16" in arithmetic.__doc__
    assert found("cosine", np.array([0.0, 0.25, 0.5, 0.75, 1.0])).tolist() == [1.0, 0.0, -1.0, 0.0, 1.0]


def test_a_softplus_with_its_slope_is_softplus_and_sigmoid():
    x = spread(-40.0, 40.0)
    assert found("mean", x).tobytes() == found("softplus", x).tobytes()
    assert np.array_equal(found("slope", x)[x >= 0], found("sigmoid", x)[x >= 0])
    assert off(found("slope", x[np.abs(x) < 20.0]), found("sigmoid", x[np.abs(x) < 20.0]).astype(LONG)) <= 4.0


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
def test_sums_have_the_bits_of_their_order_and_the_error_of_sums(n):
    rng = np.random.default_rng(n)
    a, other = rng.normal(size=n) * 10.0 ** rng.integers(-9, 9, n), rng.normal(size=n)
    total, dot = sums(a, other)
    assert total == in_order(a.tolist())
    assert dot == in_order((a * other).tolist())
    for value, numbers in ((total, a), (dot, a * other)):
        assert abs(value - math.fsum(numbers)) <= 2**-53 * n * math.fsum(np.abs(numbers))
