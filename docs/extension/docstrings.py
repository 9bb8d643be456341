"""Docstrings here are plain text with code in single backticks, and equations set in by four spaces: put so that reST takes them for what they are."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel


def as_rest(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Change the lines of a docstring in place."""
    made: list[str] = []
    inside = False
    for line in lines:
        if line.startswith("    "):
            made += ([] if inside else ["::", ""]) + [line]
            inside = True
        elif not line.strip():
            made.append(line)
        else:
            inside = False
            made.append(_plain(line))
    lines[:] = made


def without_fields(app: Any, what: str, name: str, obj: object, options: object, signature: str | None, returns: str | None) -> tuple[str | None, str | None]:
    """A model is read from a file, and is not made by hand: its page says what it does, not what it is made of."""
    return ("", None) if isinstance(obj, type) and issubclass(obj, BaseModel) else (signature, returns)


def _plain(line: str) -> str:
    parts = re.split(r"(`[^`]+`)", line)
    return "".join(part if index % 2 else re.sub(r"([\\*_|])", r"\\\1", part) for index, part in enumerate(parts))
