"""Keyed randomness: every draw is a function of what is decided, never of when or where.

    u = uniform(seed, purpose, a, b, n)        in [0, 1), 53 bits

The generator is Philox-4x32 with ten rounds (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011). The
seed is the key; the counter holds (a, b, n mod 2^32, n div 2^32 + 2^24 purpose):

    purpose          a               b               n
    SAMPLE           unit            stream          stamp
    WEIGHT, BIAS     unit            input index     0
    TICK, PHASE,     node            0               tick number
    DRIFT
    HOP              source node     target node     ((seq * 8 + channel) * 32 + condition) * 64 + try
    TASK             task            stream          decision
    RESAMPLE         unit            stream          stamp * 4096 + how many times before
    FATE             source node     target node     ((message * 8 + channel) * 1024 + fault) * 64 + try
    AS_BEFORE        source node     target node     (message * 8 + channel) * 1024 + fault
    BEGINS           node, or 0      fault * 16 + event  slot
    CHOICE           fault           node            0
    BLUR             source node     target node     ((message * 8 + channel) * 1024 + fault) * 65536 + which of its numbers

A unit's identity is (layer, index), and a node's is that of its first unit, whichever node hosts it: cutting a layer into nodes changes no sample.
"""

import numpy as np

from asyncnet.kernels.arithmetic import cosine_of_turns, log
from asyncnet.kernels.kernel import entry, inlined

SAMPLE, WEIGHT, BIAS, TICK, PHASE, DRIFT, HOP, TASK, RESAMPLE, FATE, AS_BEFORE, BEGINS, CHOICE, BLUR = range(14)

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _32, _24, _6, _5, _26 = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(24), np.uint64(6), np.uint64(5), np.uint64(26)

UNITS_PER_LAYER = 1 << 20
LAYERS = 1 << 12


def identity(layer: int, index: int) -> int:
    """The 32-bit name of a unit in the key of its draws: its layer and its index in that layer."""
    if not (0 <= layer < LAYERS and 0 <= index < UNITS_PER_LAYER):
        raise ValueError(f"unit ({layer}, {index}): at most {LAYERS} layers of {UNITS_PER_LAYER} units")
    return layer * UNITS_PER_LAYER + index


@inlined
def philox(c0, c1, c2, c3, k0, k1):
    """Ten rounds of Philox-4x32 on counter (c0..c3) under key (k0, k1); all uint64 below 2^32."""
    for _ in range(10):
        p0 = _M0 * c0
        p1 = _M1 * c2
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ k0, p1 & _LOW, (p0 >> _32) ^ c3 ^ k1, p0 & _LOW
        k0 = (k0 + _W0) & _LOW
        k1 = (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@inlined
def words(seed, purpose, a, b, n):
    """Four 32-bit words for one decision; arguments as in the table above, non-negative."""
    s, high = np.uint64(seed), np.uint64(n)
    return philox(np.uint64(a) & _LOW, np.uint64(b) & _LOW, high & _LOW, ((high >> _32) | (np.uint64(purpose) << _24)) & _LOW, s & _LOW, s >> _32)


@inlined
def uniform(seed, purpose, a, b, n):
    """A number in [0, 1) that depends on nothing but its arguments."""
    w0, w1, _, _ = words(seed, purpose, a, b, n)
    return np.float64(((w0 >> _5) << _26) | (w1 >> _6)) * (1.0 / 9007199254740992.0)


@inlined
def normal(seed, purpose, a, b, n):
    """A standard normal number (Box-Muller) that depends on nothing but its arguments."""
    w0, w1, w2, w3 = words(seed, purpose, a, b, n)
    u = (np.float64(((w0 >> _5) << _26) | (w1 >> _6)) + 0.5) * (1.0 / 9007199254740992.0)
    v = np.float64(((w2 >> _5) << _26) | (w3 >> _6)) * (1.0 / 9007199254740992.0)
    return np.sqrt(-2.0 * log(u)) * cosine_of_turns(v)


@entry
def uniform_of(seed, purpose, a, b, n):
    """`uniform` for callers in Python."""
    return uniform(seed, purpose, a, b, n)


@entry
def words_of(c0, c1, c2, c3, k0, k1):
    """`philox` for callers in Python: four uint64 words."""
    return philox(np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3), np.uint64(k0), np.uint64(k1))
