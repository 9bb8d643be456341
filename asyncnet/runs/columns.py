"""A file of numbers in a run's directory, read again by its columns. A directory is trusted for nothing."""

from __future__ import annotations

import csv
import io
import math
from array import array
from pathlib import Path

import numpy as np

from asyncnet.runs import durable
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.text import in_a_line

LARGEST = 1 << 28  # bytes
WHOLE = 2**53  # a float holds every whole number up to here


def read(path: Path, *needed: str, words: str = "") -> dict[str, np.ndarray]:
    """Each column under its name: whole numbers, or numbers, NaN where there is none; that of `words` as strings.

    Raises ScenarioError, with the reason, for a file that is not there, lacks a column of those `needed`, or is damaged.
    """
    try:
        lines = csv.reader(io.TextIOWrapper(io.BytesIO(durable.read(path, LARGEST)), "utf-8", newline=""))
        names = next(lines, [])
        if missing := [name for name in (*needed, *([words] if words else ())) if name not in names]:
            raise ValueError(f"there is no column {missing[0]!r}")
        if len(set(names)) < len(names):
            raise ValueError("two columns of one name")
        found = [list[str]() if name == words else array("d") for name in names]
        whole = [True] * len(names)
        for line in lines:
            if len(line) != len(names):
                raise ValueError(f"line {lines.line_num} has {len(line)} values, not {len(names)}")
            for number, (column, value) in enumerate(zip(found, line, strict=True)):
                column.append(value if names[number] == words else float(value) if value else math.nan)
                whole[number] &= value.isdecimal()
    except (OSError, ValueError, csv.Error) as error:
        raise ScenarioError(str(path), "", f"cannot be read: {in_a_line(error)}") from None
    arrays = [np.array(column) for column in found]
    return {name: _whole(column) if all_whole else column for name, column, all_whole in zip(names, arrays, whole, strict=True)}


def _whole(column: np.ndarray) -> np.ndarray:
    """The same as whole numbers, if they are none that a float has rounded."""
    return column.astype(np.int64) if column.dtype == float and (column < WHOLE).all() else column
