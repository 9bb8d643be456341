"""The world: the node that holds the task. It shows observations, takes actions and says what they earned.

A machine like those of learning nodes (machines/), bound to a task as they are to a rule (tasks/__init__.py says what a task must bring). A world that
does not wait closes decision k every `interval` ticks with the newest action, and shows its observation on every tick, so that loss only delays;
where that can change nothing (Links.repeats) it saves its breath. A world that waits closes decision k `interval` ticks after the action for k has
come; if none comes it shows its observation again, so that a lost message only delays. What a decision earned goes out before the next observation,
under the stamp of the action that was used.

    late = "use"              a late action is taken as the action now, and credited to its own stamp
           "withhold"         it is taken, but earns no credit
           "grade-by-stamp"   it is judged against the question it was meant for (independent questions only)

An episode that ends takes one more decision, whose action is ignored and which resets it (as in the released code and in Gymnasium's NEXT_STEP mode). It
teaches nothing: valid = 0. After a terminal state bootstrap = 0. At a time limit, `zero` makes the transition teach nothing, as published; `bootstrap` takes
the value of the last observation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncnet.kernels.kernel import kernel, view
from asyncnet.kernels.layout import STAMP, Field
from asyncnet.loop.message import ACTIVITY, REWARD, TRANSITION
from asyncnet.nodes.entries import bound
from asyncnet.nodes.outbox import AGAIN, ALL, LOOK, STEP, call_me, emit, reserve
from asyncnet.team.ports import ACTIVITIES, REWARDS, TRANSITIONS, In, Kind

if TYPE_CHECKING:
    from asyncnet.team.network import Site

PARTS = {"task": ("asyncnet.tasks.usual",)}  # where a task's kernels are that it does not bring
KIND = Kind("asyncnet.nodes.world", hears=(In("actions", "activity", "below"),), says=(ACTIVITIES, TRANSITIONS, REWARDS))

USE, WITHHOLD, GRADE = range(3)
IDLE, GRADING, STEPPING, STEPPED = range(4)  # what it is in the middle of
TERMINATED, TRUNCATED = 1, 2
SIGN, ONE_HOT, REAL = range(3)  # what the team answers with

DECISIONS, EPISODES, ON_TIME, LATE, MISSING, REPEATED, REVISED, UNGRADED = range(8)
TURNS = 2  # one to show what comes next, one to close a decision
COUNT_NAMES = ("decisions", "episodes", "on_time", "late", "missing", "repeated", "revised", "ungraded")
MOST_GRADED = 64  # answers graded in one interval
LATENESS = 64  # decisions; later actions count as that late

FIELDS = (
    Field("observation", "B I"),  # what is shown
    Field("episode", "B"),
    Field("action", "B X"),  # the newest action heard
    Field("reward", "B"),  # what the last decision led to
    Field("ended", "B", "0..2"),  # 0, TERMINATED or TRUNCATED
    Field("over", "B", "0..1"),  # the episode has ended; the next decision resets it
    Field("total", "B"),  # return so far
    Field("stamp", "1", STAMP),  # the decision that is open
    Field("shown", "1", "0..now"),  # when its observation was last shown
    Field("heard_stamp", "1", STAMP),  # the newest action
    Field("heard_seq", "1", "-1.."),
    Field("fresh", "1", "0..1"),  # an action has come since the last decision
    Field("used", "1", STAMP),  # the stamp of the action last used, until it is revised
    Field("closes", "1", "0..now+interval"),  # when it closes the open decision, as far as it knows
    Field("closing", "1", "0..1"),  # a world that waits has heard what it waited for
    Field("guarded", "1", "0..1"),  # the turn that watches for silence is on the agenda
    Field("phase", "1", "fixed"),
    Field("graded_count", "1", "0..G"),  # answers that came in this interval, for GRADE
    Field("graded_next", "1", "0..G"),
    Field("graded_stamp", "G", "0.."),
    Field("graded_action", "G B X"),
    Field("earned", "1"),  # what they earned
    Field("counts", "8", "0.."),
    Field("lateness", "65", "0.."),
    Field("log_count", "1", "0..W"),  # rewards and returns that Python has not taken yet
    Field("log", "W"),
    Field("return_count", "1", "0..W"),
    Field("return_log", "W"),
    Field("look_at", "1", "0.."),  # the decision or episode at which Python wants to look
    Field("begun", "B", "0..", digested=False),  # after how many decisions each stream's episode began
    Field("episode_log", "W 2", "0..", digested=False),  # beside each return: how many decisions the episode took, after how many of the run it ended
)
SETTINGS = (
    ("seed", int),
    ("waits", int),
    ("late", int),
    ("interval", int),  # microseconds, like the next two
    ("repeat", int),
    ("timeout", int),  # 0: without end
    ("answers", int),
    ("clip", float),
    ("dopamine", int),
    ("zero_at_limit", int),
    ("by_episode", int),
)


def dimensions(site: Site) -> dict[str, int]:
    """What its layout has beside streams."""
    graded = MOST_GRADED if site.scenario.task.world.late == "grade-by-stamp" else 0
    numbers = site.plan.actions if site.scenario.network.output == "linear" else 1
    return {"I": site.plan.inputs, "G": graded, "W": max(1024, 2 * site.scenario.task.streams), "X": numbers}


@bound
def begin(v, c):
    """Fill a fresh state: nothing heard, the first observation posed."""
    for array in (v.stamp, v.heard_stamp, v.heard_seq, v.used):
        array[:] = -1.0
    c.task.reset(v, c)


@kernel
def take_action(v, c, payload, b):
    """Take stream b's action from an activity message; returns whether it is another than before."""
    width = (payload.size - c.B) // c.B
    first = c.B + b * width
    if c.answers == REAL:
        changed = False
        for n in range(c.X):
            changed |= v.action[b, n] != payload[first + n]
            v.action[b, n] = payload[first + n]
        return changed
    action = 1.0 if payload[first] > 0.0 else 0.0
    if c.answers == ONE_HOT:
        best = 0
        for n in range(1, width):
            if payload[first + n] > payload[first + best]:
                best = n
        action = float(best)
    changed = v.action[b, 0] != action
    v.action[b, 0] = action
    return changed


