"""Runs that were interrupted, and what lies in their directories."""

import json
import signal

from asyncnet import api
from asyncnet.api import Quiet


class Stopping(Quiet):
    """Presses Ctrl-C at the first row beyond a share of the run, and keeps what it is told."""

    def __init__(self, share):
        self.share, self.notes = share, []

    def note(self, text):
        self.notes.append(text)

    def row(self, row):
        if row["done"] >= self.share:
            self.share = 2.0
            signal.raise_signal(signal.SIGINT)


def interrupted(scenario, folder, share=0.5, **how):
    """A run that was interrupted, and left a checkpoint."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the command leaves it ignored
    result = api.run(scenario, out=folder, reporter=Stopping(share), **how)
    assert result.record.stopped == "interrupted"
    assert (result.run_dir / "checkpoints").is_dir()
    return result


def edited(path, **changes):
    """Change keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def files(folder):
    """The names of all that is under a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
