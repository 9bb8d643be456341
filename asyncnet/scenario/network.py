"""The team's shape, as a scenario says it: layers, units, what is a node, when a node is ready."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from asyncnet.rules.settings import Size
from asyncnet.scenario.model import Model

Units = Literal["bernoulli", "sign", "softplus", "relu", "linear"]


class Network(Model):
    hidden: Annotated[tuple[Size, ...], Field(max_length=64)] = Field(description="units of each hidden layer, first to last; lms has none: []")
    split: Literal["layer", "unit"] | Size = Field("layer", description="what is a node: a layer, a unit, or a group of so many units")
    units: Units | Annotated[tuple[Units, ...], Field(min_length=1, max_length=64)] = Field(
        "bernoulli", description="hidden units, of all layers or of each: {0,1}, {-1,+1}, or Gaussian about a softplus, ReLU or linear mean"
    )
    output: Literal["softmax", "bernoulli", "sign", "linear"] = Field(
        "softmax", description="a softmax group over the actions, one unit for two actions, or Gaussian about a linear mean for real-valued actions"
    )
    inputs: dict[str, tuple[str, ...]] = Field({}, description='what a layer hears, if not the one before: "actor.2" = ["observation", "actor.1"]')
    reach: Size | None = Field(None, description="single hidden units hear so many units of each source, those nearest to their own place; absent: all")
    ready: Literal["auto", "revise", "all"] = Field("auto", description="when a node acts on a stamp; auto: all on on-arrival clocks, else revise")
    timeout: Annotated[int, Field(ge=1, le=10**6)] = Field(4, description="own ticks a node waits for missing inputs")
    lag: Annotated[int, Field(ge=0, le=10**6)] = Field(2, description="stamps an input may be behind and still be waited for")

    def kinds(self) -> tuple[str, ...]:
        """The units of each hidden layer."""
        return (self.units,) * len(self.hidden) if isinstance(self.units, str) else self.units
