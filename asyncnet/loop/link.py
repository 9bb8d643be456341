"""What happens to a message on its way: conditions, folded by the sending loop over a small value: when it comes, and when it comes again.

    loss         the message is lost with probability p; on a reliable link it is sent again after `retry` instead, as often as it takes
    constant     delay + value              uniform      delay + U(low, high)
    exponential  delay + Exponential(mean)  lognormal    delay + Lognormal with that mean; sigma is the spread of its logarithm
    normal       delay + N(mean, sigma), at least 0
    knot         delay + what rises in straight lines through points (share of the messages, value), from row to row; the first has the share 0
    late         delay + value with probability p, so that later messages overtake it
    cut          the message is lost, however reliable the link
    held         it waits until the condition is over
    rate         one message leaves every `value` microseconds, the others wait in line; there is room for so many, and what finds none is lost
    twice        it comes again with probability p, `value` after the first time
    noise        N(0, sigma) is added to each of its numbers
    quantised    each of its numbers is rounded to a multiple of `value`
    flipped      its numbers change sign with probability p
    misdated     it belongs to the decision that was `value` decisions before with probability p
    away         it is lost if it would come while the condition is on: nobody is there
    waits        if it would come while the condition is on it comes when that is over

Conditions compose: delays add up, one loss is enough; what changes its numbers does so in their order. Each is on at some times only, if so asked (when.py):
the time is the sender's, of the last two kinds, which stand last, the one at which the message would come; their first number says whether the hearer has times
of its own. Each draw belongs to (source, target, channel, number of the message, condition), so a message's outcome is the same wherever and whenever it is
drawn; but the line before a rate is a link's own, and its sender's to keep. Nodes never see conditions.

A condition's draws may be alike from message to message: with the chance `alike` a message of a link has the draw of the one before it. Then draws k messages
apart have the correlation alike^k, each by itself is distributed as ever, and losses come in bursts: a chain of good and bad states (Gilbert 1960).
"""

import numpy as np

from asyncnet.kernels.arithmetic import exp, log
from asyncnet.kernels.chance import AS_BEFORE, BLUR, FATE, HOP, normal, uniform
from asyncnet.kernels.kernel import entry, inlined, kernel, row_at, view
from asyncnet.loop import when

LOSS, CONSTANT, UNIFORM, EXPONENTIAL, LOGNORMAL, NORMAL, KNOT, LATE, CUT, HELD, RATE, TWICE, NOISE, QUANTISED, FLIPPED, MISDATED, AWAY, WAITS = range(18)
LOST, ONCE = -1, -1  # instead of a time: it never comes; it does not come again
# Columns of a condition: its kind and two numbers; the fault that it is of, or -1 for one that the scenario's links have; what `alike` is; and when it is on.
KIND, A, B, FAULT, ALIKE, WHEN = range(6)
COLUMNS = WHEN + when.COLUMNS
LONGEST = 40.0  # logarithm of microseconds: 7,000 years
IN_VAIN = 1000  # pauses, one right after the other, after which a message is lost: pauses of several faults may leave no gap at all
BLURRED = 1 << 16  # numbers of a message
WHOLE = 2.0**52  # of so many steps a number is a multiple anyway, as far as it can tell
TRIES = 64  # of a reliable link; at 90 % loss the last is reached once in 850 messages


def row(kind, a=0.0, b=0.0, fault=-1, alike=0.0, times=when.ALWAYS):
    """A condition as the kernels read it; times in microseconds."""
    return (float(kind), float(a), float(b), float(fault), float(alike), *times)


@inlined
def key_of(seq, channel, i):
    """What tells the draws of a message's i-th condition from others of its link."""
    return ((seq * 8 + channel) * 32 + i) * TRIES


@inlined
def of_fault(number, channel, fault):
    """The same for a condition that is of a fault."""
    return (number * 8 + channel) * 1024 + np.int64(fault)


@kernel
def fate(seed, fault, i, src, dst, channel, seq, attempt):
    """The uniform number of a message's condition, the i-th of its link, at that attempt."""
    if fault < 0:
        return uniform(seed, HOP, src, dst, key_of(seq, channel, i) + attempt)
    return uniform(seed, FATE, src, dst, of_fault(seq, channel, fault) * TRIES + attempt)


@kernel
def bell(seed, fault, i, src, dst, channel, seq):
    """Its standard normal number."""
    if fault < 0:
        return normal(seed, HOP, src, dst, key_of(seq, channel, i))
    return normal(seed, FATE, src, dst, of_fault(seq, channel, fault) * TRIES)


