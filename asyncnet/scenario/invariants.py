"""What a run's figures must come to, as a scenario says it (runs/checks.py)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from asyncnet.scenario.model import Model

Figure = Literal[
    "mean_reward",
    "last_mean_reward",
    "mean_squared_error",
    "last_mean_squared_error",
    "episodes",
    "mean_return",
    "last_mean_return",
    "best_mean_return_50",
    "on_time",
    "late",
    "repeated",
    "missing",
    "final",
    "action_delay",
    "lost",
    "evicted",
]
Bounds = Annotated[dict[Figure, float], Field(max_length=16)]


class Checks(Model):
    """Bounds of a run's figures: those of its summary, `lost` (the share of its messages) and `evicted` (the share of credits whose sample was gone)."""

    at_least: Bounds = Field({}, description="figures of the run's end, such as last_mean_reward or on_time, and the least that each may be")
    at_most: Bounds = Field({}, description="figures, and the most that each may be: also lost (share of messages) and evicted (share of credits)")
