"""The verb that looks at the machine."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass

from asyncnet.commands.shared import Flag
from asyncnet.text import as_json, printable

LOOKS = "asyncnet.actors.doctor"  # by name, as the engines are: it needs Ray and ZeroMQ


@dataclass(frozen=True)
class Doctor:
    """Look whether this machine offers what runs need: cores, memory, caches, sockets, timers, Ray, what is left of sessions that were killed.

    Exit code 1 if something is wrong; a note is for whoever wonders why a run is slow.
    """

    clean: Flag = False
    """End the processes and remove the directories that are left of sessions, and of nothing that is alive."""
    json: Flag = False
    """Print one JSON object."""

    def __call__(self) -> int:
        from asyncnet.console import show_findings

        doctor = importlib.import_module(LOOKS)
        if self.clean:
            for one in (left := doctor.leftovers()):
                named = [*(f"process {pid}" for pid in one.processes), *([str(one.directory)] if one.directory is not None else [])]
                print(printable(f"ending and removing {', '.join(named)}"), file=sys.stderr, flush=True)
            doctor.clean(left)
        found = []
        for finding in doctor.findings():
            found.append(finding)
            if not self.json:
                show_findings([finding])
        if self.json:
            print(as_json({"findings": [finding._asdict() for finding in found]}))
        return int(any(finding.verdict == doctor.WRONG for finding in found))
