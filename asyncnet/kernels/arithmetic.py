"""Arithmetic whose every step is written down, in a form that a processor can do for four numbers or more at a time.

Sums run in four interleaved partial sums, then over those, from the first to the last. All sums over units go through here, so a layer that sums by
itself and a hearer that sums the partial sums of its units get the same bits. exp, log and cosines are plain polynomials: no two machines' libraries can
disagree on them, and loops over units vectorise, which calls into a library would not. Their errors, measured over their domains, stay below two (exp), three
(sigmoid, log) and six (log1p, softplus) units in the last place; a cosine is off by less than 4e-16.
Sources: Cody & Waite 1980 for the reduction of exp, with the Pade form of Moshier's Cephes; log by the series of the inverse hyperbolic tangent, cosine and
sine by their own (Taylor), within an eighth of a turn.
"""

import numpy as np

from asyncnet.kernels.kernel import inlined
from asyncnet.kernels.numba_internals import sums
from asyncnet.kernels.plain import compiled_as

_LOG2E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 6.93145751953125e-1, 1.42860682030941723212e-6
_P0, _P1 = 1.26177193074810590878e-4, 3.02994407707441961300e-2
_Q0, _Q1, _Q2 = 3.00198505138664455042e-6, 2.52448340349684104192e-3, 2.27265548208155028766e-1
_WHOLE = 6755399441055744.0  # 1.5 * 2^52: the last bits of a sum with it are a whole number
_WHOLE_BITS = np.float64(_WHOLE).view(np.int64)
_FRACTION, _ONE = np.int64((1 << 52) - 1), np.int64(1023 << 52)  # of a float64's bits: all but sign and exponent; those of 1.0
_HALF_LN2, _SQRT_HALF = 0.34657359027997264, 0.7071067811865476


