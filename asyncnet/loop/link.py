"""What happens to a message on its way: conditions, folded by the sending loop over a small value (delay, copies).

    loss         the message is lost with probability p; on a reliable link it is sent again after `retry` instead, as often as it takes
    constant     delay + value              uniform      delay + U(low, high)
    exponential  delay + Exponential(mean)  lognormal    delay + Lognormal with that mean; sigma is the spread of its logarithm

Conditions compose: delays add up, one loss is enough. Each draw belongs to (source, target, channel, sequence number, condition), so a message's
outcome is the same wherever and whenever it is drawn. Nodes never see conditions.
"""

import numpy as np

from asyncnet.kernels.arithmetic import exp, log
from asyncnet.kernels.chance import HOP, normal, uniform
from asyncnet.kernels.kernel import entry, inlined, kernel, row_at

LOSS, CONSTANT, UNIFORM, EXPONENTIAL, LOGNORMAL = range(5)
LONGEST = 40.0  # logarithm of microseconds: 7,000 years
TRIES = 64  # of a reliable link; at 90 % loss the last is reached once in 850 messages


@inlined
def key_of(seq, channel, i):
    """What tells the draws of a message's i-th condition from others of its link."""
    return ((seq * 8 + channel) * 32 + i) * TRIES


@kernel
def draw(conditions, seed, src, dst, channel, seq, lots):
    """Each condition's first uniform number for a message to nodes of the identities dst (n,), into lots (conditions, n or more), by vectors."""
    for i in range(conditions.shape[0]):
        code = conditions[i, 0]
        if code not in (CONSTANT, LOGNORMAL):
            key, row = key_of(seq, channel, i), row_at(lots, i)
            for n in range(dst.shape[0]):
                row[n] = uniform(seed, HOP, src, dst[n], key)


@kernel
def decide(conditions, lots, n, seed, src, dst, channel, seq, retry):
    """`outcome` for the n-th of the messages that were drawn for together."""
    delay = 0.0
    copies = 1
    for i in range(conditions.shape[0]):
        code, a, b = conditions[i, 0], conditions[i, 1], conditions[i, 2]
        if code == LOSS:
            tries, lost = 0, lots[i, n] < a
            while lost:
                tries += 1
                if retry < 0:
                    break
                delay += retry
                lost = tries < TRIES and uniform(seed, HOP, src, dst, key_of(seq, channel, i) + tries) < a
            if tries == TRIES or (tries > 0 and retry < 0):
                copies = 0
        elif code == CONSTANT:
            delay += a
        elif code == UNIFORM:
            delay += a + (b - a) * lots[i, n]
        elif code == EXPONENTIAL:
            delay -= a * log(1.0 - lots[i, n])
        else:
            power = log(a) - 0.5 * b * b + b * normal(seed, HOP, src, dst, key_of(seq, channel, i))
            delay += exp(min(max(power, -LONGEST), LONGEST))
    return np.int64(np.round(delay)), copies


@entry
def outcome(conditions, seed, src, dst, channel, seq, retry):
    """(delay in microseconds, copies) of one message; conditions (n, 3) as code and two numbers; retry < 0: the link is not reliable."""
    lots = np.empty((conditions.shape[0], 1))
    draw(conditions, seed, src, np.full(1, dst, np.int64), channel, seq, lots)
    return decide(conditions, lots, 0, seed, src, dst, channel, seq, retry)
