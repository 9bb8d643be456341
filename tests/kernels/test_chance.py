"""Keyed randomness: the published generator, draws that depend on their key alone, and the distributions they are said to have."""

import math

import hypothesis.strategies as st
import numba
import numpy as np
import pytest
from hypothesis import given

from asyncnet.kernels.chance import BIAS, DRIFT, HOP, LAYERS, PHASE, SAMPLE, TASK, TICK, UNITS_PER_LAYER, WEIGHT, identity, normal, uniform_of, words_of

# Random123, kat_vectors: philox4x32 with 10 rounds; counter, key, result.
KNOWN = {
    "zeros": ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    "ones": ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    "pi": (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
}
PURPOSES = [SAMPLE, WEIGHT, BIAS, TICK, PHASE, DRIFT, HOP, TASK]

word = st.integers(0, 2**32 - 1)
keys = st.tuples(st.integers(0, 2**53 - 1), st.sampled_from(PURPOSES), word, word, st.integers(0, 2**56 - 1))  # seed, purpose, a, b, n


def philox(counter: list[int], key: list[int]) -> list[int]:
    """The generator as its authors wrote it down, in whole numbers of any size."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return [c0, c1, c2, c3]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN.values(), ids=KNOWN)
def test_the_generator_gives_the_published_answers(counter, key, result):
    assert [int(w) for w in words_of(*counter, *key)] == result == philox(counter, key)


@given(st.tuples(word, word, word, word), st.tuples(word, word))
def test_the_generator_is_the_published_one_everywhere(counter, key):
    assert [int(w) for w in words_of(*counter, *key)] == philox(list(counter), list(key))


@given(keys)
def test_a_draw_is_the_first_53_bits_at_its_documented_counter(key):
    seed, purpose, a, b, n = key
    w0, w1, _, _ = philox([a, b, n % 2**32, n // 2**32 + 2**24 * purpose], [seed % 2**32, seed // 2**32])
    assert uniform_of(seed, purpose, a, b, n) == ((w0 >> 5) * 2**26 + (w1 >> 6)) / 2**53


@given(keys)
def test_a_draw_lies_in_its_interval_and_comes_again(key):
    assert 0.0 <= uniform_of(*key) < 1.0
    assert uniform_of(*key) == uniform_of(*key)


@given(keys, keys)
def test_different_keys_give_different_draws(one, other):
    assert (uniform_of(*one) == uniform_of(*other)) == (one == other)


@given(keys, st.integers(0, 4), st.integers(1, 7))
def test_one_other_seed_purpose_unit_stream_or_stamp_is_another_draw(key, place, step):
    bounds = [2**53, len(PURPOSES), 2**32, 2**32, 2**56]
    other = list(key)
    other[place] = (key[place] + step) % bounds[place]
    assert uniform_of(*key) != uniform_of(*other)


def draws(along: str, n: int = 40_000) -> np.ndarray:
    """n draws along one part of the key, the others fixed."""
    base = {"seed": 11, "purpose": SAMPLE, "a": identity(2, 5), "b": 0, "n": 3}
    return np.array([uniform_of(*{**base, along: i}.values()) for i in range(n)])


@pytest.mark.parametrize("along", ["seed", "a", "b", "n"])
def test_draws_are_uniform_and_unrelated_along_every_part_of_the_key(along):
    u = draws(along)
    n = len(u)
    ranks = np.arange(1, n + 1) / n
    distance = max(np.max(ranks - np.sort(u)), np.max(np.sort(u) - ranks + 1 / n))  # Kolmogorov and Smirnov's
    assert distance * math.sqrt(n) < 1.95  # exceeded once in a thousand
    for lag in (1, 2, 7):
        assert abs(np.corrcoef(u[:-lag], u[lag:])[0, 1]) < 3.3 / math.sqrt(n)  # once in a thousand
    pairs, _, _ = np.histogram2d(u[0::2], u[1::2], bins=10, range=[[0, 1], [0, 1]])
    expected = n / 2 / 100
    assert np.sum((pairs - expected) ** 2 / expected) < 149  # chi-square with 99 degrees of freedom, once in a thousand


def test_purposes_do_not_know_of_each_other():
    rows = np.array([[uniform_of(1, purpose, 7, 0, n) for n in range(5000)] for purpose in PURPOSES])
    assert np.max(np.abs(np.corrcoef(rows) - np.eye(len(PURPOSES)))) < 4.2 / math.sqrt(5000)


@numba.njit
def normals(seed, n):
    out = np.empty(n)
    for i in range(n):
        out[i] = normal(seed, HOP, 3, 4, i)
    return out


def test_normal_numbers_have_the_moments_and_the_tails_of_the_normal_distribution():
    n = 200_000
    z = normals(5, n)
    assert abs(z.mean()) < 2.576 / math.sqrt(n)
    assert abs(z.var() - 1.0) < 2.576 * math.sqrt(2.0 / n)
    assert abs((z**3).mean()) < 2.576 * math.sqrt(15.0 / n)
    for edge in (1.0, 2.0, 3.0):
        p = math.erfc(edge / math.sqrt(2.0))
        assert abs((np.abs(z) > edge).mean() - p) < 2.576 * math.sqrt(p * (1.0 - p) / n)
    assert np.all(np.isfinite(z))


@given(st.tuples(st.integers(0, LAYERS - 1), st.integers(0, UNITS_PER_LAYER - 1)), st.tuples(st.integers(0, LAYERS - 1), st.integers(0, UNITS_PER_LAYER - 1)))
def test_units_have_different_identities_of_32_bits(one, other):
    assert 0 <= identity(*one) < 2**32
    assert (identity(*one) == identity(*other)) == (one == other)


def test_identities_fill_32_bits():
    assert (identity(0, 0), identity(LAYERS - 1, UNITS_PER_LAYER - 1)) == (0, 2**32 - 1)


@pytest.mark.parametrize("unit", [(-1, 0), (0, -1), (LAYERS, 0), (0, UNITS_PER_LAYER)])
def test_a_unit_beyond_the_bounds_has_no_identity(unit):
    with pytest.raises(ValueError, match="at most"):
        identity(*unit)
