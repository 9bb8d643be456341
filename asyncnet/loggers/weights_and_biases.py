"""wandb/ in the run's directory: a run of Weights & Biases, offline unless WANDB_MODE says otherwise, so that nobody needs an account or a network.

`wandb sync --append RUN/wandb/offline-run-*` uploads it; all parts of a run that went on have one id.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncnet.scenario.schema import Scenario


def missing() -> str:
    """The library that is needed and not there."""
    return "" if importlib.util.find_spec("wandb") else "wandb"


class Logger:
    """Logs each row of progress; the scenario is the run's configuration, the figures of the end its summary."""

    def begin(self, scenario: Scenario, folder: Path | None, begun: int) -> None:
        import wandb

        assert folder is not None
        how: dict[str, Any] = {"mode": os.environ.get("WANDB_MODE") or "offline", "reinit": "create_new", "save_code": False}
        if how["mode"] == "online" and begun:
            how["resume"] = "allow"
        with _as_trouble():
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "asyncnet"),
                name=folder.name,
                id=hashlib.sha256(folder.name.encode()).hexdigest()[:16],
                group=scenario.name,
                dir=folder,
                config=scenario.data(),
                settings=wandb.Settings(silent=True, console="off", disable_git=True, x_disable_stats=True),
                **how,
            )

    def row(self, step: int, row: Mapping[str, float]) -> None:
        with _as_trouble():
            self._run.log(dict(row), step=step)

    def end(self, summary: Mapping[str, Any]) -> None:
        with _as_trouble():
            self._run.summary.update({name: value for name, value in summary.items() if isinstance(value, (int, float, str))})

    def close(self) -> None:
        if hasattr(self, "_run"):
            with _as_trouble():
                self._run.finish()


@contextmanager
def _as_trouble() -> Iterator[None]:
    """What its service does not take is trouble with a log, and not the run's end."""
    import wandb

    try:
        yield
    except wandb.Error as error:
        raise OSError(str(error)) from None