@kernel
def drawn_as(condition, seed, src, dst, channel, number):
    """The message, of those of its link, whose draw that message has; a condition with memory."""
    while number > 1 and uniform(seed, AS_BEFORE, src, dst, of_fault(number, channel, condition[FAULT])) < condition[ALIKE]:
        number -= 1
    return number


@kernel
def draw(conditions, seed, src, dst, channel, seq, lots):
    """Each condition's first uniform number for a message to nodes of the identities dst (n,), into lots (conditions, n or more), by vectors."""
    for i in range(conditions.shape[0]):
        code, fault = conditions[i, KIND], conditions[i, FAULT]
        first = code == KNOT and conditions[i, B] == 0.0
        if (first or code in (LOSS, UNIFORM, EXPONENTIAL, LATE, TWICE)) and conditions[i, ALIKE] == 0.0:
            lot = row_at(lots, i)
            purpose, key = (HOP, key_of(seq, channel, i)) if fault < 0 else (FATE, of_fault(seq, channel, fault) * TRIES)
            for n in range(dst.shape[0]):
                lot[n] = uniform(seed, purpose, src, dst[n], key)


@kernel
def received(conditions, seed, dst, now, delay, struck):
    """The delay of a message that would come after `delay`, by what its hearer is doing then, or LOST."""
    for _ in range(IN_VAIN):  # having waited for one thing it may come while there is another
        on = False
        for i in range(conditions.shape[0]):
            condition = row_at(conditions, i)
            times, fault = view(condition, WHEN, (when.COLUMNS,)), np.int64(condition[FAULT])
            who = dst if condition[A] == 1.0 else 0
            if condition[KIND] >= AWAY and when.on(times, seed, fault, who, now + delay, 0):
                struck[fault] += 1
                if condition[KIND] == AWAY:
                    return np.int64(LOST)
                delay = when.over(times, seed, fault, who, now + delay, 0) - now
                on = True
        if not on:
            return delay
    return np.int64(LOST)


@kernel
def lost_again(conditions, seed, src, dst, channel, seq, stamp, now, attempt):
    """Whether a message that is sent once more at `now` is lost once more: one loss is enough."""
    lost = False
    for i in range(conditions.shape[0]):
        condition = row_at(conditions, i)
        if condition[KIND] == LOSS:
            fault = np.int64(condition[FAULT])
            on = fault < 0 or when.on(view(condition, WHEN, (when.COLUMNS,)), seed, fault, 0, now, stamp)
            lost = lost or (on and fate(seed, fault, i, src, dst, channel, seq, attempt) < condition[A])
    return lost


@entry
def in_line(conditions, seed, clears, n, stamp, now, struck):
    """How long a message of link n waits until those before it have left, or LOST; clears (links,): when the next of each link's may, in microseconds.

    Of several rates that are on at once the slowest counts, and the least room.
    """
    every, room = 0.0, np.float64(when.NEVER)
    for i in range(conditions.shape[0]):
        condition = row_at(conditions, i)
        if condition[KIND] == RATE and when.on(view(condition, WHEN, (when.COLUMNS,)), seed, np.int64(condition[FAULT]), 0, now, stamp):
            every, room = max(every, condition[A]), min(room, condition[B])
    if every == 0.0:
        return np.int64(0)
    waits = max(0.0, clears[n] - now)
    fits = waits <= room * every
    if fits:
        clears[n] = now + waits + every
    if waits > 0:
        for i in range(conditions.shape[0]):
            condition = row_at(conditions, i)
            if condition[KIND] == RATE and when.on(view(condition, WHEN, (when.COLUMNS,)), seed, np.int64(condition[FAULT]), 0, now, stamp):
                struck[np.int64(condition[FAULT])] += 1
    return np.int64(np.round(waits)) if fits else np.int64(LOST)