@inlined
def exp(x):
    """e^x for |x| <= 700."""
    k = np.floor(x * _LOG2E + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    rr = r * r
    p = r * ((_P0 * rr + _P1) * rr + 1.0)
    y = 1.0 + 2.0 * p / ((((_Q0 * rr + _Q1) * rr + _Q2) * rr + 2.0) - p)
    whole = np.float64(k + _WHOLE).view(np.int64) - _WHOLE_BITS  # k as a whole number, without the conversion that few processors do four at a time
    return y * np.int64((whole + np.int64(1023)) << np.int64(52)).view(np.float64)


@inlined
def _twice_artanh(s):
    """2 artanh(s) for |s| <= 0.172: terms in pairs, which need not wait for each other."""
    z = s * s
    zz = z * z
    zzzz = zz * zz
    low = (1.0 / 3.0 + z * (1.0 / 5.0)) + zz * (1.0 / 7.0 + z * (1.0 / 9.0))
    middle = (1.0 / 11.0 + z * (1.0 / 13.0)) + zz * (1.0 / 15.0 + z * (1.0 / 17.0))
    high = 1.0 / 19.0 + z * (1.0 / 21.0)
    return 2.0 * (s + s * (z * (low + zzzz * (middle + zzzz * high))))


@inlined
def log1p(y):
    """log(1 + y) for 0 <= y <= 1: 2 artanh(y / (2 + y)), taken from the square root of 2 where y is large."""
    large = y > 0.4142135623730951
    shifted = (1.0 + y) * _SQRT_HALF
    above, below = shifted - 1.0 if large else y, shifted + 1.0 if large else 2.0 + y
    return _twice_artanh(above / below) + (_HALF_LN2 if large else 0.0)


@inlined
def log(x):
    """The natural logarithm of x > 0, a normal number: x = 2^k m with m between the square roots of a half and of two."""
    bits = np.float64(x).view(np.int64)
    m = np.int64((bits & _FRACTION) | _ONE).view(np.float64)
    large = m > 1.4142135623730951
    k = (np.int64((bits >> np.int64(52)) + _WHOLE_BITS).view(np.float64) - _WHOLE) - (1022.0 if large else 1023.0)
    m = 0.5 * m if large else m
    return (_twice_artanh((m - 1.0) / (m + 1.0)) + k * _LN2_LOW) + k * _LN2_HIGH


@inlined
def cosine_of_turns(v):
    """cos(2 pi v) for 0 <= v <= 1, from the nearest quarter of a turn."""
    quarter = np.floor(4.0 * v + 0.5)
    x = 6.283185307179586 * (v - 0.25 * quarter)
    z = x * x
    cosine = -1.0 / 6402373705728000.0
    cosine = cosine * z + 1.0 / 20922789888000.0
    cosine = cosine * z - 1.0 / 87178291200.0
    cosine = cosine * z + 1.0 / 479001600.0
    cosine = cosine * z - 1.0 / 3628800.0
    cosine = cosine * z + 1.0 / 40320.0
    cosine = cosine * z - 1.0 / 720.0
    cosine = cosine * z + 1.0 / 24.0
    cosine = (cosine * z - 0.5) * z + 1.0
    sine = 1.0 / 355687428096000.0
    sine = sine * z - 1.0 / 1307674368000.0
    sine = sine * z + 1.0 / 6227020800.0
    sine = sine * z - 1.0 / 39916800.0
    sine = sine * z + 1.0 / 362880.0
    sine = sine * z - 1.0 / 5040.0
    sine = sine * z + 1.0 / 120.0
    sine = sine * z - 1.0 / 6.0
    sine = (sine * z) * x + x
    y = -sine if quarter == 1.0 else cosine
    y = -cosine if quarter == 2.0 else y
    return sine if quarter == 3.0 else y


@inlined
def sigmoid(x):
    """1 / (1 + exp(-x)), exactly 0 or 1 beyond |x| >= 20 as in the released code of Weight Maximization."""
    s = 1.0 / (1.0 + exp(-min(max(x, -20.0), 20.0)))
    s = 1.0 if x >= 20.0 else s
    return 0.0 if x <= -20.0 else s


@inlined
def softplus(x):
    """log(1 + exp(x)); exactly 0 below -30 and x above 30 as in the released code."""
    s = max(x, 0.0) + log1p(exp(-min(np.abs(x), 30.0)))
    s = x if x > 30.0 else s
    return 0.0 if x < -30.0 else s


@inlined
def softplus_and_slope(x):
    """softplus(x), and its derivative: the sigmoid, from the same power of e (below 0 another last bit than sigmoid(x) may have)."""
    e = exp(-min(np.abs(x), 30.0))
    mean = max(x, 0.0) + log1p(e)
    mean = x if x > 30.0 else mean
    share = 1.0 / (1.0 + e)
    slope = e * share if x < 0.0 else share
    slope = 1.0 if x >= 20.0 else slope
    return 0.0 if x < -30.0 else mean, 0.0 if x <= -20.0 else slope


def _in_fours(products):
    """The sum of them (n,), n a multiple of four: four interleaved partial sums, then over those from the first to the last."""
    lanes = np.zeros(4)
    for four in products.reshape(-1, 4):
        lanes += four
    return ((lanes[0] + lanes[1]) + lanes[2]) + lanes[3]


@compiled_as(sums.total)
def _total(a, whole):
    return _in_fours(a[:whole])


@compiled_as(sums.dot)
def _dot(a, b, whole):
    return _in_fours(a[:whole] * b[:whole])


@inlined
def total(a):
    """The sum of a (n,)."""
    whole = a.size - a.size % 4
    s = _total(a, whole)
    for i in range(whole, a.size):
        s += a[i]
    return s


@inlined
def dot(a, b):
    """The sum of a * b, both (n,)."""
    whole = a.size - a.size % 4
    s = _dot(a, b, whole)
    for i in range(whole, a.size):
        s += a[i] * b[i]
    return s
