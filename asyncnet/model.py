"""The strict model that whatever comes from a file is checked with."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Strict and closed: no coercion between types, no unknown key, no NaN or infinity."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True, serialize_by_alias=True)
