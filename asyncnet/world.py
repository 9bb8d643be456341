"""The world: the node that holds the task, shows observations, takes actions and says what they earned.

A world that does not wait closes decision k every `interval` ticks with the newest action it has heard, which may be one for an earlier observation
(its stamp tells), or repeats the last one. Like every sender it says its observation again on every tick, so that loss only delays; where that
can change nothing (Links.repeats) it saves its breath. A world that waits closes decision k `interval` ticks after the action for k has
come; if none comes it shows its observation again, so that a lost message only delays. What a decision earned goes out before the next observation,
under the stamp of the action that was used.

    late = "use"              a late action is taken as the action now, and credited to its own stamp
           "withhold"         it is taken, but earns no credit
           "grade-by-stamp"   it is judged against the question it was meant for (independent questions only)
"""

from __future__ import annotations

import numpy as np

from asyncnet.message import ACTIVITY, OUTCOME, REWARD, Letter
from asyncnet.metrics import Score
from asyncnet.scenario import World as Settings


class World:
    """A node like any other to its loop: it hears, it acts, it returns letters. Times are in microseconds."""

    def __init__(self, task: object, settings: Settings, tick: int, score: Score, *, one_hot: bool, dopamine: bool, repeats: bool) -> None:
        self.task, self.score = task, score
        self.waits, self.policy = settings.waits, settings.late
        self.interval = max(1, round(settings.interval * tick))
        self.repeat = tick if repeats else 0
        self.patience = max(1, round(settings.patience * tick))
        self.one_hot, self.dopamine = one_hot, dopamine
        self.streams = len(task.episode)
        self.decision = -1  # the decision that is open
        self.shown = 0  # when its observation was last shown
        self.heard = (-1, -1)  # stamp and sequence number of the newest action
        self.actions = np.zeros(self.streams, dtype=np.int64)
        self.fresh = False  # an action has come since the last decision
        self.used = -1  # the stamp of the action last used, until it is revised
        self.graded: list[tuple[int, np.ndarray]] = []  # actions that came in this interval, for grade-by-stamp
        self.closes = 0  # when it closes the open decision, as far as it knows
        self.closing = False  # a world that waits has heard what it waited for
        self.guarded = False

    def hear(self, now: int, channel: int, port: int, seq: int, stamp: int, payload: np.ndarray) -> int | None:
        """Take in an action; returns when the world wants its turn, if that has just become clear."""
        del channel, port
        if (stamp, seq) <= self.heard:
            return None
        newer = stamp > self.heard[0]
        self.heard = (stamp, seq)
        before, values = self.actions, payload[self.streams :]
        if self.one_hot:
            self.actions = values.reshape(self.streams, -1).argmax(1)
        else:
            self.actions = (values > 0.0).astype(np.int64)
        if stamp == self.used and (self.actions != before).any():
            self.score.revised += 1
            self.used = -1
        self.fresh = self.fresh or newer
        if self.policy == "grade-by-stamp":
            if newer:
                self.graded.append((stamp, self.actions))
            elif self.graded:  # else its grade has gone out: an answer counts once, however often it is repeated
                self.graded[-1] = (stamp, self.actions)
        if self.waits and stamp == self.decision and not self.closing:
            self.closing = True
            self.closes = now + self.interval
            return self.closes
        return None

    def act(self, now: int) -> tuple[list[Letter], int | None]:
        """Take a turn: close the open decision and show the next observation, or show the open one again. Returns letters and when to come back."""
        if not self.waits:
            if now < self.closes:
                letters = [self._show(now)]
            else:
                letters = self._next(now)
                self.closes = now + self.interval
            return letters, min(self.closes, now + self.repeat) if self.repeat else self.closes
        if self.decision < 0 or (self.closing and now >= self.closes):
            letters = self._next(now)
            if self.guarded:  # the turn that watches for silence is already on the agenda
                return letters, None
            self.guarded = True
            return letters, now + self.patience
        if now < self.shown + self.patience:
            return [], self.shown + self.patience
        return [self._show(now)], now + self.patience

    def _next(self, now: int) -> list[Letter]:
        letters: list[Letter] = []
        if self.decision >= 0:
            self._close(now, letters)
        self.decision += 1
        self.closing = False
        self.fresh = False
        letters.append(self._show(now))
        return letters

    def _show(self, now: int) -> Letter:
        self.shown = now
        return Letter(ACTIVITY, self.decision, np.concatenate((self.task.episode, self.task.observation.ravel())))

    def _close(self, now: int, letters: list[Letter]) -> None:
        self.used = stamp = self.heard[0]
        self.score.action(None if stamp < 0 else self.decision - stamp, not self.fresh)
        if self.policy == "grade-by-stamp":
            rewards = [(s, self.task.grade(s, actions)) for s, actions in self.graded]
            self.graded = []
            returns = self.task.step(self.actions).returns
            letters += [Letter(REWARD, s, reward) for s, reward in rewards]
            # Each question counts when its answer comes; an unanswered one counts as chance.
            self.score.decision(float(np.sum([mean(r) for _, r in rewards])), returns, now)
            return
        reward, boot, live, returns = self.task.step(self.actions)
        credited = -1 if self.policy == "withhold" and stamp != self.decision else stamp
        if self.dopamine:
            letters.append(Letter(OUTCOME, self.decision, np.array((credited, *reward, *boot, *live))))
        elif credited >= 0:
            letters.append(Letter(REWARD, credited, reward))
        self.score.decision(mean(reward), returns, now)

    @property
    def state(self) -> np.ndarray:
        """What the digest covers."""
        own = [float(self.decision), float(self.heard[0]), float(self.heard[1]), *self.actions.astype(np.float64)]
        return np.concatenate((own, self.task.state(), [float(np.sum(self.score.rewards))]))


def mean(rewards: np.ndarray) -> float:
    """The mean over streams, without the microseconds that NumPy's takes over one number."""
    return float(rewards[0] if rewards.size == 1 else rewards.mean())
