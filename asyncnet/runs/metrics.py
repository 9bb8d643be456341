"""What the world measures while the team learns."""

from __future__ import annotations

from typing import Any

import numpy as np

from asyncnet.kernels.layout import Views
from asyncnet.runs.rewards import Rewards

KEPT = 3
"""Logs full of rewards that are known each: what a run without episodes, of which another length is asked, lays its log from."""


class Score:
    """Rewards, returns and punctuality, taken from the world's state when it asks for it, and one row of progress now and then.

    Where a reward is minus a squared error (`squared_error`), that error is what is said of it.
    """

    def __init__(self, decisions: int | None, episodes: int | None, rows: int = 200, *, squared_error: bool = False) -> None:
        self.squared_error = squared_error
        self.decisions = self.episodes = 0
        self.goal_decisions, self.goal_episodes = decisions, episodes
        self.rewards = Rewards()  # mean over streams, for each decision
        self.returns: list[float] = []
        self.lengths: list[int] = []  # decisions that each episode took
        self.ends: list[int] = []  # after how many decisions of the run it ended
        self._ahead = [0, 0]  # rewards and returns that were taken and are still in the world's log
        self.on_time = self.late = self.missing = self.repeated = 0
        self.revised = 0  # decisions that used an action before its final version
        self.lateness: list[float] = []  # decisions whose action was so many decisions late; the last counts all that were later still
        self.now = 0  # microseconds of the run's time
        self.rows: list[dict[str, Any]] = []
        self.every = max(1, (decisions or episodes or 1) // rows)  # decisions or episodes between rows
        self.look_at = self.every  # the decision or episode at which the next row is due
        self._calls, self._call_at = 0, 0
        self.called = False  # whether somebody who watches is due to be called

    @property
    def finished(self) -> bool:
        if self.goal_decisions is not None:
            return self.decisions >= self.goal_decisions
        return self.episodes >= self.goal_episodes

    @property
    def done(self) -> float:
        """The share of the run that is behind us."""
        return self.decisions / self.goal_decisions if self.goal_decisions else self.episodes / self.goal_episodes

    def take(self, v: Views, now: int) -> None:
        """Take what the world (world.py) has logged since the last time, and write a row if one is due; `now` in microseconds."""
        self._copy(v)
        self._count(v)
        self.now = now
        unit = self.decisions if self.goal_decisions is not None else self.episodes
        self.called = bool(self._calls) and unit >= self._call_at
        if not self.called or unit >= self.look_at or full(v):  # the log of a run that is watched is emptied when that of any other would be
            self._ahead = [0, 0]
            if self.goal_decisions is not None and not self.returns:  # episodes empty the log too: how far back it reaches depends on their lengths
                self.rewards.keep(KEPT * v.log.size)
            v.log_count[0] = v.return_count[0] = 0.0
        if unit >= self.look_at or self.called:
            goal = self.goal_decisions or self.goal_episodes
            if unit >= self.look_at:
                self.rows.append(self.row(now))
                self.look_at = self.after(unit)
            if self.called:
                self._call_at = (unit // self._calls + 1) * self._calls
            v.look_at[0] = min(self.look_at, self._call_at) if self._calls and unit < goal else self.look_at

    def after(self, unit: int) -> int:
        """The decision or episode at which a row is due, after one at `unit`."""
        return min((unit // self.every + 1) * self.every, max(unit + 1, self.goal_decisions or self.goal_episodes))

    def _copy(self, v: Views) -> None:
        """Take what is new in the world's log, and leave it there."""
        (first, other), rewards, returns = self._ahead, int(v.log_count[0]), int(v.return_count[0])
        self.rewards.extend(v.log[first:rewards].tolist())
        self.returns.extend(v.return_log[other:returns].tolist())
        self.lengths.extend(v.episode_log[other:returns, 0].astype(int).tolist())
        self.ends.extend(v.episode_log[other:returns, 1].astype(int).tolist())
        self._ahead = [rewards, returns]

    def _count(self, v: Views) -> None:
        self.decisions, self.episodes, self.on_time, self.late, self.missing, self.repeated, self.revised = v.counts[:7].astype(int).tolist()
        self.lateness = v.lateness.tolist()

    def watch(self, v: Views, every: int) -> None:
        """Be called every so many decisions, or episodes where the run's length is given in these."""
        unit = self.decisions if self.goal_decisions is not None else self.episodes
        self._calls, self._call_at = every, (unit // every + 1) * every
        v.look_at[0] = min(self.look_at, self._call_at)

    def saved(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """All that was taken so far and is no longer in the world's log, as plain data and arrays."""
        latest, returns = self.rewards.latest, len(self.returns) - self._ahead[1]
        arrays = {"rewards": latest[: len(latest) - self._ahead[0]], "sums": self.rewards.sums, "returns": np.array(self.returns, dtype=float)[:returns]}
        arrays["episodes"] = np.array([self.lengths[:returns], self.ends[:returns]], dtype=np.int64)
        return {"rows": list(self.rows), "look_at": self.look_at}, arrays

    def restore(self, v: Views, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Go on from what `saved` gave; what the world counts itself comes with its state."""
        self._count(v)
        self.rows, self.look_at = list(about["rows"]), about["look_at"]
        self.rewards = Rewards(arrays["rewards"], arrays.get("sums", ()), self.decisions - len(arrays["rewards"]) - int(v.log_count[0]))
        self.returns = arrays["returns"].tolist()
        self.lengths, self.ends = arrays["episodes"].tolist()

    def row(self, now: int) -> dict[str, Any]:
        """Progress so far; names as in Stable-Baselines3 where it has one."""
        mean = self.rewards.mean(max(1, len(self.rewards) // 20))
        row = {"decisions": self.decisions, "time/simulated_s": now / 1e6, "rollout/mean_reward": mean or 0.0}
        if self.returns:
            row |= {"rollout/episodes": self.episodes, "rollout/ep_rew_mean": float(np.mean(self.returns[-100:]))}
        if self.squared_error:
            row["rollout/mean_squared_error"] = -row["rollout/mean_reward"]
        return row | {"world/on_time": self.on_time / max(1, self.decisions), "done": self.done}

    def summary(self) -> dict[str, Any]:
        used = self.on_time + self.late
        mean, last = self.rewards.mean(), self.rewards.mean(max(1, len(self.rewards) // 10))
        return {
            "decisions": self.decisions,
            "mean_reward": mean,
            "last_mean_reward": last,
            "mean_squared_error": -mean if self.squared_error and mean is not None else None,
            "last_mean_squared_error": -last if self.squared_error and mean is not None else None,
            "episodes": self.episodes,
            "mean_return": float(np.mean(self.returns)) if self.returns else None,
            "last_mean_return": float(np.mean(self.returns[-100:])) if self.returns else None,
            "best_mean_return_50": _best_window(self.returns, 50),
            "on_time": self.on_time / max(1, self.decisions),
            "late": self.late / max(1, self.decisions),
            "repeated": self.repeated / max(1, self.decisions),
            "missing": self.missing / max(1, self.decisions),
            "final": 1.0 - self.revised / max(1, self.decisions),
            "action_delay": float(np.dot(self.lateness, np.arange(len(self.lateness)))) / used if used else None,
            "lateness": np.trim_zeros(np.array(self.lateness, dtype=int), "b").tolist(),
            "simulated_s": self.now / 1e6,
        }


def full(v: Views) -> bool:
    """Whether the world's log has to be emptied (world.close_decision asks the same)."""
    return bool(v.log_count[0] == v.log.size or v.return_count[0] + v.over.size > v.return_log.size)


def _best_window(values: list[float], width: int) -> float | None:
    """The largest mean over `width` consecutive values, None if there are fewer."""
    if len(values) < width:
        return None
    total = np.concatenate(([0.0], np.cumsum(values)))
    return float(np.max(total[width:] - total[:-width]) / width)
