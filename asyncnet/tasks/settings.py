"""The settings that every task shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from asyncnet.scenario.model import Count, Model, Positive, Share

if TYPE_CHECKING:
    from asyncnet.scenario.schema import Scenario


class World(Model):
    """How the task meets the team."""

    waits: bool = Field(description="whether it waits for the action of the current decision")
    interval: Positive = Field(description="ticks between decisions; if it waits, ticks between an action's coming and its step")
    late: Literal["use", "withhold", "grade-by-stamp"] = Field("use", description="what it does with an action for an earlier observation")
    timeout: Positive = Field(1000.0, description="if it waits: ticks after which it shows its observation again")


class Task(Model):
    streams: Annotated[int, Field(ge=1, le=4096)] = Field(1, description="parallel copies of the task in one message")
    gamma: Share = Field(1.0, description="discount")
    decisions: Count | None = Field(None, description="length of a run in decisions; either this or episodes")
    episodes: Count | None = Field(None, description="length of a run in episodes")
    world: World = Field(description="how the task meets the team")

    def check(self, scenario: Scenario) -> tuple[str, str] | None:
        """What does not fit, in the settings themselves or with the rest of the scenario: (key, why)."""
        return None
