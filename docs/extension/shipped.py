"""What comes with asyncnet: scenarios, conditions, rules and tasks, with a line each."""

from __future__ import annotations

from collections.abc import Mapping

from asyncnet import api
from asyncnet.rules import RULES
from asyncnet.tasks import TASKS
from extension.markdown import code, plain, table


def text() -> str:
    """A table of each."""
    tasks = api.list_tasks()
    scenarios = [(code(name), code(tasks[name]), plain(question)) for name, question in api.list_scenarios().items()]
    parts = {
        "Scenarios": table(("name", "task", "question"), scenarios),
        "Conditions": _listed(api.list_conditions()),
        "Rules": _listed({name: module.LINE for name, module in RULES.items()}),
        "Tasks": _listed({name: module.LINE for name, module in TASKS.items()}),
    }
    return "\n\n".join(f"## {heading}\n\n{found}" for heading, found in parts.items())


def _listed(lines: Mapping[str, str]) -> str:
    return table(("name", "what it is"), [(code(name), plain(line)) for name, line in lines.items()])
