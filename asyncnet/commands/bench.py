"""The verb that measures speed and memory."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Literal

import tyro

from asyncnet.commands.shared import Flag
from asyncnet.scenario.mistakes import ScenarioError


@dataclass(frozen=True)
class Bench:
    """Measure speed and memory here: one table, each figure beside a yardstick from the same run."""

    what: tyro.conf.Positional[tuple[Literal["embedded", "units", "wire", "recording", "windows", "startup"], ...]] = ()
    """Which figures; default: all."""
    seconds: float = 2.0
    """About how long each measurement takes."""
    json: Flag = False
    """Print one JSON object."""

    def __call__(self) -> int:
        from asyncnet.benchmarks import show

        if not 0.05 <= self.seconds <= 3600.0:
            raise ScenarioError("--seconds", "", f"from 0.05 to 3600, got {self.seconds}")
        rows = []
        try:
            for name in self.what or ("startup", "embedded", "units", "wire", "recording", "windows"):
                print(f"measuring {name}", file=sys.stderr, flush=True)
                measure = importlib.import_module(f"asyncnet.benchmarks.{name}").measure
                rows += measure() if name == "startup" else measure(self.seconds)
        finally:
            show(rows, self.json)  # whatever stops it: what has been measured took minutes
        return 0
