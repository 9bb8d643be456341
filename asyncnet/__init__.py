"""A wind tunnel for asynchronous learning: networks whose units or layers are agents with clocks of their own."""

from __future__ import annotations

import importlib
from pathlib import Path

# In a bare checkout actors/ and scenarios/ lie beside this folder; once installed they lie inside it.
_beside = Path(__file__).resolve().parent.parent
if not (Path(__file__).parent / "actors").is_dir() and (_beside / "actors").is_dir():
    __path__.append(str(_beside))

__version__ = "0.1.0"

# Names are looked up on first use, so that importing asyncnet starts neither numba nor ray.
_WHERE = {
    "conditions": "api",
    "load": "api",
    "replay": "api",
    "replicate": "replicas",
    "resume": "api",
    "run": "api",
    "scenarios": "api",
    "validate": "api",
    "verify": "api",
    "Result": "api",
    "Scenario": "scenario",
    "ScenarioError": "scenario",
}

__all__ = ["Result", "Scenario", "ScenarioError", "load", "replay", "replicate", "resume", "run", "validate", "verify"]


def __getattr__(name: str) -> object:
    if name in _WHERE:
        return getattr(importlib.import_module(f"asyncnet.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'asyncnet' has no attribute {name!r}")
