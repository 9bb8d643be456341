"""What goes wrong with a node: rows of what may befall it, each at its times only (when.py).

    crash   while it is on nothing is heard and no tick taken; then the node is as it was at its last snapshot, or in the beginning
    pause   while it is on no tick is taken, and what comes waits until it is over
    slow    a tick that begins while it is on takes `value` times as long to the next
    skip    a tick is missed with probability p
    shift   when it comes, the node's next tick, and so all after it, is `value` later
    block, drop-oldest, drop-newest, newest-wins
            messages that wait for a tick at which it is on have room for `value` of them (mailbox.py)

Nothing happens at the time itself: a node that has been down is brought up to date when it next hears something or acts, so a fault costs no event, and what
it does is a function of the node's own times. What a crash loses and a pause delays on the way to the node is its links' to do (link.py: AWAY, WAITS).
What a node counts of itself outlives its crashes.
"""

import numpy as np

from asyncnet.kernels.chance import FATE, uniform
from asyncnet.kernels.kernel import entry, kernel, row_at, view
from asyncnet.loop import when
from asyncnet.loop.message import TICK, TURN

CRASH, PAUSE, SLOW, SKIP, SHIFT, BLOCK, DROP_OLDEST, DROP_NEWEST, NEWEST_WINS = range(9)
# Columns of a row: its kind, its number (of a crash: microseconds between snapshots, 0: there are none), the fault that it is of, whether the node has times of
# its own, and when it is on.
KIND, VALUE, FAULT, OWN, WHEN = range(5)
COLUMNS = WHEN + when.COLUMNS
# What is kept of a node: when it was last brought up to date, in microseconds, how many ticks it has missed, and where in its state it counts. In the tables of
# the compiled loop also where the copies of its state are, its rows, and how many, and the first and the last item of its mailbox (NO_BOX: it has none).
SEEN, MISSED, COUNTS, COUNTS_END, KEPT, ROWS, ROW_COUNT, BOX, BOX_LAST = range(9)
RECORD = 9
NO_BOX = -2
LOST = -1
FARTHEST = 2.0**50  # microseconds, 35 years: nothing that befalls a clock moves its next tick any farther
MOST_SHIFTS = 64  # between two ticks
MOST_CRASHES = 64  # between two times at which a node hears something or acts


def row(kind, value, fault, own, times):
    """A row as the kernels read it; times in microseconds."""
    return (float(kind), float(value), float(fault), float(own), *times)


@kernel
def on(one, seed, who, now):
    """Whether it is on for node `who`."""
    return when.on(view(one, WHEN, (when.COLUMNS,)), seed, np.int64(one[FAULT]), who if one[OWN] == 1.0 else 0, now, 0)


@kernel
def over(one, seed, who, now):
    """When it will be off again."""
    return when.over(view(one, WHEN, (when.COLUMNS,)), seed, np.int64(one[FAULT]), who if one[OWN] == 1.0 else 0, now, 0)


@kernel
def begins(one, seed, who, since, now):
    """When it comes first after `since` and up to `now`, when.NEVER if it does not."""
    return when.begins(view(one, WHEN, (when.COLUMNS,)), seed, np.int64(one[FAULT]), who if one[OWN] == 1.0 else 0, since, now)


@kernel
def misses(rows, seed, who, k, now, struck):
    """Whether node `who` misses its tick k, at `now`."""
    missed = False
    for n in range(rows.shape[0]):
        one = row_at(rows, n)
        kind, fault = one[KIND], np.int64(one[FAULT])
        strikes = kind in (CRASH, PAUSE, SKIP) and on(one, seed, who, now)
        if strikes and (kind != SKIP or uniform(seed, FATE, who, who, (k * 8 + TICK) * 1024 + fault) < one[VALUE]):
            struck[fault] += 1
            missed = True
    return missed


@kernel
def turned_away(rows, seed, who, now, struck):
    """What becomes of a message that comes while the node is down: LOST, or the time until which it waits; 0 if it is not down."""
    until = np.int64(0)
    for n in range(rows.shape[0]):
        one = row_at(rows, n)
        kind, fault = one[KIND], np.int64(one[FAULT])
        if kind in (CRASH, PAUSE) and on(one, seed, who, now):
            struck[fault] += 1
            if kind == CRASH:
                return np.int64(LOST)
            until = max(until, over(one, seed, who, now))
    return until


@entry
def passes_over(rows, seed, who, ticks, kind, seq, now, struck):
    """Whether node `who` passes over an event at `now`: 0 if not, LOST if it does, else the time until which the event waits; `ticks`: it has a clock.

    `struck` counts by fault what it does. What comes to a node with a clock waits for its tick anyway; and in simulated time no message comes to one that is
    down, for its links see to that, but on real clocks one may come later than they thought.
    """
    if kind == TICK:
        return np.int64(LOST if misses(rows, seed, who, seq, now, struck) else 0)
    return np.int64(0) if ticks or kind == TURN else turned_away(rows, seed, who, now, struck)


@entry
def due(rows, seed, who, at, then, struck):
    """When node `who` is due to tick after its tick at `at`, which would be due at `then`."""
    for n in range(rows.shape[0]):
        one = row_at(rows, n)
        fault = np.int64(one[FAULT])
        if one[KIND] == SLOW and on(one, seed, who, at):
            before, then = then, at + max(np.int64(1), np.int64(min(np.round((then - at) * one[VALUE]), FARTHEST)))
            if then != before:
                struck[fault] += 1
    last = then
    for n in range(rows.shape[0]):
        one = row_at(rows, n)
        fault = np.int64(one[FAULT])
        if one[KIND] == SHIFT:
            comes = begins(one, seed, who, at, last)
            times = 0
            while comes < when.NEVER and times < MOST_SHIFTS:
                then = min(then + np.int64(min(one[VALUE], FARTHEST)), at + np.int64(FARTHEST))
                struck[fault] += 1
                times += 1
                comes = begins(one, seed, who, comes, last)
    return then


@entry
def bring_up(record, rows, seed, who, state, kept, now, struck):
    """Bring node `who` up to `now`, at which it hears something or acts: what it was last at snapshots until then, and what is left of it after crashes.

    record (RECORD,), state (size,), kept (crashes * size,): a copy of the state for each row that is a crash.
    """
    since, size = np.int64(record[SEEN]), state.shape[0]
    if now <= since:
        return
    record[SEEN] = now
    for _ in range(MOST_CRASHES):
        first, struck_by, copy = np.int64(when.NEVER), -1, 0
        place = 0
        for n in range(rows.shape[0]):
            if rows[n, KIND] == CRASH:
                at = begins(row_at(rows, n), seed, who, since, now)
                if at < first:
                    first, struck_by, copy = at, n, place
                place += 1
        until = min(first, now)
        keep(rows, since, until, state, kept)
        if struck_by < 0:
            break
        struck[np.int64(rows[struck_by, FAULT])] += 1
        counts, end = int(record[COUNTS]), int(record[COUNTS_END])
        for i in range(size):
            if not counts <= i < end:
                state[i] = kept[copy * size + i]
        since = first


@kernel
def keep(rows, since, until, state, kept):
    """Copy a node's state for each crash that has a snapshot after `since` and up to `until`."""
    place, size = 0, state.shape[0]
    for n in range(rows.shape[0]):
        if rows[n, KIND] == CRASH:
            every = np.int64(rows[n, VALUE])
            if every > 0 and until // every > max(since, np.int64(0)) // every:
                kept[place * size : (place + 1) * size] = state
            place += 1
