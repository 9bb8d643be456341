"""What happens to a message on its way: conditions, folded by the sending loop over a small value (delay, copies).

    loss         the message is lost with probability p; on a reliable link it is sent again after `retry` instead, as often as it takes
    constant     delay + value              uniform      delay + U(low, high)
    exponential  delay + Exponential(mean)  lognormal    delay + Lognormal with that mean; sigma is the spread of its logarithm

Conditions compose: delays add up, one loss is enough. Each draw belongs to (source, target, channel, sequence number, condition), so a message's
outcome is the same wherever and whenever it is drawn. Nodes never see conditions.
"""

import math

import numpy as np

from asyncnet.kernels.chance import HOP, normal, uniform
from asyncnet.kernels.kernel import entry

LOSS, CONSTANT, UNIFORM, EXPONENTIAL, LOGNORMAL = range(5)
TRIES = 64  # of a reliable link; at 90 % loss the last is reached once in 850 messages


@entry
def outcome(conditions, seed, src, dst, channel, seq, retry):
    """(delay in microseconds, copies) of one message; conditions (n, 3) as code and two numbers; retry < 0: the link is not reliable."""
    delay = 0.0
    copies = 1
    for i in range(conditions.shape[0]):
        code, a, b = conditions[i, 0], conditions[i, 1], conditions[i, 2]
        key = ((seq * 8 + channel) * 32 + i) * TRIES
        if code == LOSS:
            tries = 0
            while tries < TRIES and uniform(seed, HOP, src, dst, key + tries) < a:
                tries += 1
                if retry < 0:
                    break
                delay += retry
            if tries == TRIES or (tries > 0 and retry < 0):
                copies = 0
        elif code == CONSTANT:
            delay += a
        elif code == UNIFORM:
            delay += a + (b - a) * uniform(seed, HOP, src, dst, key)
        elif code == EXPONENTIAL:
            delay -= a * math.log(1.0 - uniform(seed, HOP, src, dst, key))
        else:
            delay += math.exp(math.log(a) - 0.5 * b * b + b * normal(seed, HOP, src, dst, key))
    return np.int64(np.round(delay)), copies