@kernel
def decide(conditions, lots, n, seed, src, dst, channel, seq, number, stamp, now, retry, waited, struck):
    """`outcome` for the n-th of the messages that were drawn for together."""
    delay, later, lot = np.float64(waited), 0.0, 0.0
    held = 0.0  # before which it does not come, however soon it gets through
    copies, lost = 1, False
    for i in range(conditions.shape[0]):
        condition = row_at(conditions, i)
        if condition[KIND] >= NOISE:
            break
        code, a, b, fault = condition[KIND], condition[A], condition[B], np.int64(condition[FAULT])
        times, as_drawn = view(condition, WHEN, (when.COLUMNS,)), seq
        follows = code == KNOT and b > 0.0  # its draw is that of the first knot
        if not follows:
            lot = lots[i, n]
        if fault >= 0 and not follows:
            if not when.on(times, seed, fault, 0, now, stamp):
                lot = 2.0  # beyond all knots
                continue
            if condition[ALIKE] > 0.0:
                as_drawn = drawn_as(condition, seed, src, dst, channel, number)
                lot = fate(seed, fault, i, src, dst, channel, as_drawn, 0)
        hit, more = True, 0.0
        if code == LOSS:
            hit = lot < a
            lost = lost or hit
        elif code == CONSTANT:
            more = a
        elif code == UNIFORM:
            more = a + (b - a) * lot
        elif code == EXPONENTIAL:
            more = -a * log(1.0 - lot)
        elif code == LOGNORMAL:
            power = log(a) - 0.5 * b * b + b * bell(seed, fault, i, src, dst, channel, as_drawn)
            more = exp(min(max(power, -LONGEST), LONGEST))
        elif code == NORMAL:
            more = max(0.0, a + b * bell(seed, fault, i, src, dst, channel, as_drawn))
        elif code == KNOT:
            hit = follows and conditions[i - 1, B] <= lot < b
            if hit:
                before, share = conditions[i - 1, A], conditions[i - 1, B]
                more = before + (a - before) * (lot - share) / (b - share)
        elif code == LATE:
            hit = lot < a
            if hit:
                more = b
        elif code == CUT:
            copies = 0
        elif code == TWICE:
            hit = lot < a
            if hit:
                later = b
        elif code == RATE:
            hit = False  # it has waited already
        else:
            held = max(held, np.float64(when.over(times, seed, fault, 0, now, stamp) - now))
        delay += more
        held += more
        takes_longer = CONSTANT <= code <= LATE  # what that comes to is rounded to microseconds
        if hit and fault >= 0 and (more >= 0.5 or not takes_longer):
            struck[fault] += 1
    if lost and retry >= 0:  # it is sent again and again, each time some ticks later
        tries = 1
        while tries < TRIES and lost_again(conditions, seed, src, dst, channel, seq, stamp, now + np.int64(np.round(tries * retry)), tries):
            tries += 1
        delay += tries * retry
        lost = tries == TRIES
    if copies == 0 or lost:
        return np.int64(LOST), np.int64(ONCE)
    took = np.int64(np.round(max(delay, held)))
    again = took + max(np.int64(1), np.int64(np.round(later))) if later > 0.0 else np.int64(ONCE)
    if conditions.shape[0] > 0 and conditions[conditions.shape[0] - 1, KIND] >= AWAY:
        took = received(conditions, seed, dst, now, took, struck)
        if again != ONCE:
            again = received(conditions, seed, dst, now, again, struck)
            if took == LOST:
                took, again = again, np.int64(ONCE)
            elif again != LOST:
                again = max(again, took + 1)  # two events that are alike in everything would be one
    return took, again


@entry
def altered(conditions, seed, src, dst, channel, seq, stamp, now, numbers, struck):
    """Do to the numbers (n,) of a message that is not lost what its conditions do to them; returns the decision that it belongs to now."""
    for i in range(conditions.shape[0]):
        condition = row_at(conditions, i)
        code, a, b, fault = condition[KIND], condition[A], condition[B], np.int64(condition[FAULT])
        if not NOISE <= code < AWAY or not when.on(view(condition, WHEN, (when.COLUMNS,)), seed, fault, 0, now, stamp):
            continue
        if code not in (NOISE, QUANTISED) and uniform(seed, FATE, src, dst, of_fault(seq, channel, fault) * TRIES) >= a:
            continue
        changed = False
        if code == MISDATED:
            before = max(np.int64(0), stamp - np.int64(b))
            changed, stamp = before != stamp, before
        for n in range(numbers.shape[0]):
            was = numbers[n]
            if code == NOISE:
                numbers[n] += a * normal(seed, BLUR, src, dst, of_fault(seq, channel, fault) * BLURRED + n)
            elif code == QUANTISED and abs(was / a) < WHOLE:
                numbers[n] = a * np.round(was / a)
            elif code == FLIPPED:
                numbers[n] = -was
            changed = changed or numbers[n] != was
        if changed:
            struck[fault] += 1
    return stamp


@entry
def outcome(conditions, seed, src, dst, channel, seq, number, stamp, now, retry, waited, struck):
    """When a message comes that is sent at `now`, or LOST, and when it comes again, or ONCE; in microseconds from now.

    It has `seq` among those of its sender's channel and `number` among those of its link, and has `waited` in line (in_line).
    conditions (n, COLUMNS); retry < 0: the link is not reliable; `struck` counts, fault by fault, what it did something to.
    """
    lots = np.empty((conditions.shape[0], 1))
    draw(conditions, seed, src, np.full(1, dst, np.int64), channel, seq, lots)
    return decide(conditions, lots, 0, seed, src, dst, channel, seq, number, stamp, now, retry, waited, struck)
