"""How loops share simulated time, in machine code: promises, what follows from them, and waiting for them (actors/windows.py says why it is right)."""

from asyncnet.kernels.kernel import kernel, row_at
from asyncnet.kernels.pointer import wholes_at
from asyncnet.kernels.shared_words import load, nanoseconds, store, wait
from asyncnet.loop.compiled import posting as p
from asyncnet.loop.compiled.agenda import KIND_SHIFT
from asyncnet.loop.compiled.arrivals import PROMISE, take_what_came
from asyncnet.loop.compiled.ring import (
    ASKED,
    AWAKE,
    DUE,
    OUT,
    OUT_WORDS,
    PLACE,
    PREFIX,
    PROMISED,
    SLEEPS,
    WAKE_ME,
    WORDS,
    begin_message,
    hand_over,
    has_room,
    put_word,
)
from asyncnet.loop.timekeeper import NEVER
from asyncnet.nodes.world import DECISIONS, EPISODES

NONE, CHECKPOINT, STOP, FINISH = range(4)  # purposes of a meeting
ENDING = 8  # added to one: do not pass what may be the world's next event
GO_ON, AWAIT, NO_ROOM, MEET, STALL = range(5)  # what `share` says
LONGEST = 100_000_000  # nanoseconds without looking up


@kernel
def near_the_end(t):
    """Whether the world might finish within the next window."""
    control = t.control
    counts = control[p.COUNTS]
    if control[p.GOAL] >= 0:
        return int(t.real[counts + DECISIONS]) + control[p.CLOSINGS] >= control[p.GOAL]
    return int(t.real[counts + EPISODES]) + control[p.CLOSINGS] * control[p.STREAMS] >= control[p.GOAL_EPISODES]


@kernel
def promise(t, at):
    """Tell all peers when this loop acts next, and when what it has said to each of them is due; returns whether there was room."""
    control, peers, loops = t.control, t.peers, t.known.shape[1]
    for n in range(peers.shape[0]):
        if not has_room(row_at(peers, n), PREFIX + loops):
            return False
    if control[p.ME] == control[p.WORLD]:
        control[p.ENDING] = ENDING if near_the_end(t) else 0
        if control[p.WANTED] != NONE and control[p.MEETING] == NEVER:
            control[p.MEETING] = max(control[p.LATEST], control[p.NOW]) + 1
            control[p.PURPOSE], control[p.WANTED] = control[p.WANTED], NONE
    mine = row_at(t.known, control[p.ME])
    mine[control[p.ME]] = at
    for n in range(peers.shape[0]):
        mine[peers[n, PLACE]] = peers[n, DUE]
        peers[n, DUE] = NEVER
    code = PROMISE << KIND_SHIFT | control[p.ME]
    for n in range(peers.shape[0]):
        peer = row_at(peers, n)
        first = begin_message(peer, 0, control[p.MEETING], code, control[p.WINDOW], control[p.PURPOSE] | control[p.ENDING], loops)
        words = wholes_at(peer[OUT] + 8 * WORDS, (peer[OUT_WORDS],))
        for i in range(loops):
            put_word(words, first + i, mine[i])
    hand_over(control[p.SYSTEM], peers)
    return True


@kernel
def all_have_promised(t):
    """Whether all peers have promised this window."""
    promised = True
    for n in range(t.peers.shape[0]):
        promised = promised and t.peers[n, PROMISED] == t.control[p.WINDOW]
    return promised


@kernel
def sleep_until_rung(system, bell, seen, patience, duration):
    """Wait until a bell shows something else than what was seen, for so many nanoseconds at most: first awake, for as long as patience goes."""
    if patience > 0:
        until = nanoseconds(system) + min(patience, duration)
        while nanoseconds(system) < until:
            for _ in range(16):
                if load(bell) != seen:
                    return
    store(bell + 8 * SLEEPS, WAKE_ME)
    if load(bell) == seen:
        wait(system, bell, seen, duration)
    store(bell + 8 * SLEEPS, AWAKE)


@kernel
def asked(control):
    """Whether Python is asked for; it is told once."""
    place = control[p.BELL] + 8 * ASKED
    if load(place) == 0:
        return False
    store(place, 0)
    return True


@kernel
def share(d, at):
    """Promise, wait for all others' promises, and find how far this loop may go: its next event is due at `at`."""
    t = p.opened(d)
    control = t.control
    if control[p.AWAITS] == 0:
        if not promise(t, at):
            return NO_ROOM
        control[p.AWAITS] = 1
    until = nanoseconds(control[p.SYSTEM]) + LONGEST
    while True:
        if not take_what_came(d):
            return NO_ROOM
        if all_have_promised(t):
            break
        left = until - nanoseconds(control[p.SYSTEM])
        if asked(control) or left <= 0:
            control[p.HEARD] -= 1  # look at every ring next time, rung or not
            return AWAIT
        sleep_until_rung(control[p.SYSTEM], control[p.BELL], control[p.HEARD], control[p.PATIENCE], left)
    control[p.AWAITS] = 0
    control[p.WINDOW] += 1
    if control[p.ME] != control[p.WORLD]:
        control[p.ENDING] = control[p.PURPOSE] & ENDING
        control[p.PURPOSE] &= ~ENDING
    return agree(t)


@kernel
def agree(t):
    """What follows from all promises: how far this loop may go, and whether all meet, or nobody has anything left to do."""
    control, known, reach = t.control, t.known, t.reach
    loops = known.shape[1]
    nexts, limits = row_at(known, loops), row_at(known, loops + 1)
    first, latest = NEVER, control[p.LATEST]
    for i in range(loops):
        nexts[i] = NEVER
        for k in range(loops):
            nexts[i] = min(nexts[i], known[k, i])
            known[k, i] = NEVER
        first = min(first, nexts[i])
    for i in range(loops):
        limits[i] = NEVER
        for k in range(loops):
            limits[i] = min(limits[i], nexts[k] + reach[k, i] - 1)
        latest = max(latest, limits[i])
    control[p.LATEST] = latest
    meeting, world = control[p.MEETING], control[p.WORLD]
    meets = meeting <= first < NEVER
    limit = limits[control[p.ME]]
    if not meets:  # else there is none any more when this loop goes on
        limit = min(limit, meeting - 1)
    if control[p.ENDING] != 0 and control[p.ME] != world:
        limit = min(limit, nexts[world] - 1, limits[world])
    control[p.LIMIT] = limit
    if first >= NEVER:
        return STALL
    return MEET if meets else GO_ON
