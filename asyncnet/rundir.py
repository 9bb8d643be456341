"""The directory of a run: what was asked, with what it ran, how it went.

    config.toml      the scenario with every default written out         run.json       versions, machine, arguments, status
    metrics.jsonl    one flushed line for each row of progress           progress.csv   the same rows, flat
    returns.csv      every episode's return                              summary.json   what --json prints

It appears under its name complete (made aside and renamed), is never overwritten, and `latest` beside it points to the newest.
"""

from __future__ import annotations

import csv
import datetime
import importlib.metadata
import json
import os
import platform
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

from asyncnet.scenario import Scenario

PACKAGES = ("asyncnet", "numpy", "numba", "gymnasium", "ray", "pyzmq", "msgpack", "pydantic")
VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED", "SLURM_JOB_ID")


class RunDirectory:
    """Writes one run's files under `parent`; use as a context manager."""

    def __init__(self, parent: Path, scenario: Scenario, engine: str, argv: list[str]) -> None:
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        name = f"{scenario.task.name}__{scenario.rule.name}__{scenario.name}__s{scenario.seed}__{stamp}-{secrets.token_hex(3)}"
        parent.mkdir(parents=True, exist_ok=True)
        self.path = parent / name
        aside = parent / f".{name}.part"
        aside.mkdir()
        (aside / "config.toml").write_text(scenario.toml())
        self._about = {"status": "running", "engine": engine, "argv": argv, "started": stamp, **about_this_machine()}
        (aside / "run.json").write_text(json.dumps(self._about, indent=2) + "\n")
        aside.rename(self.path)
        link = parent / f".latest-{secrets.token_hex(3)}"
        link.symlink_to(name)
        link.replace(parent / "latest")
        self._metrics = (self.path / "metrics.jsonl").open("w")
        self._rows: list[dict[str, Any]] = []

    def row(self, row: dict[str, Any]) -> None:
        """Append one row of progress, so that a run that dies has told what it did."""
        self._metrics.write(json.dumps(row) + "\n")
        self._metrics.flush()
        self._rows.append(row)

    def finish(self, summary: dict[str, Any], returns: list[float]) -> None:
        """Write how the run ended."""
        if self._rows:
            columns = list(dict.fromkeys(key for row in self._rows for key in row))
            with (self.path / "progress.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(self._rows)
        if returns:
            (self.path / "returns.csv").write_text("episode,return\n" + "".join(f"{i},{value!r}\n" for i, value in enumerate(returns, 1)))
        _replace(self.path / "summary.json", json.dumps(summary, indent=2) + "\n")
        _replace(self.path / "run.json", json.dumps({**self._about, "status": summary["stopped"]}, indent=2) + "\n")

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self._metrics.close()


def about_this_machine() -> dict[str, Any]:
    """Versions, processor and the few environment variables that matter; nothing else of the environment is recorded."""
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "machine": {"host": platform.node(), "system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "commit": _commit(),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _commit() -> str | None:
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    part.replace(path)


def arguments() -> list[str]:
    """The command line, for the record."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]] if sys.argv and sys.argv[0] else []
