"""A run does not end because nobody can hear of it: standard streams that are full, closed or gone cost words only."""

import json
import os
import subprocess
import sys

import pytest

from asyncnet.scenario.schema import check
from support.small import small

FULL = "/dev/full"


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(check(small(task={"decisions": 400}), "small").toml())
    return path


def run(shell, scenario):
    """What a shell's line with {run} in it ends with, and the run's summary as it was kept."""
    out = scenario.parent / "runs"
    line = shell.format(run=f"'{sys.executable}' -m asyncnet run '{scenario}' --out '{out}'")
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr + done.stdout
    return done, json.loads((out / "latest" / "summary.json").read_text())


@pytest.mark.parametrize("line", ["{run} 2>/dev/full", "{run} 2>&-", "{run} --json 2>&1 >/dev/null | true", "{run} >&-", "{run} | true"])
def test_a_run_that_nobody_hears_of_ends_as_any_other(line, scenario):
    done, summary = run(line, scenario)
    assert (done.returncode, summary["stopped"], summary["decisions"]) == ({"pass": 0, "unknown": 2}[summary["verdict"]], "finished", 400)


@pytest.mark.skipif(not os.path.exists(FULL), reason="needs /dev/full")
def test_a_summary_that_finds_no_room_is_said_in_a_line(scenario):
    done, summary = run("{run} --json >/dev/full", scenario)
    assert summary["stopped"] == "finished"
    assert done.stderr.splitlines()[-1] == "asyncnet: standard output: No space left on device"


def test_a_pipe_is_no_scenario(command, tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    assert command("validate", tmp_path / "pipe.toml") == (64, "", f"asyncnet: {tmp_path / 'pipe.toml'}: a pipe, not a file\n")
