"""Delays that were measured: a file of numbers becomes the quantiles that a scenario draws from, so that a run says all by itself what it went through."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from asyncnet.scenario.mistakes import ScenarioError, short

# What is kept of a distribution: straight lines between these, close together where delays are long.
SHARES = (
    *(0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98),
    *(0.985, 0.99, 0.9925, 0.995, 0.9975, 0.999, 0.9995, 0.9999, 1.0),
)
LARGEST = 1 << 24  # bytes
LONGEST = 1e9  # ticks


def looked_up(data: Any, folder: Path, where: str, path: tuple[str, ...] = ()) -> Any:
    """Plain data with the quantiles in the place of each file of delays that it names, in this folder or below; raises ScenarioError with the reason."""
    if isinstance(data, (list, tuple)):
        return [looked_up(value, folder, where, (*path, str(n))) for n, value in enumerate(data)]
    if not isinstance(data, dict):
        return data
    if data.get("kind") != "measured" or "file" not in data:
        return {key: looked_up(value, folder, where, (*path, key)) for key, value in data.items()}
    name, scale, key = data["file"], data.get("scale", 1.0), ".".join(path)
    if other := next((each for each in data if each not in ("kind", "file", "scale")), None):
        why = "give either a file or the quantiles themselves" if other == "quantiles" else "unknown key; beside a file there is scale"
        raise ScenarioError(where, f"{key}.{short(other)}", why)
    if not isinstance(name, str) or not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ScenarioError(where, f"{key}.file", f"{short(repr(name))} is no name of a file in this folder or below it")
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0.0 < scale < 1e12:
        raise ScenarioError(where, f"{key}.scale", f"the ticks for each unit of the file's numbers; got {short(repr(scale))}")
    try:
        found = quantiles(_lines(folder, name), scale)
    except (OSError, ValueError) as error:
        raise ScenarioError(where, f"{key}.file", f"{name}: {getattr(error, 'strerror', None) or error}") from None
    return {**{key: value for key, value in data.items() if key not in ("file", "scale")}, "quantiles": found}


def quantiles(lines: Iterable[str], scale: float = 1.0) -> list[list[float]]:
    """Pairs of a share and the ticks that this share of the numbers is at most, of a number a line; raises ValueError."""
    numbers = []
    for n, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            number = -1.0 if "_" in text else float(text)
        except ValueError:
            number = -1.0
        if not 0.0 <= number < math.inf:
            raise ValueError(f"line {n} is no delay: {short(repr(text))}; a number a line, and lines that begin with #")
        if number * scale > LONGEST:
            raise ValueError(f"line {n} is a delay of {number * scale:g} ticks ({short(text)} times {scale:g}); {LONGEST:g} at most")
        numbers.append(number * scale)
    if len(numbers) < 2:
        raise ValueError(f"{len(numbers)} numbers: at least two are needed")
    return [[share, float(delay)] for share, delay in zip(SHARES, np.quantile(numbers, SHARES), strict=True)]


def _lines(folder: Path, name: str) -> list[str]:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError("leads out of this folder")
    if path.exists() and not path.is_file():  # a pipe might never end, nor begin
        raise ValueError("no plain file")
    with path.open("rb") as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise ValueError(f"larger than {LARGEST} bytes")
    return text.decode("utf-8-sig").split("\n")
