"""The verb that shows a run in a browser."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import tyro

from asyncnet import interrupts
from asyncnet.commands.shared import Flag
from asyncnet.interrupts import INTERRUPTED
from asyncnet.text import printable


@dataclass(frozen=True)
class Watch:
    """Show a run in a browser, while it goes on or after it: nodes that tick, links and what they carry, lose and delay. Ends with Ctrl-C."""

    run: tyro.conf.Positional[Path] = Path("runs/latest")
    """The run's directory, or the link to the newest one, which may be there later."""
    port: int = 0
    """The port, on this machine alone; default: any that is free."""
    open: Flag = False
    """Open the page in a browser."""

    def __call__(self) -> int:
        from asyncnet.viewer.serving import watch

        over = threading.Event()
        with interrupts.instead(over.set), watch(self.run, port=self.port) as watching:
            print(printable(watching.url), flush=True)
            if self.open and not watching.open():
                print("asyncnet: no browser was found to open it in", file=sys.stderr)
            over.wait()
        return INTERRUPTED
