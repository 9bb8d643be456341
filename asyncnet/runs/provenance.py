"""With what a run runs: versions, machine, commit, command line, process; nothing else of the environment is recorded."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from asyncnet.text import printable

PACKAGES = ("asyncnet", "numpy", "numba", "gymnasium", "ray", "pyzmq", "msgpack", "pydantic")
VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED", "SLURM_JOB_ID")


def about_this_machine() -> dict[str, Any]:
    """Versions, processor and the few environment variables that matter; nothing else of the environment is recorded."""
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "machine": {"host": platform.node(), "system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
        "environment": {name: printable(os.environ[name]) for name in VARIABLES if name in os.environ},
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
    """The commit of asyncnet's own text, "-dirty" if tracked files are others: that of the checkout it runs from, or was installed from; None if unknown."""
    file = Path(__file__).resolve()
    here = file.parent.parent
    found = _git(here, "rev-parse", "HEAD", "--show-toplevel")
    commit, _, top = (found or "").strip().partition("\n")
    # An environment often lies inside somebody else's repository.
    if top and Path(top) == here.parent and _git(here, "ls-files", "--error-unmatch", str(file.relative_to(here))) is not None:
        return commit + ("-dirty" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    with suppress(importlib.metadata.PackageNotFoundError, ValueError, AttributeError, TypeError):
        if Path(importlib.metadata.distribution("asyncnet").locate_file("asyncnet")) == here:
            return json.loads(importlib.metadata.distribution("asyncnet").read_text("direct_url.json")).get("vcs_info", {}).get("commit_id")
    return None


def _git(here: Path, *words: str) -> str | None:
    """What git says there; None if it refuses."""
    try:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired, UnicodeError):
        return None
    return done.stdout if done.returncode == 0 else None


def arguments() -> list[str]:
    """The command line, for the record."""
    return [printable(word) for word in (Path(sys.argv[0]).name, *sys.argv[1:])] if sys.argv and sys.argv[0] else []


def this_process(pid: int | None = None) -> dict[str, Any] | None:
    """A process of this machine (None: this one) as in Process; None if there is none of that number."""
    import psutil

    try:
        found = psutil.Process(pid)
        return {"host": platform.node(), "pid": found.pid, "began": found.create_time()}
    except (psutil.Error, ValueError, OverflowError):
        return None
