"""A wind tunnel for asynchronous learning: networks whose units or layers are agents with clocks of their own."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

# In a bare checkout actors/ and scenarios/ lie beside this folder; once installed they lie inside it.
_beside = Path(__file__).resolve().parent.parent
if not (Path(__file__).parent / "actors").is_dir() and (_beside / "actors").is_dir():
    __path__.append(str(_beside))

__version__ = "0.1.0"

# Names are looked up on first use, so that importing asyncnet starts neither numba nor ray. No submodule may have the name of one of them, for importing
# it would put it in that name's place.
_WHERE = {
    "list_conditions": "api",
    "list_scenarios": "api",
    "list_studies": "api",
    "load": "api",
    "evaluate": "runs.evaluation",
    "explain": "studies.frames",
    "new": "templates.new",
    "open": "runs.opened",
    "plot": "studies.frames",
    "properties": "studies.properties",
    "register": "scenario.outside",
    "replay": "api",
    "replicate": "runs.replicas",
    "report": "studies.frames",
    "resume": "api",
    "run": "api",
    "sweep": "studies.frames",
    "timeline": "api",
    "validate": "api",
    "verify": "api",
    "watch": "viewer.serving",
    "Result": "runs.result",
    "Scenario": "scenario.schema",
    "ScenarioError": "scenario.mistakes",
}

__all__ = [
    "Result",
    "Scenario",
    "ScenarioError",
    "evaluate",
    "explain",
    "list_conditions",
    "list_scenarios",
    "list_studies",
    "load",
    "new",
    "open",
    "plot",
    "properties",
    "register",
    "replay",
    "replicate",
    "report",
    "resume",
    "run",
    "sweep",
    "timeline",
    "validate",
    "verify",
    "watch",
]

if TYPE_CHECKING:
    from asyncnet.api import list_conditions, list_scenarios, list_studies, load, replay, resume, run, timeline, validate, verify
    from asyncnet.runs.evaluation import evaluate
    from asyncnet.runs.opened import open
    from asyncnet.runs.replicas import replicate
    from asyncnet.runs.result import Result
    from asyncnet.scenario.mistakes import ScenarioError
    from asyncnet.scenario.outside import register
    from asyncnet.scenario.schema import Scenario
    from asyncnet.studies.frames import explain, plot, report, sweep
    from asyncnet.studies.properties import properties
    from asyncnet.templates.new import new
    from asyncnet.viewer.serving import watch


def __getattr__(name: str) -> object:
    if name in _WHERE:
        return getattr(importlib.import_module(f"asyncnet.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'asyncnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
