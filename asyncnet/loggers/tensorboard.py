"""tb/ in the run's directory: TensorBoard's event files, written without threads, so that a full disk is noticed where it is full.

A run that goes on begins another file there, whose first event tells TensorBoard to forget what was logged beyond the checkpoint.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncnet.runs import durable

if TYPE_CHECKING:
    from asyncnet.scenario.schema import Scenario


def missing() -> str:
    """The library that is needed and not there."""
    return "" if importlib.util.find_spec("tensorboardX") else "tensorboardX"


class Logger:
    """Writes an event for each row of progress, a scalar for each of its numbers, and the scenario as a text."""

    def begin(self, scenario: Scenario, folder: Path | None, begun: int) -> None:
        from tensorboardX import summary
        from tensorboardX.proto import event_pb2
        from tensorboardX.record_writer import RecordWriter

        assert folder is not None
        self._made, self._summary = event_pb2, summary.Summary
        durable.make(folder / "tb")
        name = f"events.out.tfevents.{time.time():.0f}.{os.uname().nodename}.{os.getpid()}.{secrets.token_hex(3)}"
        self._file = RecordWriter(str(folder / "tb" / name))
        self._write(file_version="brain.Event:2")
        if begun:
            self._write(step=begun + 1, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))
        text = "".join(f"    {line}\n" for line in scenario.toml().splitlines())
        self._write(summary=summary.text("scenario", text))
        self._file.flush()

    def row(self, step: int, row: Mapping[str, float]) -> None:
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in row.items()]
        self._write(step=step, summary=self._summary(value=values))
        self._file.flush()

    def _write(self, **event: Any) -> None:
        self._file.write(self._made.Event(wall_time=time.time(), **event).SerializeToString())

    def end(self, summary: Mapping[str, Any]) -> None:
        """All is written."""

    def close(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
