"""Recordings of many segments, and runs to copy and to damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from asyncnet.record import recorder
from asyncnet.record.journal import Reader
from asyncnet.runs.stored import recordings
from support.recorded import TIMED, on_real_clocks
from support.teams import FREE, multiplexer


@pytest.fixture(autouse=True, scope="module")
def many_segments():
    """Short runs have several segments too, with digests in each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "EVERY", 0.05)
        patch.setattr(recorder, "LEISURE", 0)
        yield


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A short run on real clocks, of several segments."""
    result = on_real_clocks(multiplexer("weight-max", FREE | {"task.decisions": 80}), tmp_path_factory.mktemp("short"))
    assert len(list(Reader(recordings(result.run_dir, 0) / "0.anr"))) > 3
    return result


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    """The same of a rule whose traces decay with time."""
    return on_real_clocks(multiplexer("map-propagation-async", TIMED), tmp_path_factory.mktemp("timed"))


@pytest.fixture
def run(short, tmp_path):
    """A copy of the short run."""
    return Path(shutil.copytree(short.run_dir, tmp_path / "run"))
