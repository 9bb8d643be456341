"""The settings that every rule shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from asyncnet.optimizers import Optimizer, adam
from asyncnet.scenario.model import Model

if TYPE_CHECKING:
    from asyncnet.scenario.schema import Scenario


def _several(value: object) -> object:
    return (value,) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


Size = Annotated[int, Field(ge=1, le=65_536)]
Rate = Annotated[float, Field(ge=0.0, le=1e3)]
# One number for all layers or one for each, first to output.
PerLayer = Annotated[tuple[Rate, ...], BeforeValidator(_several, json_schema_input_type=Rate | tuple[Rate, ...]), Field(min_length=1)]


class LearnerSettings(Model):
    """How a node follows its gradient, and how it gives credit to what it did."""

    EPSILON: ClassVar[float] = 1e-8  # of Adam, as published for the rule
    learning_rate: PerLayer = Field(description="step size of each layer, first to output; one number: the same for all")
    learning_rate_end: PerLayer | None = Field(None, description="step size after `anneal` updates; absent: constant")
    anneal: Annotated[int, Field(ge=0)] = Field(0, description="updates over which the step size falls linearly")
    optimizer: Optimizer = Field(adam.Settings(), description="how a weight follows its gradient: adam, rmsprop, sgd, idbd (optimizers/)")
    credit: Literal["stamped", "trace"] = Field("stamped", description="stamped: to the sample it belongs to; trace: to a decaying trace")
    lambda_: Annotated[float, Field(ge=0.0, le=1.0)] = Field(0.0, alias="lambda", description="trace decay per decision, times the task's gamma")
    archive: Annotated[int, Field(ge=0, le=4096)] = Field(0, description="samples kept for stamped credit; 0: as many as credit may be late (lateness.py)")


class CoagentSettings(LearnerSettings):
    """Stochastic units."""

    temperature: PerLayer = Field((1.0,), description="of stochastic units: their summed input is divided by it; one number: the same for all layers")


class SettlingSettings(CoagentSettings):
    """Gaussian units that settle towards their most probable values (settling.py)."""

    EPSILON: ClassVar[float] = 1e-9
    variance: PerLayer = Field(
        (0.3, 1.0), description="of each hidden layer's units, first to last, and of an output of real numbers; one number: the same for all"
    )
    step: Annotated[float, Field(gt=0.0, le=1.0)] = Field(0.5, description="share of the way to the mode that a unit goes in one step; 0.5 as published")
    start: Literal["zero", "sample", "mean"] = Field("sample", description="where a unit begins at a new observation")
    decide: Annotated[int, Field(ge=0, le=4000)] = Field(0, description="rounds or ticks after a new observation in which the output draws its action anew")
    gate: Literal["none", "inverse", "difference"] = Field(
        "none", description="value networks: 1 / (A - mean) after settling as released, or A - mean before it"
    )

    def check(self, scenario: Scenario, table: str) -> tuple[str, str] | None:
        """What does not fit the rest of the scenario: (key, why)."""
        real = table == "critic" or scenario.network.output == "linear"
        count = len((self if table == "critic" else scenario.network).hidden) + real
        if len(self.variance) not in (1, count) or min(self.variance) <= 0.0:
            return f"{table}.variance", f"one positive number, or {count}: one for each hidden layer" + (" and one for the output" if real else "")
        if self.gate != "none" and not real:
            return f"{table}.gate", "a gate belongs to a linear output"
        return None


class ValueNetwork(Model):
    """What a critic that is a team of its own says of its network."""

    hidden: Annotated[tuple[Size, ...], Field(min_length=1, max_length=64)] = Field((64, 32), description="units of each hidden layer, first to last")
    units: Literal["softplus", "relu", "linear"] = Field("softplus", description="hidden units: Gaussian about a softplus, ReLU or linear mean")
    gate: Literal["inverse", "difference"] = Field("inverse", description="1 / (A - mean) after settling as released, or A - mean before it")


def per_layer(values: tuple[float, ...], layer: int) -> float:
    """The value of layer 0, 1, ...: one value stands for all."""
    return values[layer] if len(values) > 1 else values[0]
