"""What messages go through, as a scenario says it (loop/link.py). Delays are in ticks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from asyncnet.scenario.model import Model, Positive, Share, Ticks


class Constant(Model):
    kind: Literal["constant"]
    value: Ticks = Field(description="ticks")


class Uniform(Model):
    kind: Literal["uniform"]
    low: Ticks = Field(description="ticks, at least")
    high: Ticks = Field(description="ticks, at most")


class Exponential(Model):
    kind: Literal["exponential"]
    mean: Positive = Field(description="ticks, on average")


class Lognormal(Model):
    kind: Literal["lognormal"]
    mean: Positive = Field(description="ticks, on average")
    sigma: Annotated[float, Field(ge=0.0, le=10.0)] = Field(description="spread of its logarithm")


class Normal(Model):
    kind: Literal["normal"]
    mean: Positive = Field(description="ticks, on average")
    sigma: Ticks = Field(description="ticks, their spread; what would be less than 0 is 0")


def _plain_delay(value: object) -> object:
    return {"kind": "constant", "value": value} if isinstance(value, (int, float)) and not isinstance(value, bool) else value


class Measured(Model):
    kind: Literal["measured"]
    quantiles: Annotated[tuple[tuple[Share, Ticks], ...], Field(min_length=2, max_length=32)] = Field(
        description="pairs of a share and the ticks that this share of the messages takes at most, from 0 to 1; straight lines in between. Or file = "
        '"delays.csv": what was measured, a number a line, beside the file that says so; and scale, ticks for each unit of its numbers'
    )


Delay = Annotated[Constant | Uniform | Exponential | Lognormal | Normal, Field(discriminator="kind")]
AnyDelay = Annotated[Delay, BeforeValidator(_plain_delay, json_schema_input_type=Ticks | Delay)]
DelayOfFault = Annotated[Constant | Uniform | Exponential | Lognormal | Normal | Measured, Field(discriminator="kind")]
AnyDelayOfFault = Annotated[DelayOfFault, BeforeValidator(_plain_delay, json_schema_input_type=Ticks | DelayOfFault)]


class Condition(Model):
    """One hardship of a link; several of them compose."""

    delay: AnyDelay | None = Field(None, description="ticks that a message takes; a number is a constant; adds to that of links.default")
    loss: Share | None = Field(None, description="share of the messages that are lost")
    reliable: bool | None = Field(None, description="a lost message is sent again after links.retry ticks; absent: so it is on every channel but activity")
    stale: Annotated[int, Field(ge=0, le=4000)] | None = Field(None, description="held back until so many later ones were sent")


def _in_a_list(value: object) -> object:
    return (value,) if isinstance(value, dict) else value


Conditions = Annotated[tuple[Condition, ...], BeforeValidator(_in_a_list, json_schema_input_type=Condition | tuple[Condition, ...]), Field(max_length=32)]


class Links(Model):
    """What messages go through, always. `default` applies to every channel, before the channel's own conditions."""

    default: Conditions = Field((), description="conditions of every channel")
    activity: Conditions = Field((), description="conditions of values downstream")
    feedback: Conditions = Field((), description="conditions of what a rule tells its inputs")
    reward: Conditions = Field((), description="conditions of reward or TD error")
    transition: Conditions = Field((), description="conditions of what the world tells the dopamine node")
    retry: Positive = Field(2.0, description="ticks after which a lost message is sent again on a reliable link")

    def of(self, channel: str) -> tuple[Condition, ...]:
        """All conditions of a channel, in the order in which they are applied."""
        return (*self.default, *getattr(self, channel))

    def reliable(self, channel: str) -> bool:
        """Whether lost messages of a channel are sent again; unless said otherwise all but activity, which repeats itself anyway."""
        said = [condition.reliable for condition in self.of(channel) if condition.reliable is not None]
        return said[-1] if said else channel != "activity"

    def repeats(self) -> bool:
        """Whether it can matter that activity is said again: if it may be lost or held back, or if a repetition may arrive before the original."""
        return any(c.loss or c.stale or (c.delay and c.delay.kind != "constant") for c in self.of("activity"))

    def stale(self, channel: str) -> int:
        """How many messages of a channel are held back."""
        return sum(condition.stale or 0 for condition in self.of(channel))
