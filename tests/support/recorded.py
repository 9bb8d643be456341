"""Runs on real clocks, recorded, and what their recordings say."""

from __future__ import annotations

import signal

import numpy as np
from hypothesis import HealthCheck, settings

import asyncnet
from asyncnet import api
from asyncnet.api import Quiet
from asyncnet.kernels.plain import as_python
from asyncnet.loop.compiled.agenda import of_who
from asyncnet.record.journal import Reader
from asyncnet.runs.stored import recordings
from support.teams import assert_moved

TIMED = {"rule.credit": "time", "network.output": "softmax", "tick": 500, "task.decisions": 60, "links": {"default": {"delay": 0.5}}}  # credit that feels time
ACROBAT = asyncnet.load("acrobot-weight-max").replace({"tick": 300, "task.episodes": 2})
THINK = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture])


def on_real_clocks(scenario, folder, loop="compiled"):
    """A finished and recorded run of one process."""
    result = api.run(scenario, time="wall", loop=loop, out=folder, checkpoint=0.0)
    assert result.record.stopped == "finished"
    assert_moved(scenario, result.record.weights)
    return result


def rows_of(folder):
    """All that was recorded, of all loops: rows (now, kind, receiver, sender, sequence number)."""
    rows = np.concatenate([segment.events for path in sorted(folder.glob("*.anr")) for segment in Reader(path)])
    return np.column_stack((rows[:, 0], *as_python(of_who)(rows[:, 1]), rows[:, 2]))


def assert_identical(report, events, loops=1):
    """Identical to the end: so many events, and each node's digest once at least."""
    assert report.difference is None
    assert report.damage == []
    assert report.events == events
    assert report.digests >= len(report.loop.nodes)
    assert report.line == f"identical: {events:,} events, {report.digests:,} digests"


def file_of(run):
    return recordings(run, 0) / "0.anr"


class Interrupted(Quiet):
    """Interrupts the run, as Ctrl-C does, when so many rows of progress were shown."""

    def __init__(self, rows):
        self.left = rows

    def row(self, row):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
