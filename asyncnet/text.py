"""What is written and shown as text: JSON that every reader takes, and lines that do nothing to a terminal, whatever a file holds."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


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
    if said.startswith("Traceback (most recent call last)"):  # of another process: its last line says what it was
        said = said.strip().splitlines()[-1]
    return " ".join(said.split())[:200] or type(error).__name__


class Steady:
    """A stream whose reader may go, or whose disk may fill, without harm to whoever writes: the rest of the text is dropped, and `trouble` says why."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.trouble: OSError | None = None

    def write(self, text: str) -> int:
        with self._dropping():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._dropping():
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        if self._stream is None:  # closed by the caller, or by trouble
            with suppress(AttributeError):
                yield
            return
        try:
            yield
        except OSError as error:
            self.trouble = error
            with suppress(OSError, ValueError):  # what is still in its buffer goes nowhere, else Python's own end would stumble over it
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)
            self._stream = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def steady() -> Iterator[Steady]:
    """Have both standard streams steady within; gives the first, standard output."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Steady(before[0]), Steady(before[1])
    try:
        yield sys.stdout
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
