"""The strict model that whatever comes from a file is checked with, and the numbers that many settings are."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

# With a tick of at most 1e6 microseconds, thirty-two of the longest delays, or a straggler's period, stay far below 2^63 microseconds.
Ticks = Annotated[float, Field(ge=0.0, le=1e9)]
Positive = Annotated[float, Field(gt=0.0, le=1e9)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1, le=10**12)]


class Model(BaseModel):
    """Strict and closed: no coercion between types, no unknown key, no NaN or infinity."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True, serialize_by_alias=True)


def as_tuples(value: Any) -> Any:
    """Lists as tuples all the way down: the strict model takes no list for a tuple."""
    if isinstance(value, dict):
        return {key: as_tuples(item) for key, item in value.items()}
    return tuple(as_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value


def as_lists(value: Any) -> Any:
    """Tuples as lists all the way down, as TOML and JSON have them."""
    if isinstance(value, dict):
        return {key: as_lists(item) for key, item in value.items()}
    return [as_lists(item) for item in value] if isinstance(value, (list, tuple)) else value