@kernel
def hear(v, c, now, seq, stamp, payload, out):
    """Take in an action."""
    if stamp < v.heard_stamp[0] or (stamp == v.heard_stamp[0] and seq <= v.heard_seq[0]):
        return
    newer = stamp > v.heard_stamp[0]
    v.heard_stamp[0] = stamp
    v.heard_seq[0] = seq
    changed = False
    for b in range(c.B):
        changed |= take_action(v, c, payload, b)
    if stamp == v.used[0] and changed:
        v.counts[REVISED] += 1.0
        v.used[0] = -1.0
    if newer:
        v.fresh[0] = 1.0
    if c.late == GRADE:
        if newer and v.graded_count[0] == c.G:
            v.counts[UNGRADED] += 1.0
        elif newer:
            v.graded_stamp[int(v.graded_count[0])] = stamp
            v.graded_count[0] += 1.0
        last = int(v.graded_count[0]) - 1
        if last >= 0 and v.graded_stamp[last] == stamp:  # else its grade has gone out: an answer counts once, however often it is repeated
            for b in range(c.B):
                v.graded_action[last, b] = v.action[b]
    if c.waits == 1 and stamp == v.stamp[0] and v.closing[0] == 0.0:
        v.closing[0] = 1.0
        v.closes[0] = now + c.interval
        call_me(out, now + c.interval)


@kernel
def show(v, c, now, out, numbers):
    """Say the observation: the episode of each stream, then its values."""
    v.shown[0] = now
    size = c.B + c.B * c.I
    at = reserve(out, size)
    for b in range(c.B):
        numbers[at + b] = v.episode[b]
        for i in range(c.I):
            numbers[at + c.B + b * c.I + i] = v.observation[b, i]
    emit(out, ACTIVITY, ALL, int(v.stamp[0]), at, size)


@kernel
def next_turn(v, c, now):
    """When a world that does not wait has its next turn: as it closes the open decision, or says its observation again."""
    return int(min(v.closes[0], float(now + c.repeat)) if c.repeat > 0 else v.closes[0])


@kernel
def open_next(v, c, now, out, numbers):
    """Show the next observation."""
    v.stamp[0] += 1.0
    v.closing[0] = 0.0
    v.fresh[0] = 0.0
    show(v, c, now, out, numbers)
    if c.waits == 0:
        v.closes[0] = now + c.interval
        call_me(out, next_turn(v, c, now))
    elif v.guarded[0] == 0.0 and c.timeout > 0:
        v.guarded[0] = 1.0
        call_me(out, now + c.timeout)


@kernel
def show_again(v, c, now, out, numbers):
    """A turn at which nothing is to be closed."""
    if c.waits == 1 and now < v.shown[0] + c.timeout:
        call_me(out, int(v.shown[0]) + c.timeout)
        return
    show(v, c, now, out, numbers)
    call_me(out, next_turn(v, c, now) if c.waits == 0 else now + c.timeout)


@kernel
def account(v, c):
    """Count the action that the open decision uses."""
    stamp = v.heard_stamp[0]
    v.used[0] = stamp
    if stamp < 0.0:
        v.counts[MISSING] += 1.0
        return
    late = int(max(0.0, v.stamp[0] - stamp))  # a world resumed on real clocks may be behind those that answer it
    v.lateness[min(late, LATENESS)] += 1.0
    v.counts[ON_TIME if late == 0 else LATE] += 1.0
    if v.fresh[0] == 0.0:
        v.counts[REPEATED] += 1.0


@kernel
def mean(values):
    total = 0.0
    for b in range(values.size):
        total += values[b]
    return total / values.size


