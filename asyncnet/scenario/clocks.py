"""When nodes act, as a scenario says it (loop/clock.py). Periods, phases and times are in ticks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from asyncnet.scenario.model import Model, Positive, Share, Ticks


class OnArrival(Model):
    kind: Literal["on-arrival"]


class Periodic(Model):
    kind: Literal["periodic"]
    period: Positive = 1.0
    jitter: Share = 0.0
    drift: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    phase: Share | None = Field(None, description="first tick, in periods; absent: random")


class Poisson(Model):
    kind: Literal["poisson"]
    period: Positive = 1.0


class Straggler(Model):
    kind: Literal["straggler"]
    period: Positive = 1.0
    jitter: Share = 0.0
    phase: Share | None = None
    slow: Annotated[float, Field(ge=1.0, le=1e3)] = 5.0
    start: Ticks = 0.0
    stop: Ticks = 1e9


Clock = Annotated[OnArrival | Periodic | Poisson | Straggler, Field(discriminator="kind")]
