"""What is written and shown as text: JSON that every reader takes, and lines that do nothing to a terminal, whatever a file holds."""

from __future__ import annotations

import json
import math
from typing import Any


def as_json(value: Any, indent: int | None = None) -> str:
    """A value as JSON; numbers that JSON does not have (NaN, infinity) are null."""
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), indent=indent, allow_nan=False)


def printable(text: str) -> str:
    """The text in one line, and what cannot be printed, such as the escapes that a terminal obeys, as Python writes it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def in_a_line(error: BaseException) -> str:
    """What an exception says, in one line of at most 200 characters."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split())[:200] or type(error).__name__


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