@kernel
def grade_next(v, c, out, numbers):
    """Tell what the next of this interval's answers earned."""
    n = int(v.graded_next[0])
    v.graded_next[0] += 1.0
    at = reserve(out, c.B)
    for b in range(c.B):
        numbers[at + b] = c.task.grade(v, c, int(v.graded_stamp[n]), b, v.graded_action[n, b])
    v.earned[0] += mean(view(numbers, at, (c.B,)))
    emit(out, REWARD, ALL, int(v.graded_stamp[n]), at, c.B)


@kernel
def note(log, count, value):
    """Add to a log; the host has been asked to empty it in time."""
    if count[0] < log.size:
        log[int(count[0])] = value
        count[0] += 1.0


@kernel
def note_episode(v, b):
    """Add the episode of a stream, which ends with the open decision, to the log."""
    n, ended = int(v.return_count[0]), v.counts[DECISIONS] + 1.0
    if n < v.return_log.size:
        v.episode_log[n, 0] = ended - v.begun[b]
        v.episode_log[n, 1] = ended
    note(v.return_log, v.return_count, v.total[b])


@kernel
def close_decision(v, c, out, numbers):
    """Draw up what the decision led to, episodes and the log, and say it; returns LOOK if the score is to be looked at."""
    credited = v.used[0]
    if c.late == WITHHOLD and credited != v.stamp[0]:
        credited = -1.0
    size = 1 + 3 * c.B
    at = reserve(out, size)
    transition = view(numbers, at, (size,))
    transition[0] = credited
    for b in range(c.B):
        bootstrap, valid = 1.0, 1.0
        earned = min(max(c.task.reward(v, c, b), -c.clip), c.clip)
        if v.over[b] == 1.0:
            valid, earned = 0.0, 0.0
            v.reward[b] = 0.0
            v.over[b] = 0.0
            v.episode[b] += 1.0
            v.begun[b] = v.counts[DECISIONS] + 1.0
        else:
            v.total[b] += v.reward[b]
            if v.ended[b] > 0.0:
                v.over[b] = 1.0
                note_episode(v, b)
                v.counts[EPISODES] += 1.0
                v.total[b] = 0.0
                if v.ended[b] == TERMINATED:
                    bootstrap = 0.0
                elif c.zero_at_limit == 1:
                    valid = 0.0
        transition[1 + b], transition[1 + c.B + b], transition[1 + 2 * c.B + b] = earned, bootstrap, valid
    # Each graded question counts when its answer comes; an unanswered one counts as chance.
    note(v.log, v.log_count, v.earned[0] if c.late == GRADE else mean(v.reward))
    v.counts[DECISIONS] += 1.0
    if c.dopamine == 1:
        emit(out, TRANSITION, ALL, int(v.stamp[0]), at, size)
    elif c.late != GRADE and credited >= 0.0:
        emit(out, REWARD, ALL, int(credited), at + 1, c.B)
    unit = v.counts[EPISODES] if c.by_episode == 1 else v.counts[DECISIONS]
    return LOOK if unit >= v.look_at[0] or v.log_count[0] == c.W or v.return_count[0] + c.B > c.W else 0


@kernel
def turn(v, c, now, reached, out, numbers):
    """Close the open decision and show the next observation, or show the open one again; in steps, if others have a part in it.

    `reached` is the decision that others have come to, if the world has gone back to an earlier state: the one that it closes takes its number.
    """
    if reached > 0 and reached > v.stamp[0] and v.phase[0] == IDLE:
        v.stamp[0] = reached
        v.closes[0] = now
    if v.phase[0] == IDLE:
        closes = v.stamp[0] < 0.0 or (now >= v.closes[0] and (c.waits == 0 or v.closing[0] == 1.0))
        if not closes:
            show_again(v, c, now, out, numbers)
            return 0
        if v.stamp[0] < 0.0:
            open_next(v, c, now, out, numbers)
            return 0
        account(v, c)
        v.graded_next[0] = 0.0
        v.earned[0] = 0.0
        v.phase[0] = GRADING
    if v.phase[0] == GRADING:
        if v.graded_next[0] < v.graded_count[0]:
            grade_next(v, c, out, numbers)
            return AGAIN
        v.graded_count[0] = 0.0
        v.phase[0] = STEPPING
    if v.phase[0] == STEPPING:
        v.phase[0] = STEPPED
        if not c.task.step(v, c):
            return STEP | AGAIN
    v.phase[0] = IDLE
    wanted = close_decision(v, c, out, numbers)
    open_next(v, c, now, out, numbers)
    return wanted


@bound
def handle(v, c, now, kind, port, seq, stamp, payload, out, numbers):
    """Take in one event, an action or its turn (TICK); returns what it asks of its host (AGAIN | STEP | LOOK)."""
    if kind == ACTIVITY:
        hear(v, c, now, seq, stamp, payload, out)
        return 0
    return turn(v, c, now, seq, out, numbers)
