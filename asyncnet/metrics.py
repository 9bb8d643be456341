"""What the world measures while the team learns."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

LATENESS = 64  # decisions; later actions count as that late


class Score:
    """Rewards, returns and punctuality, and one row of progress now and then."""

    def __init__(self, decisions: int | None, episodes: int | None, rows: int = 200) -> None:
        self.decisions, self.episodes = 0, 0
        self.goal_decisions, self.goal_episodes = decisions, episodes
        self.rewards: list[float] = []  # mean over streams, for each decision
        self.returns: list[float] = []
        self.on_time = self.late = self.missing = self.repeated = 0
        self.revised = 0  # decisions that used an action before its final version
        self.lateness = [0] * (LATENESS + 1)
        self.rows: list[dict[str, Any]] = []
        self._recent: deque[float] = deque(maxlen=100)
        self._every = max(1, (decisions or episodes or 1) // rows)
        self._since = 0

    @property
    def finished(self) -> bool:
        if self.goal_decisions is not None:
            return self.decisions >= self.goal_decisions
        return self.episodes >= self.goal_episodes

    @property
    def done(self) -> float:
        """The share of the run that is behind us."""
        return self.decisions / self.goal_decisions if self.goal_decisions else self.episodes / self.goal_episodes

    def action(self, lateness: int | None, repeated: bool) -> None:
        """Count the action a decision used: how many decisions late, None if there never was one; `repeated` if none had come since the last."""
        if lateness is None:
            self.missing += 1
            return
        self.lateness[min(lateness, LATENESS)] += 1
        self.on_time += lateness == 0
        self.late += lateness > 0
        self.repeated += repeated

    def decision(self, reward: float, returns: list[float], now: int) -> None:
        """Count one decision, its mean reward and the returns of episodes it ended; `now` in microseconds."""
        self.decisions += 1
        self.rewards.append(reward)
        for value in returns:
            self.returns.append(value)
            self._recent.append(value)
            self.episodes += 1
        unit = self.decisions if self.goal_decisions is not None else self.episodes
        if unit // self._every > self._since or self.finished:
            self._since = unit // self._every
            self.rows.append(self.row(now))

    def row(self, now: int) -> dict[str, Any]:
        """Progress so far; names as in Stable-Baselines3 where it has one."""
        window = self.rewards[-max(1, len(self.rewards) // 20) :]
        row = {"decisions": self.decisions, "time/simulated_s": now / 1e6, "rollout/mean_reward": float(np.mean(window)) if window else 0.0}
        if self._recent:
            row |= {"rollout/episodes": self.episodes, "rollout/ep_rew_mean": float(np.mean(self._recent))}
        return row | {"world/on_time": self.on_time / max(1, self.decisions), "done": self.done}

    def summary(self) -> dict[str, Any]:
        rewards = np.array(self.rewards)
        used = self.on_time + self.late
        return {
            "decisions": self.decisions,
            "mean_reward": float(rewards.mean()) if rewards.size else None,
            "last_mean_reward": float(rewards[-max(1, rewards.size // 10) :].mean()) if rewards.size else None,
            "episodes": self.episodes,
            "mean_return": float(np.mean(self.returns)) if self.returns else None,
            "last_mean_return": float(np.mean(self.returns[-100:])) if self.returns else None,
            "best_mean_return_50": _best_window(self.returns, 50),
            "on_time": self.on_time / max(1, self.decisions),
            "late": self.late / max(1, self.decisions),
            "repeated": self.repeated / max(1, self.decisions),
            "missing": self.missing / max(1, self.decisions),
            "final": 1.0 - self.revised / max(1, self.decisions),
            "staleness": float(np.dot(self.lateness, np.arange(LATENESS + 1))) / used if used else 0.0,
        }


def _best_window(values: list[float], width: int) -> float | None:
    """The largest mean over `width` consecutive values, None if there are fewer."""
    if len(values) < width:
        return None
    total = np.concatenate(([0.0], np.cumsum(values)))
    return float(np.max(total[width:] - total[:-width]) / width)
