"""The public names, in the order in which they are met; whichever stands in no group is in the last."""

from __future__ import annotations

import inspect

import asyncnet

GROUPS = {
    "What there is": ("list_scenarios", "list_conditions", "list_studies", "register", "new"),
    "A scenario": ("load", "validate", "Scenario", "ScenarioError"),
    "Running it": ("run", "replicate", "resume", "Result"),
    "Looking into a run": ("open", "evaluate", "verify", "replay"),
    "Many runs": ("sweep",),
}
MEMBERS = {"Scenario": ("replace", "under_layers", "data", "toml", "fingerprint")}  # of a model, what is not the model's own
BESIDE = {  # not called by name, but met: what a function takes, or gives
    "asyncnet.runs.live.Live": "Running it",
    "asyncnet.runs.opened.Opened": "Looking into a run",
    "asyncnet.studies.study.Study": "Many runs",
    "asyncnet.studies.study.Variant": "Many runs",
}


def text() -> str:
    """A section for each group."""
    named = {name for names in GROUPS.values() for name in names}
    groups = {**GROUPS, "More": tuple(name for name in asyncnet.__all__ if name not in named)}
    parts = []
    for heading, names in groups.items():
        entries = [_entry(f"asyncnet.{name}", getattr(asyncnet, name), MEMBERS.get(name)) for name in names if name in asyncnet.__all__]
        entries += [f".. autoclass:: {name}\n   :members:\n   :exclude-members: model_config\n" for name, where in BESIDE.items() if where == heading]
        if entries:
            parts.append(f"## {heading}\n\n```{{eval-rst}}\n" + "\n".join(entries) + "```\n")
    return "\n".join(parts)


def _entry(name: str, what: object, members: tuple[str, ...] | None) -> str:
    if not inspect.isclass(what):
        return f".. autofunction:: {name}\n"
    return f".. autoclass:: {name}\n   :members: {', '.join(members or ())}\n"
