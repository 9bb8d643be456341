"""When nodes act, as a scenario says it (loop/clock.py). Periods, phases and times are in ticks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from asyncnet.scenario.model import Model, Positive, Share, Ticks


class OnArrival(Model):
    kind: Literal["on-arrival"]


class Periodic(Model):
    kind: Literal["periodic"]
    period: Positive = Field(1.0, description="ticks of the scenario between two of its own; of a poisson clock the mean")
    jitter: Share = Field(0.0, description="each step is off by up to this share of the period")
    drift: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.0, description="the clock is off by up to this share, drawn once for each node")
    phase: Share | None = Field(None, description="first tick, in periods; absent: random")


class Poisson(Model):
    kind: Literal["poisson"]
    period: Positive = Field(1.0, description="ticks of the scenario between two of its own; of a poisson clock the mean")


class Straggler(Model):
    kind: Literal["straggler"]
    period: Positive = Field(1.0, description="ticks of the scenario between two of its own; of a poisson clock the mean")
    jitter: Share = Field(0.0, description="each step is off by up to this share of the period")
    phase: Share | None = Field(None, description="first tick, in periods; absent: random")
    slow: Annotated[float, Field(ge=1.0, le=1e3)] = Field(5.0, description="how many times slower, from start to stop")
    start: Ticks = Field(0.0, description="when it begins to be slow, in ticks")
    stop: Ticks = Field(1e9, description="when it is slow no more, in ticks")


Clock = Annotated[OnArrival | Periodic | Poisson | Straggler, Field(discriminator="kind")]
