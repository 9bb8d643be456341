"""A task that somebody steps in Python, with what holds where its object says nothing, and with its exceptions told as what became of the run.

begin(v)                        write the first observations into v.observation (B, I)
step(v)                         from v.action (B, X) and v.over (B,) to v.observation, v.reward and v.ended (0, 1 terminated, 2 truncated)
saved()                         (plain data, arrays by name) from which `restore` comes back; without it a run cannot be resumed
restore(v, about, arrays)       bring a fresh object to where another stood
close()                         give back what it holds
"""

from __future__ import annotations

from typing import Any

import numpy as np

from asyncnet.kernels.layout import Views
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.tasks.parts import TaskFailed
from asyncnet.text import in_a_line


class Stepped:
    """What the world's host sees of such an object."""

    def __init__(self, task: Any, name: str) -> None:
        self._task, self._name = task, name

    def begin(self, v: Views) -> None:
        self._do("begin", v)

    def step(self, v: Views) -> None:
        self._do("step", v)

    def _do(self, verb: str, v: Views) -> None:
        try:
            getattr(self._task, verb)(v)
        except Exception as error:  # whatever somebody's file raises
            raise TaskFailed(f"the task failed: {self._name}: {verb}: {type(error).__name__}: {in_a_line(error)}") from error

    def saved(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return self._task.saved() if hasattr(self._task, "saved") else ({}, {})

    def restore(self, v: Views, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        if not hasattr(self._task, "restore"):
            raise ScenarioError("", "task", f"{self._name} has no saved() and restore(): it cannot come back to where it was")
        self._task.restore(v, about, arrays)

    def close(self) -> None:
        if hasattr(self._task, "close"):
            self._task.close()
